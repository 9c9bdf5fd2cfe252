import base64
import logging
import socket

import httpx
import numpy as np
import orjson
import pytest
from client_doubles import BASE, DATE, DATE_US, KEY, Body, FixedKey, RawServer, client_of, job_spec

from voyage_jobs import __version__
from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.profile import Profile
from voyage_jobs.errors import (
    AuthError,
    BadAnswerError,
    ConfigError,
    InputFileMissingError,
    InterceptedError,
    NotSentError,
    OutcomeUnknownError,
    QuotaError,
    RateLimitedError,
    RefusedError,
    TooLargeError,
    VoyageJobsError,
)
from voyage_jobs.vendors.rest import calls, wire
from voyage_jobs.vendors.voyage.client import VoyageClient
from voyage_jobs.vendors.voyage.requests import create_body

CREATE = job_spec()
PROFILE = Profile("/v1/embeddings", "voyage-4", 4, "float", "query")
HTML = "<!doctype html><title>502</title>"

CALLS = {
    "create": lambda client, tmp: client.create_batch(CREATE),
    "get batch": lambda client, tmp: client.get_batch("batch-1"),
    "cancel": lambda client, tmp: client.cancel_batch("batch-1"),
    "list batches": lambda client, tmp: list(client.list_batches()),
    "upload": lambda client, tmp: client.upload(spool(tmp), "ref.jsonl"),
    "get file": lambda client, tmp: client.get_file("file-1"),
    "list files": lambda client, tmp: list(client.list_files()),
    "delete": lambda client, tmp: client.delete_file("file-1"),
    "probe": lambda client, tmp: client.probe(),
    "embed": lambda client, tmp: client.embed(["a"], PROFILE),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def spool(folder, content=b'{"custom_id":"a","body":{"input":["x"]}}\n'):
    path = folder / "input.jsonl"
    path.write_bytes(content)
    return path


def job(name="batch-1", **changes):
    return {"id": name, "status": "in_progress", **changes}


def listing(names, **more):
    return httpx.Response(200, json={"object": "list", "data": [job(name) for name in names], **more})


def chain_of(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# --- the network fails ---


@every_call
@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ConnectTimeout("slow"),
        httpx.PoolTimeout(""),
        httpx.ProxyError("403"),
        httpx.UnsupportedProtocol("gopher"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_request_that_never_left_is_known_to_have_had_no_effect(call, fault, tmp_path):
    client = client_of(fault)

    with pytest.raises(NotSentError, match=r"Voyage \(api.voyageai.com\) could not be reached to "):
        call(client, tmp_path)

    assert len(client.script.requests) == 1


@every_call
@pytest.mark.parametrize(
    "fault",
    [
        httpx.ReadTimeout("slow"),
        httpx.WriteTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.WriteError("broken pipe"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.LocalProtocolError("Too little data for declared Content-Length"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_lost_answer_is_an_unknown_outcome_and_never_retried(call, fault, tmp_path):
    client = client_of(fault)

    with pytest.raises(OutcomeUnknownError, match="was lost"):
        call(client, tmp_path)

    assert len(client.script.requests) == 1


@every_call
def test_an_answer_cut_in_its_body_is_an_unknown_outcome(call, tmp_path):
    cut = httpx.Response(200, stream=Body(b'{"id": "batch-1", ', httpx.RemoteProtocolError("peer closed")))

    with pytest.raises(OutcomeUnknownError, match="was lost"):
        call(client_of(cut), tmp_path)


@every_call
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_fault_is_an_unknown_outcome_and_never_retried(call, status, tmp_path):
    client = client_of(httpx.Response(status, text=HTML))

    with pytest.raises(OutcomeUnknownError) as caught:
        call(client, tmp_path)

    assert caught.value.status == status
    assert "doctype" not in caught.value.message
    assert len(client.script.requests) == 1


def test_a_port_where_nobody_listens_is_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    client = VoyageClient(f"http://127.0.0.1:{port}/v1", FixedKey(), clock=VirtualClock())

    with client, pytest.raises(NotSentError):
        client.probe()


@pytest.mark.parametrize("address", ["http://a..b/v1", "http://x:70000/v1", "http://" + "a" * 70 + "/v1"])
def test_an_address_that_cannot_exist_is_not_sent(address):
    with VoyageClient(address, FixedKey(), clock=VirtualClock()) as client, pytest.raises(NotSentError):
        client.probe()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}", b"SSH-2.0-x\r\n\r\n"],
    ids=["silence", "half a head", "half a body", "another protocol"],
)
def test_a_real_connection_that_breaks_is_an_unknown_outcome(answer):
    with (
        RawServer(answer) as server,
        VoyageClient(server.base, FixedKey(), clock=VirtualClock()) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.create_batch(CREATE)


# --- the answer is not what it should be ---


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text=HTML),
        httpx.Response(200),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"status": "validating"}),
        httpx.Response(200, json={"id": "batch-1"}),
        httpx.Response(200, content=b"\xff\xfe"),
    ],
    ids=["html", "empty", "list", "no id", "no status", "not utf-8"],
)
def test_a_create_answer_that_cannot_be_read_may_have_made_a_job(answer):
    with pytest.raises(OutcomeUnknownError, match="answered the call to create a batch unexpectedly"):
        client_of(answer).create_batch(CREATE)


@pytest.mark.parametrize(
    "name", ["get batch", "cancel", "list batches", "upload", "get file", "list files", "embed"]
)
@pytest.mark.parametrize("answer", [HTML, "", "[]", '"text"', '{"detail": "x"}'])
def test_any_other_answer_that_cannot_be_read_is_a_bad_answer(name, answer, tmp_path):
    with pytest.raises(BadAnswerError, match="unexpectedly") as caught:
        CALLS[name](client_of(httpx.Response(200, text=answer)), tmp_path)

    assert "doctype" not in caught.value.message


def test_a_delete_answered_with_html_is_a_bad_answer():
    with pytest.raises(BadAnswerError, match="an HTML page"):
        client_of(httpx.Response(200, text=HTML)).delete_file("file-1")


@pytest.mark.parametrize(("name", "error"), [("get batch", BadAnswerError), ("create", OutcomeUnknownError)])
def test_an_answer_without_end_is_given_up(name, error, tmp_path, monkeypatch):
    monkeypatch.setattr(calls, "MAX_ANSWER_BYTES", 1000)
    endless = httpx.Response(200, stream=Body(*[b" " * 300] * 5))

    with pytest.raises(error, match="without end"):
        CALLS[name](client_of(endless), tmp_path)


def test_an_answer_that_trickles_is_given_up_after_the_timeout():
    clock = VirtualClock()

    class Trickle(httpx.SyncByteStream):
        def __iter__(self):
            while True:
                clock.advance(20)
                yield b" "

    with pytest.raises(OutcomeUnknownError, match="too long"):
        client_of(httpx.Response(200, stream=Trickle()), clock=clock, timeout_s=60).create_batch(CREATE)

    assert 60 < clock.mono() <= 80


def test_a_body_with_a_broken_encoding_is_an_unknown_outcome():
    broken = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Body(b"this is not gzip"))

    with pytest.raises(OutcomeUnknownError):
        client_of(broken).create_batch(CREATE)


# --- the provider refuses ---


@pytest.mark.parametrize("status", [401, 403])
@every_call
def test_a_refused_key_tells_host_and_place_of_the_key(call, status, tmp_path):
    with pytest.raises(AuthError) as caught:
        call(client_of(httpx.Response(status, json={"detail": "Provided API key is invalid."})), tmp_path)

    assert "Voyage (api.voyageai.com) refuses the API key" in caught.value.message
    assert "the variable VOYAGE_API_KEY" in caught.value.hint


def test_a_key_of_the_other_platform_is_told():
    refusal = httpx.Response(403, json={"detail": "forbidden"})

    with pytest.raises(AuthError) as caught:
        client_of(refusal, key=FixedKey("al-0123456789ABCDEFGHIJ")).probe()

    assert "MongoDB Atlas" in caught.value.hint


def test_an_input_file_that_is_not_found_is_refused_with_its_status():
    with pytest.raises(
        InputFileMissingError, match=r"refuses to create a batch \(404\): Input file not found"
    ) as caught:
        client_of(httpx.Response(404, json={"detail": "Input file not found"})).create_batch(CREATE)

    assert caught.value.status == 404


def test_a_full_queue_is_told_from_an_unpaid_account():
    with pytest.raises(RateLimitedError):
        client_of(httpx.Response(429, json={"detail": "too many batches"})).create_batch(CREATE)
    with pytest.raises(QuotaError):
        client_of(httpx.Response(429, json={"detail": "limits of 3 RPM and 10K TPM"})).create_batch(CREATE)


def test_the_vendors_wish_to_wait_and_its_id_of_the_call_are_kept():
    headers = {"retry-after": "Sat, 01 Aug 2026 12:02:00 GMT", "date": DATE, "request-id": "req_7"}

    with pytest.raises(RateLimitedError) as caught:
        client_of(httpx.Response(429, headers=headers)).get_batch("batch-1")

    assert caught.value.retry_after_s == 120
    assert caught.value.request_id == "req_7"


@every_call
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_call_follows_a_redirect(call, status, tmp_path):
    client = client_of(
        httpx.Response(status, headers={"location": "https://evil.example/v1/batches?t=token"})
    )

    with pytest.raises(InterceptedError, match=rf"with {status} and a redirect to evil.example\.$") as caught:
        call(client, tmp_path)

    assert len(client.script.requests) == 1
    assert "base_url" in caught.value.hint


@every_call
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 410, 451, 511])
def test_a_page_of_a_proxy_or_portal_refuses_nothing(call, status, tmp_path):
    page = httpx.Response(status, text="<html><h1>Welcome to the hotel</h1></html>")

    with pytest.raises(InterceptedError, match=f"with {status} and an HTML page") as caught:
        call(client_of(page), tmp_path)

    assert "hotel" not in caught.value.message


@pytest.mark.parametrize("body", ["", "Not Found", "{}", '{"detail": ""}', "<html>nginx</html>"])
@pytest.mark.parametrize("status", [404, 410])
def test_only_the_api_itself_says_that_something_is_gone(status, body, tmp_path):
    for name in ("get batch", "get file", "delete"):
        with pytest.raises(InterceptedError):
            CALLS[name](client_of(httpx.Response(status, text=body)), tmp_path)


@every_call
def test_a_page_that_says_too_large_is_a_refusal_about_the_size(call, tmp_path):
    with pytest.raises(TooLargeError) as caught:
        call(client_of(httpx.Response(413, text="<html>413 Request Entity Too Large</html>")), tmp_path)

    assert "batching.max_bytes" in caught.value.hint


def test_the_vendor_may_ask_for_no_longer_wait_than_the_settings_allow():
    asked = [httpx.Response(429, headers={"retry-after": "86400"}) for _ in range(2)]
    client = client_of(*asked, max_retry_after_s=600)

    for most_s in (600, 60):
        client.max_retry_after_s = most_s
        with pytest.raises(RateLimitedError) as caught:
            client.probe()
        assert caught.value.retry_after_s == most_s


# --- the key ---


@every_call
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 429, 500])
def test_an_echoed_key_is_in_no_error_and_no_log(call, status, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    client = client_of(
        httpx.Response(status, json={"detail": f"Bearer {KEY}, that is {KEY}, is no good", "x": KEY})
    )

    try:
        call(client, tmp_path)
    except VoyageJobsError as exc:
        for error in chain_of(exc):
            assert KEY not in f"{error!s} {error!r} {getattr(error, 'hint', '')}"

    assert KEY not in caplog.text
    assert KEY not in repr(client)
    assert "VOYAGE_API_KEY" in repr(client)


@pytest.mark.parametrize("key", ["pa-secret\nX-Evil: 1", "pa-secret\x00", "pa-sécret", "", "pa secret"])
def test_a_key_that_no_header_can_carry_is_refused_without_quoting_it(key):
    client = client_of(key=FixedKey(key))

    with pytest.raises(AuthError) as caught:
        client.probe()

    assert "the variable VOYAGE_API_KEY" in caught.value.message
    assert not client.script.requests
    for error in chain_of(caught.value):
        assert "cret" not in str(error)


def test_a_key_that_is_not_there_yet_is_refused_before_anything_is_sent():
    class NoKey(FixedKey):
        def __call__(self):
            raise ConfigError("There is no Voyage API key.", hint="Set VOYAGE_API_KEY.")

    client = client_of(key=NoKey())

    with pytest.raises(AuthError, match="There is no Voyage API key") as caught:
        client.create_batch(CREATE)

    assert caught.value.hint == "Set VOYAGE_API_KEY."
    assert not client.script.requests


def test_a_replaced_key_is_taken_up_by_the_next_call():
    key = FixedKey("pa-old\n")
    client = client_of(listing([]), listing([]), key=key)

    client.probe()
    key.key = "pa-new"
    client.probe()

    assert [r.headers["authorization"] for r in client.script.requests] == ["Bearer pa-old", "Bearer pa-new"]


@pytest.mark.parametrize(
    "base",
    [
        "",
        "api.voyageai.com/v1",
        "ftp://x/v1",
        "https://",
        "https://user:pw@x/v1",
        "https://x/v1?a=1",
        "http://x:port/v1",
    ],
)
def test_a_base_url_that_is_none_is_a_config_error(base):
    with pytest.raises(ConfigError, match="base_url") as caught:
        VoyageClient(base, FixedKey(), clock=VirtualClock())

    assert "pw" not in str(caught.value)


# --- lists ---


def cursors(client):
    return [request.url.params.get("after") for request in client.script.requests]


def test_a_list_is_paged_to_its_end():
    client = client_of(
        listing("ab", has_more=True), listing("cd", has_more=True), listing("e", has_more=False)
    )

    assert [batch.id for batch in client.list_batches()] == list("abcde")
    assert cursors(client) == [None, "b", "d"]
    assert client.script.requests[0].url.params["limit"] == "100"


def test_without_has_more_a_page_shorter_than_any_default_is_the_end():
    client = client_of(listing([f"b{n}" for n in range(19)]))

    assert len(list(client.list_batches())) == 19
    assert cursors(client) == [None]


def test_without_has_more_a_page_of_the_vendors_default_size_may_not_be_the_end():
    client = client_of(listing([f"b{n}" for n in range(20)]), listing(["last"]))

    assert len(list(client.list_batches())) == 21
    assert cursors(client) == [None, "b19"]


@pytest.mark.parametrize("more", [{}, {"has_more": True}, {"has_more": False}])
def test_an_empty_page_is_the_end(more):
    assert list(client_of(listing([], **more)).list_batches()) == []


def test_a_list_that_repeats_itself_is_a_bad_answer():
    client = client_of(*[listing("ab", has_more=True) for _ in range(5)])

    with pytest.raises(BadAnswerError, match="returned the same page again"):
        list(client.list_batches())

    assert len(client.script.requests) == 2


def test_a_job_listed_twice_is_told_once():
    client = client_of(listing("ab", has_more=True), listing("bc", has_more=False))

    assert [batch.id for batch in client.list_batches()] == list("abc")


def entries(*data, **more):
    return httpx.Response(200, json={"data": list(data), **more})


@pytest.mark.parametrize("ask", [lambda client: client.list_batches(), lambda client: client.list_files()])
def test_odd_entries_of_a_list_hold_up_none_of_the_others(ask):
    client = client_of(
        entries(None, job("a"), {"id": "bare"}, {}, has_more=True),
        entries({"id": 7}, has_more=False),
    )

    assert [item.id for item in ask(client)] == ["a", "bare"]
    assert cursors(client) == [None, "bare"]
    assert client.skipped_entries == 3


def test_a_job_whose_status_is_not_said_is_told_from_a_whole_one_by_the_list_alone():
    client = client_of(entries({"id": "a"}, job("b"), has_more=False), httpx.Response(200, json={"id": "a"}))

    assert [(batch.id, batch.is_bare) for batch in client.list_batches()] == [("a", True), ("b", False)]
    with pytest.raises(BadAnswerError, match="has no status"):
        client.get_batch("a")


def test_a_job_of_ours_without_an_id_is_a_bad_answer():
    ours = {"status": "completed", "metadata": {"voyage_jobs_ref": "abc"}}

    with pytest.raises(BadAnswerError, match="mark of voyage-jobs has no id"):
        list(client_of(entries(job("a"), ours, has_more=False)).list_batches())


@pytest.mark.parametrize(
    "page", [entries({}, has_more=True), entries(*[{}] * 20)], ids=["more is said", "full"]
)
def test_a_page_without_ids_that_is_not_the_last_is_a_bad_answer(page):
    with pytest.raises(BadAnswerError, match="a page without ids"):
        list(client_of(page).list_batches())


@pytest.mark.parametrize(
    "page", [entries({}, has_more=False), entries(*[{}] * 19)], ids=["the last", "short"]
)
def test_a_last_page_without_ids_is_the_end(page):
    client = client_of(page)

    assert list(client.list_batches()) == []
    assert client.skipped_entries == len(page.json()["data"])


def test_odd_entries_count_for_the_size_of_a_page():
    client = client_of(entries(*[job(f"b{n}") for n in range(15)], *[None] * 5), entries(job("last")))

    assert len(list(client.list_batches())) == 16
    assert cursors(client) == [None, "b14"]


def test_a_list_that_fails_midway_is_not_taken_for_a_whole_one():
    client = client_of(listing("ab", has_more=True), httpx.Response(502))

    with pytest.raises(OutcomeUnknownError):
        list(client.list_batches())


def test_every_listed_job_carries_the_vendors_clock():
    answer = listing("a")
    answer.headers["date"] = DATE
    client = client_of(answer, listing("b"))

    assert [batch.server_date_us for batch in client.list_batches()] == [DATE_US]
    assert client.server_date_us == DATE_US
    assert [batch.server_date_us for batch in client.list_batches()] == [None]


def test_files_are_listed_as_many_at_a_time_as_is_asked():
    data = [{"id": "file-1", "bytes": 3, "filename": "ref.jsonl", "purpose": "batch"}]
    client = client_of(httpx.Response(200, json={"data": data, "has_more": False}))

    [file] = client.list_files(50)

    assert file.filename == "ref.jsonl"
    assert dict(client.script.requests[0].url.params) == {"limit": "50"}


# --- the calls ---


def test_a_probe_tells_the_vendors_clock_and_costs_nothing():
    client = client_of(httpx.Response(200, json={"data": []}, headers={"date": DATE}))

    assert client.probe() == DATE_US
    assert client.script.requests[0].method == "GET"


def test_create_posts_its_body_as_it_is():
    client = client_of(
        httpx.Response(200, json=job(status="validating", metadata={"ref": "r"}), headers={"date": DATE})
    )

    batch = client.create_batch(CREATE)

    [request] = client.script.requests
    assert (batch.id, batch.phase, batch.server_date_us) == ("batch-1", wire.Phase.OPEN, DATE_US)
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/batches")
    assert orjson.loads(request.content) == create_body(CREATE)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"voyage-jobs/{__version__}"


def test_an_id_stays_one_part_of_the_path():
    client = client_of(httpx.Response(200, json=job("../files/x?y#z")), httpx.Response(200, json=job("b c")))

    client.get_batch("../files/x?y#z")
    client.cancel_batch("b c")

    assert [r.url.raw_path for r in client.script.requests] == [
        b"/v1/batches/..%2Ffiles%2Fx%3Fy%23z",
        b"/v1/batches/b%20c/cancel",
    ]


@pytest.mark.parametrize("call", ["get batch", "cancel", "get file"])
def test_an_answer_about_another_job_or_file_is_none(call, tmp_path):
    other = httpx.Response(200, json=job("of\nsomebody"))

    with pytest.raises(BadAnswerError, match="with another one: of somebody"):
        CALLS[call](client_of(other), tmp_path)


def test_an_item_that_stands_twice_on_a_page_is_one():
    client = client_of(listing(["batch-1", "batch-2", "batch-1"], has_more=False))

    assert [batch.id for batch in client.list_batches()] == ["batch-1", "batch-2"]


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        (httpx.Response(200, json={"id": "file-1", "deleted": True}), True),
        (httpx.Response(404, json={"detail": "No such file"}), True),
        (httpx.Response(410, json={"detail": "Gone"}), True),
        (httpx.Response(200, json={"id": "file-1", "deleted": False}), False),
        (httpx.Response(200, json={"id": "file-1"}), False),
    ],
    ids=["deleted", "404", "410", "not deleted", "not said"],
)
def test_a_file_that_is_gone_counts_as_deleted(answer, gone):
    assert client_of(answer).delete_file("file-1") is gone


def test_a_delete_that_is_refused_is_an_error():
    with pytest.raises(RefusedError):
        client_of(httpx.Response(400, json={"detail": "in use"})).delete_file("file-1")


def test_an_upload_is_a_form_with_purpose_and_file(tmp_path):
    client = client_of(httpx.Response(200, json={"id": "file-1", "bytes": 41}))

    assert client.upload(spool(tmp_path), "voyage-jobs-ref.jsonl").id == "file-1"

    [request] = client.script.requests
    form = request.content
    assert b'name="purpose"\r\n\r\nbatch\r\n' in form
    assert b'name="file"; filename="voyage-jobs-ref.jsonl"\r\nContent-Type: application/jsonl\r\n' in form
    assert b'{"custom_id":"a","body":{"input":["x"]}}\n' in form


def test_an_upload_streams_from_disk(tmp_path):
    path = spool(tmp_path, b"")
    with open(path, "r+b") as file:
        file.truncate(50_000_000)
    largest = 0

    class Sink(httpx.BaseTransport):
        def handle_request(self, request):
            nonlocal largest
            sent = 0
            for block in request.stream:
                largest = max(largest, len(block))
                sent += len(block)
            assert sent == int(request.headers["content-length"]) > 50_000_000
            return httpx.Response(200, json={"id": "file-1"})

    assert client_of(Sink()).upload(path, "a.jsonl").bytes is None
    assert 0 < largest <= 1024 * 1024


def test_a_simulator_on_this_machine_is_not_looked_for_behind_the_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    answer = b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}'

    with RawServer(answer) as server, VoyageClient(server.base, FixedKey(), clock=VirtualClock()) as client:
        assert client.probe() is None
    with VoyageClient("http://x.example/v1", FixedKey(), clock=VirtualClock()) as client:
        with pytest.raises(NotSentError):
            client.probe()


def test_the_key_goes_over_the_wire_in_http_1_1():
    answer = b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}'
    with RawServer(answer) as server, VoyageClient(server.base, FixedKey(), clock=VirtualClock()) as client:
        client.probe()

    assert server.received[0].startswith(b"GET /v1/batches?limit=1 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}".encode() in server.received[0]


# --- embeddings ---


def packed(vector, dtype):
    return base64.b64encode(np.array(vector, dtype).tobytes()).decode()


def test_a_query_is_embedded_at_once():
    rows = [
        {"embedding": packed([0, 1, 0, 0], "<f4"), "index": 1},
        {"embedding": [1, 0, 0, 0.25], "index": 0},
    ]
    client = client_of(httpx.Response(200, json={"data": rows, "usage": {"total_tokens": 5}}))

    embedded = client.embed(["a", "b"], PROFILE)

    assert embedded.vectors.tolist() == [[1, 0, 0, 0.25], [0, 1, 0, 0]]
    assert embedded.tokens == 5
    assert str(client.script.requests[0].url) == f"{BASE}/embeddings"
    assert orjson.loads(client.script.requests[0].content) == {
        "input": ["a", "b"],
        "model": "voyage-4",
        "input_type": "query",
        "output_dimension": 4,
        "output_dtype": "float",
        "encoding_format": "base64",
    }


def test_contextualized_queries_are_asked_one_by_one():
    profile = Profile("/v1/contextualizedembeddings", "voyage-context-3", 16, "ubinary", None)

    def answer(request):
        row = {"embedding": packed([1, len(orjson.loads(request.content)["inputs"][0][0])], "u1"), "index": 0}
        return httpx.Response(200, json={"data": [{"data": [row], "index": 0}], "usage": {"total_tokens": 2}})

    client = client_of(answer, answer)

    embedded = client.embed(["a", "bb"], profile)

    assert embedded.vectors.tolist() == [[1, 1], [1, 2]]
    assert embedded.tokens == 4
    assert [orjson.loads(r.content)["inputs"] for r in client.script.requests] == [[["a"]], [["bb"]]]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"embedding": [1, 2, 3], "index": 0}],
        [{"embedding": "!", "index": 0}],
        [{"index": 0}],
        None,
    ],
)
def test_vectors_that_do_not_check_out_are_a_bad_answer(rows):
    with pytest.raises(BadAnswerError, match="are invalid"):
        client_of(httpx.Response(200, json={"data": rows, "usage": {}})).embed(["a"], PROFILE)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (b"0", "all numbers of one are zero"),
        (b"NaN", "infinite or NaN"),
        (b"1e400", "infinite or NaN"),
        (b"1e30", "does not have length 1"),
        (b"1e-42", "does not have length 1"),
    ],
)
def test_a_query_that_points_nowhere_is_told_in_words(number, why):
    body = b'{"data":[{"embedding":[%s,%s,%s,%s],"index":0}]}' % ((number,) * 4)
    with pytest.raises(BadAnswerError, match=f"are invalid: .*{why}"):
        client_of(httpx.Response(200, content=body)).embed(["a"], PROFILE)


def test_an_answer_spread_over_lines_is_read():
    rows = [{"embedding": [1, 0, 0, 0], "index": 0}]
    spread = orjson.dumps({"data": rows, "usage": {"total_tokens": 1}}, option=orjson.OPT_INDENT_2)

    assert client_of(httpx.Response(200, content=spread)).embed(["a"], PROFILE).tokens == 1


def test_tokens_that_are_not_told_are_unknown():
    rows = [{"embedding": [1, 0, 0, 0], "index": 0}]

    assert client_of(httpx.Response(200, json={"data": rows})).embed(["a"], PROFILE).tokens is None
