import gzip
import hashlib
import os
import re
import resource
import tracemalloc

import httpx
import pytest
from client_doubles import BASE, KEY, Body, FixedKey, RawServer, client_of

from voyage_jobs.core import crash
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    DiskFullError,
    InterceptedError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RefusedError,
)
from voyage_jobs.vendors.remote import Downloaded
from voyage_jobs.vendors.rest.download import download, part_of
from voyage_jobs.vendors.voyage.client import VoyageClient

LINES = b"".join(b'{"custom_id":"%d"}\n' % n for n in range(1000))
WHOLE = Downloaded(len(LINES), hashlib.sha256(LINES).hexdigest(), 1000)
URL = f"{BASE}/files/file-1/content"
STORAGE = "https://storage.example/signed?x=1"


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "output.jsonl"


def fetch(client, dest, expected_bytes=WHOLE.bytes, **options):
    return download(client, "file-1", dest, expected_bytes=expected_bytes, **options)


def whole(request=None):
    return httpx.Response(200, content=LINES)


def ranged(request):
    """What a server with ranges answers."""
    start = int(re.fullmatch(r"bytes=(\d+)-", request.headers["range"])[1])
    span = f"bytes {start}-{len(LINES) - 1}/{len(LINES)}"
    return httpx.Response(206, headers={"content-range": span}, content=LINES[start:])


def to(location, status=302):
    return httpx.Response(status, headers={"location": location})


def cut(at, error=None, **headers):
    lost = error or httpx.RemoteProtocolError("peer closed connection without sending complete message body")
    return httpx.Response(200, headers=headers, stream=Body(LINES[: at // 2], LINES[at // 2 : at], lost))


def assert_whole(dest, got):
    assert got == WHOLE
    assert dest.read_bytes() == LINES
    assert not part_of(dest).exists()


# --- cut bodies ---


def test_a_cut_body_keeps_its_part_and_the_next_try_resumes(dest):
    client = client_of(cut(7000), ranged)

    with pytest.raises(OutcomeUnknownError, match="was lost"):
        fetch(client, dest)
    assert part_of(dest).read_bytes() == LINES[:7000]
    assert not dest.exists()

    assert_whole(dest, fetch(client, dest))
    assert client.script.requests[1].headers["range"] == "bytes=7000-"
    assert client.script.requests[1].headers["accept-encoding"] == "identity"


def test_a_body_cut_again_and_again_still_arrives(dest):
    def some(request):
        full = ranged(request)
        return httpx.Response(
            206, headers=full.headers, stream=Body(full.read()[:3000], httpx.ReadError("reset"))
        )

    client = client_of(cut(3000), *[some] * 10)

    for _ in range(len(LINES) // 3000 - 1):
        with pytest.raises(OutcomeUnknownError):
            fetch(client, dest)

    client.script.answers[:] = [ranged]
    assert_whole(dest, fetch(client, dest))


@pytest.mark.parametrize("error", [httpx.ReadTimeout("stalled"), httpx.ReadError("reset")])
def test_a_body_that_stalls_is_an_unknown_outcome(dest, error):
    with pytest.raises(OutcomeUnknownError):
        fetch(client_of(cut(4000, error)), dest)

    assert part_of(dest).stat().st_size == 4000


def test_a_body_shorter_than_its_length_is_cut_even_if_the_transport_keeps_quiet(dest):
    short = httpx.Response(200, headers={"content-length": str(len(LINES))}, stream=Body(LINES[:500]))

    with pytest.raises(OutcomeUnknownError, match="broke off the result file after 500 bytes"):
        fetch(client_of(short), dest, expected_bytes=None)

    assert part_of(dest).stat().st_size == 500


def test_a_body_without_any_length_that_ends_early_is_cut(dest):
    with pytest.raises(OutcomeUnknownError, match="broke off"):
        fetch(client_of(httpx.Response(200, stream=Body(LINES[:500]))), dest)

    assert part_of(dest).exists()


def test_a_range_that_ends_before_the_file_does_is_cut(dest):
    part_of(dest).write_bytes(LINES[:100])
    span = {"content-range": f"bytes 100-199/{len(LINES)}", "content-length": "100"}
    client = client_of(httpx.Response(206, headers=span, content=LINES[100:200]), ranged)

    with pytest.raises(OutcomeUnknownError, match="after 200 bytes"):
        fetch(client, dest)

    assert_whole(dest, fetch(client, dest))


def test_a_body_that_trickles_is_given_up_and_resumed_later(dest):
    clock = VirtualClock()

    class Trickle(httpx.SyncByteStream):
        def __iter__(self):
            for at in range(len(LINES)):
                clock.advance(50)
                yield LINES[at : at + 1]

    client = client_of(httpx.Response(200, stream=Trickle()), ranged, clock=clock)

    with pytest.raises(OutcomeUnknownError, match="trickles: 3 bytes in 150 s"):
        fetch(client, dest)

    assert_whole(dest, fetch(client, dest))


def test_a_slow_body_that_moves_on_is_not_given_up(dest):
    clock = VirtualClock()
    lines = b"x" * 1_000_000

    class Slow(httpx.SyncByteStream):
        def __iter__(self):
            for at in range(0, len(lines), 50_000):
                clock.advance(50)
                yield lines[at : at + 50_000]

    got = fetch(client_of(httpx.Response(200, stream=Slow()), clock=clock), dest, expected_bytes=len(lines))

    assert got.bytes == len(lines)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_real_connection_cut_in_mid_body_resumes(dest, framing):
    rest = b"HTTP/1.1 206 P\r\ncontent-range: bytes 9000-%d/%d\r\ncontent-length: %d\r\n\r\n" % (
        len(LINES) - 1,
        len(LINES),
        len(LINES) - 9000,
    )
    head = {
        "length": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(LINES),
        "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % len(LINES),
    }[framing]
    with (
        RawServer(head + LINES[:9000], rest + LINES[9000:]) as server,
        VoyageClient(server.base, FixedKey(), clock=VirtualClock()) as client,
    ):
        with pytest.raises(OutcomeUnknownError):
            fetch(client, dest)
        assert part_of(dest).read_bytes() == LINES[:9000]
        assert_whole(dest, fetch(client, dest))

    assert b"Range: bytes=9000-\r\n" in server.received[1]


def test_nobody_there_leaves_the_part_alone(dest):
    part_of(dest).write_bytes(LINES[:100])

    with pytest.raises(NotSentError):
        fetch(client_of(httpx.ConnectError("refused")), dest)

    assert part_of(dest).read_bytes() == LINES[:100]


# --- sizes ---


@pytest.mark.parametrize("promised", [len(LINES) - 1, len(LINES) + 1, 0])
def test_a_whole_file_of_another_size_than_promised_is_thrown_away(dest, promised):
    with pytest.raises(BadAnswerError, match=f"where it promised {promised}"):
        fetch(client_of(whole()), dest, expected_bytes=promised)

    assert not part_of(dest).exists()
    assert not dest.exists()


def test_a_body_that_outgrows_its_promise_is_not_read_to_its_end(dest):
    endless = Body(LINES, LINES, AssertionError("read on"))

    with pytest.raises(BadAnswerError, match="promised"):
        fetch(client_of(httpx.Response(200, stream=endless)), dest)


def test_a_file_of_unknown_size_is_taken_as_it_comes(dest):
    assert_whole(dest, fetch(client_of(whole()), dest, expected_bytes=None))


def test_an_empty_file_is_a_file(dest):
    got = fetch(client_of(httpx.Response(200, content=b"")), dest, expected_bytes=0)

    assert got == Downloaded(0, hashlib.sha256(b"").hexdigest(), 0)
    assert dest.read_bytes() == b""


def test_a_last_line_without_newline_counts(dest):
    got = fetch(client_of(httpx.Response(200, content=b"{}\n{}")), dest, expected_bytes=5)

    assert got == Downloaded(5, hashlib.sha256(b"{}\n{}").hexdigest(), 2)


# --- resuming ---


def test_a_part_that_is_whole_already_needs_no_call(dest):
    part_of(dest).write_bytes(LINES)

    assert_whole(dest, fetch(client_of(), dest))


@pytest.mark.parametrize(
    "left",
    [LINES + b"more", LINES[:50] + bytes(4096) + LINES[4146:9000], bytes(len(LINES))],
    ids=["larger", "hole", "zeros"],
)
def test_a_part_that_cannot_be_the_beginning_is_thrown_away(dest, left):
    part_of(dest).write_bytes(left)
    client = client_of(whole())

    assert_whole(dest, fetch(client, dest))
    assert "range" not in client.script.requests[0].headers


def test_a_server_without_ranges_sends_everything_anew(dest):
    part_of(dest).write_bytes(b"x" * 100)
    client = client_of(whole())

    assert_whole(dest, fetch(client, dest))
    assert len(client.script.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(416, headers={"content-range": "bytes */50"}),
        httpx.Response(206, content=LINES[100:]),
        httpx.Response(206, headers={"content-range": "lines 100-"}, content=LINES[100:]),
        httpx.Response(206, headers={"content-range": f"bytes 99-{len(LINES) - 1}/*"}, content=LINES[99:]),
        httpx.Response(206, headers={"content-range": "bytes 100-199/200"}, content=LINES[100:200]),
        httpx.Response(
            206,
            headers={"content-range": f"bytes 100-{len(LINES) - 1}/*", "content-encoding": "gzip"},
            content=gzip.compress(LINES[100:]),
        ),
    ],
    ids=["416", "no range", "odd range", "another start", "another size", "compressed"],
)
def test_a_range_that_does_not_fit_starts_anew(dest, answer):
    part_of(dest).write_bytes(LINES[:100])
    client = client_of(answer, whole)

    assert_whole(dest, fetch(client, dest))
    assert "range" not in client.script.requests[1].headers


def test_a_range_of_unknown_total_is_taken(dest):
    part_of(dest).write_bytes(LINES[:100])
    span = {"content-range": f"bytes 100-{len(LINES) - 1}/*"}

    assert_whole(dest, fetch(client_of(httpx.Response(206, headers=span, content=LINES[100:])), dest))


def test_a_part_answered_where_the_whole_was_asked_is_a_bad_answer(dest):
    with pytest.raises(BadAnswerError, match="206"):
        fetch(client_of(httpx.Response(206, content=LINES)), dest)


def test_a_compressed_body_is_unpacked_and_resumed_by_its_plain_bytes(dest):
    packed = gzip.compress(LINES)
    headers = {"content-encoding": "gzip"}
    head = {**headers, "content-length": str(len(packed))}
    client = client_of(
        httpx.Response(200, headers=head, stream=Body(packed[:1500], httpx.ReadError("reset"))),
        ranged,
        httpx.Response(200, headers=headers, content=packed),
    )

    with pytest.raises(OutcomeUnknownError):
        fetch(client, dest)
    there = part_of(dest).stat().st_size
    assert there > 1500

    assert_whole(dest, fetch(client, dest))
    assert client.script.requests[1].headers["range"] == f"bytes={there}-"
    assert_whole(dest, fetch(client, dest))


# --- redirects ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_followed_without_the_key(dest, status):
    client = client_of(to(STORAGE, status), whole)

    assert_whole(dest, fetch(client, dest))
    ours, theirs = client.script.requests
    assert ours.headers["authorization"] == f"Bearer {KEY}"
    assert str(theirs.url) == STORAGE
    assert "authorization" not in theirs.headers
    assert KEY not in str(theirs.headers.raw)


@pytest.mark.parametrize(
    "location",
    [
        "https://api.voyageai.com:8443/v1/x",
        "https://api.voyageai.com.evil.example/x",
        "https://evil.example/https://api.voyageai.com/v1",
        "https://user@evil.example/x",
        "//evil.example/x",
    ],
)
def test_the_key_goes_to_no_other_origin(dest, location):
    client = client_of(to(location), whole)

    fetch(client, dest)

    assert KEY not in str(client.script.requests[1].headers.raw)


@pytest.mark.parametrize("location", ["/v1/other", "../../v1/other", "https://API.voyageai.com:443/v1/other"])
def test_a_redirect_within_the_origin_keeps_the_key(dest, location):
    client = client_of(to(location), whole)

    fetch(client, dest)

    assert client.script.requests[1].url.path.endswith("/other")
    assert client.script.requests[1].headers["authorization"] == f"Bearer {KEY}"


def test_a_resumed_download_asks_the_storage_host_for_the_rest(dest):
    part_of(dest).write_bytes(LINES[:100])
    client = client_of(to(STORAGE), ranged)

    assert_whole(dest, fetch(client, dest))
    assert client.script.requests[1].headers["range"] == "bytes=100-"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (to("http://storage.example/x"), "unprotected http"),
        (to("http://api.voyageai.com/v1/x"), "unprotected http"),
        (to("file:///etc/passwd"), "not HTTP"),
        (httpx.Response(302), "nowhere"),
    ],
    ids=["downgrade", "downgrade at home", "file", "no location"],
)
def test_a_redirect_that_leads_astray_is_a_bad_answer(dest, answer, says):
    client = client_of(answer)

    with pytest.raises(BadAnswerError, match=says):
        fetch(client, dest)

    assert len(client.script.requests) == 1


def test_a_redirect_to_what_is_no_address_may_be_better_next_time(dest):
    with pytest.raises(OutcomeUnknownError, match="Invalid URL in location header"):
        fetch(client_of(to("https://x:port/")), dest)


def test_redirects_in_circles_end(dest):
    client = client_of(*[to(URL) for _ in range(20)])

    with pytest.raises(BadAnswerError, match="circles"):
        fetch(client, dest)

    assert len(client.script.requests) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_storage_host_that_refuses_its_link_says_nothing_about_our_key_or_the_file(dest, status):
    with pytest.raises(OutcomeUnknownError, match=r"storage host \(storage.example\)") as caught:
        fetch(client_of(to(STORAGE), httpx.Response(status, text="<Error>AccessDenied</Error>")), dest)

    assert caught.value.status == status


# --- refusals ---


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_gone_is_refused_with_its_status(dest, status):
    with pytest.raises(RefusedError) as caught:
        fetch(client_of(httpx.Response(status, json={"detail": "No such file"})), dest)

    assert caught.value.status == status


@pytest.mark.parametrize("status", [404, 405, 410])
def test_a_page_in_place_of_the_api_does_not_say_that_a_file_is_gone(dest, status):
    with pytest.raises(InterceptedError):
        fetch(client_of(httpx.Response(status, text="<html>nobody knows</html>")), dest)


PAGES = [b"<!doctype html><p>Log in", b"\xef\xbb\xbf\n <html>Log in", b"  <h1>Log in</h1>"]


def page(body, status=200, content_type="text/html; charset=utf-8"):
    return httpx.Response(status, headers={"content-type": content_type}, stream=Body(b" ", b"\n", body))


@pytest.mark.parametrize("body", PAGES)
@pytest.mark.parametrize("answers", [(), (to(STORAGE),)], ids=["api", "storage"])
def test_a_login_page_in_place_of_a_file_leaves_nothing_behind(dest, answers, body):
    with pytest.raises(InterceptedError, match="with an HTML page") as caught:
        fetch(client_of(*[to(STORAGE) for _ in answers], page(body)), dest)

    assert "captive portal" in caught.value.hint
    assert not part_of(dest).exists()
    assert not dest.exists()


def test_a_login_page_does_not_cost_what_came_before_it(dest):
    part_of(dest).write_bytes(LINES[:100])

    with pytest.raises(InterceptedError):
        fetch(client_of(page(PAGES[0])), dest)

    assert part_of(dest).read_bytes() == LINES[:100]


def test_a_file_that_is_only_called_a_page_is_a_file(dest):
    got = fetch(client_of(page(LINES)), dest, expected_bytes=len(LINES) + 2)

    assert got.bytes == len(LINES) + 2
    assert dest.read_bytes() == b" \n" + LINES


def test_a_file_of_nothing_that_is_called_a_page_is_a_file(dest):
    assert fetch(client_of(page(b"")), dest, expected_bytes=2).bytes == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthError),
        (403, AuthError),
        (429, RateLimitedError),
        (500, OutcomeUnknownError),
        (503, OutcomeUnknownError),
    ],
)
def test_a_refusal_keeps_the_part(dest, status, error):
    part_of(dest).write_bytes(LINES[:100])

    with pytest.raises(error) as caught:
        fetch(client_of(httpx.Response(status, json={"detail": KEY})), dest)

    assert KEY not in str(caught.value)
    assert part_of(dest).read_bytes() == LINES[:100]


# --- the disk ---


def test_a_full_disk_leaves_nothing_behind(dest):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(DiskFullError, match=r"output\.jsonl\.part"):
            fetch(
                client_of(httpx.Response(200, stream=Body(*[b"x" * 65536] * 100))), dest, expected_bytes=None
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert os.listdir(dest.parent) == []


def test_a_missing_folder_is_told_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError):
        fetch(client_of(whole()), tmp_path / "nowhere" / "output.jsonl")


@pytest.mark.parametrize("point", ["download.written", "download.renamed"])
def test_death_at_a_crash_point_is_harmless(dest, point):
    class Killed(BaseException):
        pass

    def kill(name):
        if name == point:
            raise Killed

    crash.arm(kill)
    try:
        with pytest.raises(Killed):
            fetch(client_of(whole()), dest)
    finally:
        crash.arm(None)

    assert dest.exists() is (point == "download.renamed")
    if dest.exists():
        assert dest.read_bytes() == LINES
    assert_whole(dest, fetch(client_of(whole) if dest.exists() else client_of(), dest))


# --- progress and memory ---


def test_progress_is_told_and_may_stop_the_download(dest):
    class StopError(Exception):
        pass

    told = []

    def stop(done):
        told.append(done)
        raise StopError

    block = b"y" * 65536
    client = client_of(httpx.Response(200, stream=Body(*[block] * 40)))

    with pytest.raises(StopError):
        fetch(client, dest, expected_bytes=40 * 65536, on_progress=stop)

    assert told == [16 * 65536]
    assert part_of(dest).stat().st_size == 16 * 65536


def test_the_end_is_told_too(dest):
    told = []

    fetch(client_of(whole()), dest, on_progress=told.append)

    assert told == [len(LINES)]


def test_memory_does_not_grow_with_the_file(dest):
    class Large(httpx.SyncByteStream):
        def __iter__(self):
            block = b"z" * 65535 + b"\n"
            for _ in range(1600):
                yield bytes(block)

    client = client_of(httpx.Response(200, stream=Large()))
    tracemalloc.start()
    try:
        got = fetch(client, dest, expected_bytes=1600 * 65536)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert got.lines == 1600
    assert peak < 8_000_000
