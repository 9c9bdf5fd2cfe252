"""Wrong tokens: each costs more than the one before, a few lock the client out, and nobody else notices."""

from __future__ import annotations

import json
import threading
from urllib.parse import urlencode

import pytest
from served import PATIENCE_S, TOKEN, Served
from world import Log

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.server import attempts
from voyage_jobs.server.attempts import DELAYS_S, FORGOTTEN_S, LOCKED_S, MOST_CLIENTS, Attempts
from voyage_jobs.server.guard import COOKIE, Kind, Proof, client_of, cookie_for

FORM = {"Content_Type": "application/x-www-form-urlencoded"}
MOST = len(DELAYS_S) + 1


def token(value):
    return Proof(Kind.TOKEN, str(value))


def cookie(value):
    return Proof(Kind.COOKIE, str(value))


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def counted(clock, log):
    return Attempts(clock, log)


def locked(counted, clock, client="192.0.2.1", proof=token):
    for number in range(MOST):
        assert counted.wait_s(client, proof(number)) == 0
        clock.advance(counted.wrong(client, proof(number)))
    return client


# --- counting ---


def test_each_wrong_token_is_answered_later_and_others_are_not_looked_at_meanwhile(counted, clock):
    for delay_s in DELAYS_S:
        assert counted.wait_s("192.0.2.1", token("a")) == 0
        assert counted.wrong("192.0.2.1", token("a")) == delay_s
        assert counted.wait_s("192.0.2.1", token("b")) == delay_s
        assert counted.wait_s("192.0.2.2", token("b")) == 0
        clock.advance(delay_s)


def test_after_a_few_the_client_is_locked_out_for_a_while(counted, clock, log):
    client = locked(counted, clock)
    assert counted.wait_s(client, token(TOKEN)) == LOCKED_S
    assert counted.wait_s("192.0.2.2", token(TOKEN)) == 0
    clock.advance(LOCKED_S - 0.5)
    assert counted.wait_s(client, token(TOKEN)) == 1
    clock.advance(0.5)
    assert counted.wait_s(client, token(TOKEN)) == 0
    assert len(counted) == 0
    assert log.named("page.token_rejected") == [{"client": client, "what": "token"}]
    (told,) = log.named("page.client_locked_out")
    assert told == {"client": client, "what": "token", "wrong": MOST, "for_s": LOCKED_S}


def test_what_was_wrong_long_ago_is_forgotten(counted, clock):
    for _ in range(3 * MOST):
        assert counted.wrong("192.0.2.1", token("a")) == DELAYS_S[0]
        clock.advance(FORGOTTEN_S)


def test_a_cookie_that_was_refused_before_is_no_new_guess(counted, clock):
    assert counted.wrong("192.0.2.1", cookie("old")) == DELAYS_S[0]
    for _ in range(100):
        assert counted.wait_s("192.0.2.1", cookie("old")) == 0
        assert counted.wrong("192.0.2.1", cookie("old")) == 0
    assert counted.wait_s("192.0.2.1", cookie("another")) == DELAYS_S[0]


def test_cookies_are_counted_apart_from_tokens(counted, clock):
    client = locked(counted, clock)
    assert counted.wait_s(client, cookie(cookie_for(TOKEN))) == 0
    locked(counted, clock, "192.0.2.2", cookie)
    assert counted.wait_s("192.0.2.2", cookie("more")) > 0
    assert counted.wait_s("192.0.2.2", token("more")) == 0


def test_only_so_many_clients_are_known(counted):
    for number in range(MOST_CLIENTS + 100):
        counted.wrong(f"198.51.{number // 256}.{number % 256}", token("a"))
    assert len(counted) == MOST_CLIENTS
    assert counted.wait_s("198.51.0.0", token("b")) == 0
    assert counted.wait_s("198.51.4.0", token("b")) > 0


def test_no_token_is_kept_or_logged(counted, clock, log):
    secret = "a token with a slip of the pen"
    counted.wrong("192.0.2.1", token(secret))
    assert secret not in json.dumps(log.events)
    assert secret not in repr(counted._records) + repr(token(secret))


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_who_an_address_stands_for(address, client):
    assert client_of(address) == client


# --- over HTTP ---


def login(ask, offered, **headers):
    return ask("/login", method="POST", body=urlencode({"token": offered}), **FORM, **headers)


def bearer(ask, offered, path="/api/status"):
    return ask(path, Authorization=f"Bearer {offered}")


@pytest.fixture
def at_once(monkeypatch):
    """Wrong tokens are counted, and the answers not held back."""
    monkeypatch.setattr(attempts, "DELAYS_S", (0.0,) * len(DELAYS_S))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("way", [login, bearer])
def test_a_client_is_locked_out_and_another_is_not(world, way):
    with Served(world, token=TOKEN) as ask:
        for number in range(MOST):
            assert way(ask, f"wrong-{number}")[0] in (401, 403)
        for offered in ("wrong", TOKEN):
            for other_way in (login, bearer):
                code, headers, body = other_way(ask, offered)
                assert code == 429
                assert 0 < int(headers["retry-after"]) <= LOCKED_S
                assert b"Too many wrong tokens" in body
        assert ask("/healthz")[0] == 200
        assert ask("/login")[0] == 200
        assert ask("/api/status", Cookie=f"{COOKIE}={cookie_for(TOKEN)}")[0] == 200
        assert (
            ask("/api/status", Cookie=f"{COOKIE}={cookie_for(TOKEN)}", X_Forwarded_For="192.0.2.9")[0] == 200
        )
        assert ask("/api/status", Authorization="Bearer x", X_Forwarded_For="192.0.2.9")[0] == 429
        ask.source = "127.0.0.2"
        assert bearer(ask, TOKEN)[0] == 200
        assert login(ask, TOKEN)[0] == 303
    assert [told["client"] for told in world.log.named("page.client_locked_out")] == ["127.0.0.1"]
    assert len(world.log.named("page.token_rejected")) == 1
    assert "wrong-" not in json.dumps(world.log.events)


@pytest.mark.usefixtures("at_once")
def test_guessing_by_another_name_of_the_host_counts_too(world):
    with Served(world, token=TOKEN) as ask:
        for number in range(MOST):
            assert ask("/", Authorization=f"Bearer {number}", Host="evil.example")[0] == 421
        assert bearer(ask, TOKEN)[0] == 429


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 403),
        ({"Host": "evil.example"}, 421),
    ],
)
def test_another_site_cannot_lock_anybody_out(world, head, code):
    with Served(world, token=TOKEN) as ask:
        for number in range(MOST + 1):
            assert ask("/login", method="POST", body=f"token={number}", **FORM, **head)[0] == code
        assert login(ask, TOKEN)[0] == 303
    assert world.log.named("page.token_rejected") == []


@pytest.mark.usefixtures("at_once")
def test_guessing_cookies_is_counted_and_an_old_one_leads_to_the_login(world):
    with Served(world, token=TOKEN) as ask:
        for _ in range(3 * MOST):
            assert ask("/api/status", Cookie=f"{COOKIE}=old")[0] == 401
        assert ask("/", Cookie=f"{COOKIE}=old")[1]["location"] == "/login"
        for number in range(MOST):
            ask("/api/status", Cookie=f"{COOKIE}=guess-{number}")
        right = f"{COOKIE}={cookie_for(TOKEN)}"
        assert ask("/api/status", Cookie=right)[0] == 429
        assert ask("/", Cookie=right)[1]["location"] == "/login"
        assert login(ask, TOKEN)[0] == 303


@pytest.mark.parametrize("way", [login, bearer])
def test_many_wrong_tokens_at_once_delay_nobody(world, monkeypatch, way):
    """One is looked at and held back for an hour; the others are refused at once, and the health check answers."""
    monkeypatch.setattr(attempts, "DELAYS_S", (3600.0,))
    refusal = 403 if way is login else 401
    codes, refused = [], threading.Semaphore(0)
    with Served(world, token=TOKEN) as ask:

        def guess():
            codes.append(way(ask, "wrong")[0])
            refused.release()

        guesses = [threading.Thread(target=guess) for _ in range(50)]
        for one in guesses:
            one.start()
        assert ask("/healthz")[0] == 200
        for _ in range(49):
            assert refused.acquire(timeout=PATIENCE_S)
        assert codes == [429] * 49
        assert ask("/healthz")[0] == 200
        ask.source = "127.0.0.2"
        assert bearer(ask, TOKEN)[0] == 200
    for one in guesses:
        one.join(PATIENCE_S)
    assert codes == [429] * 49 + [refusal]  # the end of the server ends its wait
