"""The server over a real socket: what it answers, to whom, and that nothing it meets ends the work."""

import json
import re
import socket
import threading
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from served import PATIENCE_S, TOKEN, Served
from world import World

from voyage_jobs.config.address import Address
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.page_token import PageToken
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.errors import ConfigError
from voyage_jobs.report.status import status
from voyage_jobs.server import app, attempts, door, views
from voyage_jobs.server.door import Door
from voyage_jobs.server.guard import COOKIE
from voyage_jobs.server.ready import OwnReadiness
from voyage_jobs.telemetry.metrics.recorder import Recorder

ASSETS = Path(app.__file__).parent / "assets"
HOSTILE = "<img src=x onerror=alert(1)>.md"


@pytest.fixture
def full(tmp_path):
    """A world with two published documents, one refused text and one file that is no text."""
    world = World(tmp_path, faults={"line_refused": {"contains": "badword"}}, budget={"daily_usd": 1.0})
    world.write("guide.md", "# Guide\n\nHow to renew a Certificate in time.\n\n# Other\n\nNothing of that.\n")
    world.write(HOSTILE, "# Odd\n\n<script>alert(1)</script> certificate\n")
    world.write("mixed.md", "# One\n\ngood\n\n# Two\n\nbadword\n")
    world.write(b"caf\xe9.md", "# Bytes\n\nplain certificate words\n")
    world.write("binary.md", b"\0\1")
    world.run()
    return world


# --- trouble first ---


def test_without_a_state_it_answers_and_says_so(world):
    with Served(world) as ask:
        assert ask.json("/api/status")["problems"][0]["code"] == "no_state"
        assert ask.json("/api/batches", 503)["error"]["code"] == "state"
        assert ask.json("/api/history?ref=a", 503)["error"]["code"] == "state"
        assert ask.json("/api/search?q=a", 400)["error"]["code"] == "config"
        assert ask("/readyz")[0] == 503
        assert ask("/healthz")[0] == 200
        assert b"state_readable 0" in ask("/metrics")[2]
    assert not world.data_dir.exists()


def test_a_port_that_is_taken_is_a_problem_until_it_is_free(world, monkeypatch):
    monkeypatch.setattr(door, "TRY_AGAIN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = Door(
            world.settings(), Address("127.0.0.1", port), SystemClock(), world.log, ready=OwnReadiness()
        )
        with served:
            assert served.wait_settled(PATIENCE_S)
            assert "Address already in use" in served.problem
            taken.close()
            waited = threading.Event()
            for _ in range(int(PATIENCE_S / 0.05)):
                if served.port == port:
                    break
                waited.wait(0.05)
            assert (served.port, served.problem) == (port, None)
    assert len(world.log.named("page.not_served")) == 1


def test_a_host_that_is_not_here_is_a_problem(world):
    settings = world.settings().attach(
        origin=None,
        warnings=(),
        api_key=KeySource({}),
        page_token=PageToken({"VOYAGE_JOBS_SERVER_TOKEN": TOKEN}),
    )
    served = Door(settings, Address("192.0.2.1", 0), SystemClock(), world.log, ready=OwnReadiness())
    with served:
        assert served.wait_settled(PATIENCE_S)
        assert served.problem.startswith("Cannot listen on 192.0.2.1:0")


def test_an_error_inside_is_an_answer_and_a_line_in_the_log(world, monkeypatch):
    monkeypatch.setattr(views, "history_of", lambda *_, **__: 1 / 0)
    with Served(world) as ask:
        assert ask.json("/api/history?ref=secret-path", 500)["error"]["code"] == "unexpected"
        assert ask("/healthz")[0] == 200
    (told,) = world.log.named("page.failed")
    assert told == {"path": "/api/history", "error": "ZeroDivisionError: division by zero"}


def test_questions_that_make_no_sense_are_told(full):
    with Served(full) as ask:
        assert (
            "No document, chunk, batch or key named"
            in ask.json("/api/history?ref=nope", 400)["error"]["message"]
        )
        for path in (
            "/api/history",
            "/api/search",
            "/api/search?q=%20",
            f"/api/search?q={'x' * 2000}",
            "/api/search?q=%00",
        ):
            assert ask.json(path, 400)["error"]["message"]
        assert ask("/api/none")[0] == 404
        assert ask("/page.py")[0] == 404
        assert ask("/../app.py")[0] == 404
        assert ask("/page.html")[0] == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            code, headers, _ = ask("/api/status", method=method)
            assert (code, set(headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


def test_only_one_search_runs_at_a_time(full, monkeypatch):
    inside, go_on = threading.Event(), threading.Event()

    def slow(*_):
        inside.set()
        assert go_on.wait(PATIENCE_S)
        raise ConfigError("no matter")

    monkeypatch.setattr(views.Retriever, "search", slow)
    with Served(full) as ask:
        first = threading.Thread(target=ask, args=("/api/search?q=a",))
        first.start()
        assert inside.wait(PATIENCE_S)
        assert ask.json("/api/search?q=b", 429)["error"]["code"] == "busy"
        go_on.set()
        first.join()


# --- who may ask ---


def test_other_names_and_other_sites_are_refused(full):
    with Served(full) as ask:
        assert ask.json("/api/status", 421, Host="evil.example")["error"]["code"] == "wrong_host"
        assert ask("/", Host="evil.example")[0] == 421
        assert ask.json("/api/status", 403, Sec_Fetch_Site="cross-site")["error"]["code"] == "cross_site"
        assert ask("/healthz", Host="evil.example")[0] == 200
    with Served(full, server={"hosts": ["jobs.example"]}) as ask:
        assert ask("/", Host="jobs.example:1")[0] == 200


def test_another_site_may_lead_to_a_page_and_ask_nothing(full):
    away = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    with Served(full) as ask:
        assert [ask(path, **away)[0] for path in ("/", "/login")] == [200] * 2
        for path in (
            "/api/search?q=certificate&mode=hybrid",
            "/api/history?ref=guide.md",
            "/metrics",
            "/page.js",
        ):
            assert ask.json(path, 403, **away)["error"]["code"] == "cross_site"
        assert ask("/logout", method="POST", **away)[0] == 403


def test_with_a_token_everything_but_probes_and_the_login_is_closed(full):
    with Served(full, token=TOKEN) as ask:
        for path in (
            "/api/status",
            "/api/batches",
            "/api/failures",
            "/api/search?q=a",
            "/metrics",
            "/page.js",
        ):
            code, headers, body = ask(path)
            assert (code, headers["www-authenticate"]) == (401, "Bearer")
            assert b"guide" not in body
        assert ask("/")[1]["location"] == "/login"
        assert [ask(path)[0] for path in ("/healthz", "/login", "/page.css", "/icon.svg")] == [200] * 4
        assert ask("/metrics", Authorization=f"Bearer {TOKEN}", Host="jobs:1")[0] == 200


def test_a_login_leaves_a_cookie_that_scripts_and_other_sites_do_not_get(full, monkeypatch):
    monkeypatch.setattr(attempts, "DELAYS_S", (0.0,) * 4)
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    with Served(full, token=TOKEN) as ask:
        code, headers, body = ask("/login", method="POST", body="token=wrong", **form)
        assert (code, headers.get("set-cookie")) == (403, None)
        assert b'role="alert"' in body
        assert ask("/login", method="POST", body="x" * 5000, **form)[0] == 413
        for nothing in ("", "token=", "token=%20", "other=1"):
            assert ask("/login", method="POST", body=nothing, **form)[0] == 400
        code, headers, _ = ask("/login", method="POST", body=urlencode({"token": TOKEN}), **form)
        assert (code, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        pair = cookie.partition(";")[0]
        code, _, page = ask("/", Cookie=pair)
        assert code == 200
        assert b"data-token>" in page
        assert ask("/api/status", Cookie=pair)[0] == 200
        assert ask("/api/status", Cookie=pair, Host="evil.example")[0] == 421
        gone = ask("/logout", method="POST", Cookie=pair)[1]["set-cookie"]
        assert gone.startswith(f'{COOKIE}="";')


@pytest.mark.parametrize("by", ["VOYAGE_JOBS_SERVER_TOKEN_FILE", "CREDENTIALS_DIRECTORY"])
def test_a_token_file_that_vanishes_closes_the_door(full, tmp_path, by):
    path = tmp_path / "voyage_jobs_server_token"
    path.write_text(TOKEN)
    with Served(full, environ={by: str(path if by.endswith("_FILE") else tmp_path)}) as ask:
        assert ask("/api/status")[0] == 401
        path.unlink()
        assert ask.json("/api/status", 503)["error"]["code"] == "config"


def test_every_answer_forbids_what_is_not_ours(full):
    with Served(full) as ask:
        for path in ("/", "/page.js", "/api/status", "/nope", "/healthz", "/login", "/api/history"):
            _, headers, _ = ask(path)
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers


# --- what is told ---


def test_the_status_is_that_of_the_command(full):
    with Served(full) as ask:
        found = ask.json("/api/status")
    expected = json.loads(json.dumps(status(ask.settings, ask.clock)))
    for each in (found, expected):
        each.pop("as_of")
        for source in each["sources"]:
            source["oldest_unpublished_s"] = round(source["oldest_unpublished_s"] or 0, -3)
    assert found == expected
    assert found["budgets"][0]["key"] == "daily_usd"


def test_batches_failures_history_and_search(full):
    with Served(full) as ask:
        (batch,) = ask.json("/api/batches")["batches"]
        assert ask.json(f"/api/history?ref={batch['ref'][:8]}")["kind"] == "batch"
        (group,) = ask.json("/api/failures")["reasons"]
        assert group["documents"] == [{"source": "docs", "path": "mixed.md"}]
        assert (group["chunks"], group["reason"][:8]) == (1, "http_400")
        assert ask.json("/api/history?ref=guide.md&source=docs")["kind"] == "document"
        found = ask.json("/api/search?q=CERTIFICATE%20renew")
        assert found["hits"][0]["path"] == "guide.md"
        assert "certificate" in found["hits"][0]["snippet"].lower()
        assert (found["mode"], found["cost"]["tokens"]) == ("words", 0)
        assert (found["complete"], found["looked_at"]) == (True, 5)
        assert found["facets"]["source"] == {"docs": 3}
        assert {hit["path"][:3] for hit in ask.json("/api/search?q=certificate")["hits"]} == {
            "gui",
            "<im",
            "caf",
        }
        assert ask.json(f"/api/search?q={quote(chr(39) + ' --')}")["hits"] == []
        assert ask.json("/api/search?q=certificate&path=guide*&k=1")["hits"][0]["path"] == "guide.md"
        assert ask.json("/api/search?q=certificate&since=2999-01-01")["hits"] == []
        for wrong in (
            "where=1%3D1",
            "mode=psychic",
            "k=0",
            "since=yesterday",
            "source=none",
            "expand=x",
            "rerank=yes",
            "rerank=2",
        ):
            assert ask.json(f"/api/search?q=certificate&{wrong}", 400)["error"]["message"]


def test_fields_of_the_front_matter_are_counted_and_narrow_down(tmp_path):
    world = World(tmp_path, dimension=256)
    fronts = {
        "a": 'lang: de\ntags: [tls, "it\'s"]\nid: 1',
        "b": "lang: de\ntags: tls\nid: 2\ndraft: true",
        "c": "lang: 3\nid: 3\ndraft: true",
        "d": 'lang: ["de", 3]\nid: 4\n"o\'dd key": x',
        "e": "lang: {a: b}",
    }
    for name, front in fronts.items():
        world.write(f"{name}.md", f"---\n{front}\n---\nneedle")
    world.run()
    with Served(world) as ask:
        facets = ask.json("/api/search?q=needle")["facets"]["fields"]
        assert facets == {
            "lang": {'"de"': 3, "3": 2},
            "tags": {'"tls"': 2, '"it\'s"': 1},
            "draft": {"true": 2},
        }
        for name, values in facets.items():
            for value, count in values.items():
                hits = ask.json(f"/api/search?q=needle&field={quote(f'{name}:{value}')}")["hits"]
                assert len(hits) == count, (name, value)
        both = f"field={quote('lang:3')}&field={quote('draft:true')}"
        assert [hit["path"] for hit in ask.json(f"/api/search?q=needle&{both}")["hits"]] == ["c.md"]
        for wrong in ("lang", "lang:de", "lang:[1]", "lang:null", 'la"ng:1', "') OR ('1'='1:1"):
            assert ask.json(f"/api/search?q=needle&field={quote(wrong)}", 400)["error"]["message"]
        assert (
            ask.json(
                f"/api/search?q=needle&field={quote('lang:' + chr(34) + chr(39) + ' OR 1=1' + chr(34))}"
            )["hits"]
            == []
        )


def test_by_meaning_the_provider_is_asked_and_without_a_key_a_warning_says_so(full):
    with Served(full) as ask:
        found = ask.json("/api/search?q=certificate&mode=hybrid")
    assert (found["mode"], bool(found["hits"]), len(found["warnings"])) == ("words", True, 1)


def test_a_name_that_is_no_text_leads_to_its_history(full):
    with Served(full) as ask:
        (path,) = [hit["path"] for hit in ask.json("/api/search?q=plain")["hits"]]
        told = ask.json(f"/api/history?ref={quote('docs:' + path)}")
        assert told["facts"]["path"] == path
        assert "%F4%8F" in quote(path)


def test_the_longest_path_there_can_be_leads_to_its_history(tmp_path):
    world = World(tmp_path, dimension=256)
    path = "/".join(["n" * 200] * 6) + "/deep.md"
    world.write(path, "needle")
    world.run()
    with Served(world) as ask:
        assert ask.json(f"/api/history?ref={quote(path)}&source=docs")["facts"]["path"] == path
        for wrong in ("n" * 10_001, "a%00b", "", "%20"):
            assert ask.json(f"/api/history?ref={wrong}", 400)["error"]["message"]


def test_which_other_files_the_machine_has_is_not_told(full):
    with Served(full) as ask:
        told = [
            ask.json(f"/api/history?ref={path}", 400)["error"] for path in ("/etc/passwd", "/etc/nothing")
        ]
    assert [each["message"] for each in told] == [
        f"No document, chunk, batch or key named /etc/{name}." for name in ("passwd", "nothing")
    ]
    assert told[0]["hint"] == told[1]["hint"]


def test_nothing_is_asked_of_the_vendor(full):
    before = full.sim.ledger.export()
    with Served(full) as ask:
        for path in ("/", "/api/status", "/api/search?q=a", "/metrics", "/readyz"):
            assert ask(path)[0] in (200, 503)
    assert full.sim.ledger.export() == before


def test_metrics_of_the_state_and_of_this_process(full):
    recorder = Recorder(full.clock)
    recorder.put_off("auth")
    with Served(full, recorder=recorder) as ask:
        code, headers, body = ask("/metrics")
    assert code == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert float(headers["x-kept-seconds"]) >= 1
    assert b'voyage_jobs_retries_total{reason="auth"} 1.0' in body
    assert b'voyage_jobs_chunks{source="docs",state="failed"} 1.0' in body


def test_new_settings_are_told_and_searched_by_at_once(full):
    limit = b'voyage_jobs_budget_limit_usd{limit="daily_usd"} '
    more = [{"name": name, "path": str(full.root / name)} for name in ("docs", "others")]
    with Served(full) as ask:
        assert limit + b"1.0" in ask("/metrics")[2]
        assert "others" in ask.json("/api/search?q=a&source=others", 400)["error"]["message"]
        ask.door.take_up(ask.again(budget={"daily_usd": 2.0}, sources=more))
        assert limit + b"2.0" in ask("/metrics")[2]
        assert ask.json("/api/search?q=a&source=others")["hits"] == []
        assert [each["name"] for each in ask.json("/api/status")["sources"]] == ["docs", "others"]


def test_a_search_keeps_to_the_new_budget(full):
    with Served(full) as ask:
        ask.door.take_up(ask.again(budget={"daily_tokens": 0}))
        (warning,) = ask.json("/api/search?q=certificate&mode=hybrid")["warnings"]
    assert "a budget is spent" in warning


def test_a_set_of_items_that_comes_is_searched_and_told(full):
    with Served(full) as ask:
        (ask.settings.paths.items / "notes").mkdir(parents=True)
        assert ask.json("/api/search?q=a&source=notes")["hits"] == []
        assert "notes" in [each["name"] for each in ask.json("/api/status")["sources"]]


def test_ready_is_the_process_that_has_recovered(world):
    ready = OwnReadiness()
    with Served(world, ready=ready) as ask:
        assert ask("/readyz")[0] == 503
        ready.set()
        assert ask("/readyz")[0] == 200


def test_ready_beside_a_daemon_is_its_sign_of_life(world):
    with Served(world) as ask, world.worker():
        assert ask("/readyz")[0] == 503  # its signs of life are in virtual time, long ago by ours
        ask.ready._clock = world.clock
        assert ask("/readyz")[0] == 200


def test_answers_are_kept_for_a_moment(world):
    made = []
    kept = views.Kept(lambda: made.append(1) or len(made), world.clock)
    assert [kept(), kept()] == [1, 1]
    world.clock.advance(kept.kept_s + 0.1)
    assert kept() == 2


def test_a_dear_answer_is_kept_for_longer(world):
    kept = views.Kept(lambda: world.clock.advance(3), world.clock)
    kept()
    assert kept.kept_s == pytest.approx(30)


def test_files_are_not_sent_twice(full):
    with Served(full) as ask:
        tag = ask("/page.js")[1]["etag"]
        assert ask("/page.js", If_None_Match=tag)[0] == 304


# --- the files themselves ---


def test_pages_have_no_script_or_style_of_their_own_and_nothing_from_elsewhere():
    for page in ASSETS.glob("*.html"):
        text = page.read_text()
        assert not re.search(r"\son\w+=|style=|<style|javascript:|https?://", text), page
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    for script in ASSETS.glob("*.js"):
        text = script.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://", text
        ), script
    css = (ASSETS / "page.css").read_text()
    assert not re.search(r"url\(|@import|https?://", css)


def test_every_file_is_served_and_every_served_file_is_there():
    assert {path.name for path in ASSETS.iterdir()} == set(app._ASSETS)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_stand_out_from_their_ground(scheme):
    blocks = re.findall(r":root \{(.*?)\}", (ASSETS / "page.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme]))
    pairs = [(text, ground) for text in ("ink", "muted") for ground in ("ground", "surface", "track")]
    pairs += [("ink", "bad-ground"), ("muted", "bad-ground"), ("ink", "mark"), ("on-accent", "accent")]
    pairs += [(word, f"{word}-ground") for word in ("good", "warn", "bad")]
    pairs += [(word, "surface") for word in ("good", "warn", "bad", "accent")]
    for text, ground in pairs:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for stage in ("waiting", "packed", "submitted", "held", "published", "failed"):
        assert contrast(colours[stage], colours["surface"]) >= 3, stage
