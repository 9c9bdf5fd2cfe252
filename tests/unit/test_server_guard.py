"""Who may ask: hosts, other sites, tokens, cookies; and where a server may listen at all."""

from pathlib import Path

import pytest
from world import World

from voyage_jobs.config import parse_settings
from voyage_jobs.config.address import Address
from voyage_jobs.config.key import KeySource
from voyage_jobs.config.page_token import PageToken
from voyage_jobs.core import redact
from voyage_jobs.core.clock import SystemClock
from voyage_jobs.errors import ConfigError
from voyage_jobs.server.door import Door
from voyage_jobs.server.guard import COOKIE, Guard, Verdict, cookie_for, same
from voyage_jobs.service.reload import needs_restart

ORIGIN = Path("/etc/voyage-jobs.toml")
TOKEN = "0123456789abcdef0123456789abcdef"


def open_guard(*hosts):
    return Guard(lambda: None, hosts)


def closed_guard(*hosts):
    return Guard(lambda: TOKEN, hosts)


# --- hosts ---


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.nip.io", "1.2.3"],
)
def test_a_name_that_somebody_else_may_point_here_is_refused(host):
    assert open_guard().judge({"host": host}) is Verdict.WRONG_HOST


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8765", "127.0.0.1:8765", "[::1]:8765", "[::1]", "10.1.2.3:80", "me.localhost"],
)
def test_localhost_and_plain_addresses_are_ours(host):
    assert open_guard().judge({"host": host}) is Verdict.WELCOME


def test_a_configured_name_is_ours():
    assert open_guard("jobs.example.com").judge({"host": "Jobs.Example.com:8765"}) is Verdict.WELCOME


def test_no_host_at_all_is_refused():
    assert open_guard().judge({}) is Verdict.WRONG_HOST


# --- other sites ---


def test_what_another_site_asks_is_refused_and_a_link_from_there_is_not():
    head = {"host": "localhost", "sec-fetch-site": "cross-site"}
    assert open_guard().judge({**head, "sec-fetch-mode": "no-cors"}) is Verdict.CROSS_SITE
    assert open_guard().judge({**head, "sec-fetch-mode": "navigate"}) is Verdict.CROSS_SITE
    assert open_guard().judge({**head, "sec-fetch-mode": "no-cors"}, linkable=True) is Verdict.CROSS_SITE
    assert open_guard().judge({**head, "sec-fetch-mode": "navigate"}, linkable=True) is Verdict.WELCOME


# --- the token ---


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \udcff"},
        {"cookie": f"{COOKIE}={TOKEN}"},
        {"cookie": f"{COOKIE}=\udcff"},
        {"cookie": f"other={cookie_for(TOKEN)}"},
        {"cookie": f"{COOKIE}={cookie_for('another token of good length')}"},
        {"cookie": '"=;=;\x01'},
    ],
)
def test_without_the_right_token_nobody_comes_in(head):
    assert closed_guard().judge({"host": "localhost", **head}) is Verdict.LOGIN


def test_the_token_opens_whatever_the_host_is_called():
    assert closed_guard().judge({"host": "jobs:8765", "authorization": f"bearer  {TOKEN}"}) is Verdict.WELCOME


def test_the_cookie_of_a_login_opens_only_under_known_hosts():
    cookie = closed_guard().opens(TOKEN)
    assert TOKEN not in cookie
    head = {"cookie": f"a=b; {COOKIE}={cookie}"}
    assert closed_guard().judge({"host": "localhost", **head}) is Verdict.WELCOME
    assert closed_guard().judge({"host": "evil.example", **head}) is Verdict.WRONG_HOST


@pytest.mark.parametrize("other", ["x=[1]", '{"a": 1}', 'a="b; c=d', "ключ=1", "=", "a b c"])
def test_the_cookies_of_other_programs_do_not_hide_ours(other):
    cookie = f"{COOKIE}={cookie_for(TOKEN)}"
    for pair in (f"{other}; {cookie}", f"{cookie}; {other}"):
        assert closed_guard().judge({"host": "localhost", "cookie": pair}) is Verdict.WELCOME


def test_a_wrong_token_makes_no_cookie():
    assert closed_guard().opens("") is None
    assert closed_guard().opens(TOKEN[:-1]) is None
    assert open_guard().opens("anything") is None


def test_another_token_ends_the_cookie():
    now = [TOKEN]
    guard = Guard(lambda: now[0])
    head = {"host": "localhost", "cookie": f"{COOKIE}={guard.opens(TOKEN)}"}
    assert guard.judge(head) is Verdict.WELCOME
    now[0] = "f" * 32
    assert guard.judge(head) is Verdict.LOGIN


def test_comparing_takes_anything():
    assert same("a", "a")
    assert not same("\udcff", "a")
    assert not same("", "a")


# --- where the token comes from ---


def test_no_token_is_none():
    assert PageToken({})() is None
    assert not PageToken({"VOYAGE_JOBS_SERVER_TOKEN": " "}).configured


@pytest.mark.parametrize("text", ["short", "has a blank inside it", "a" * 15, "ünïcödë of good length"])
def test_a_weak_token_is_refused_and_not_shown(text):
    with pytest.raises(ConfigError) as raised:
        PageToken({"VOYAGE_JOBS_SERVER_TOKEN": text})()
    assert text not in f"{raised.value.message} {raised.value.hint}"


def test_a_token_from_a_file_is_read_anew(tmp_path):
    path = tmp_path / "token"
    source = PageToken({"VOYAGE_JOBS_SERVER_TOKEN_FILE": str(path)})
    with pytest.raises(ConfigError, match="cannot be read"):
        source()
    path.write_text(TOKEN + "\n")
    assert source() == TOKEN
    assert redact.redact(f"x {TOKEN} y") == "x *** y"
    path.write_text("f" * 32)
    assert source() == "f" * 32
    assert TOKEN not in repr(source)


def test_a_token_is_taken_from_systemds_credential(tmp_path):
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert not PageToken(environ).configured, "there is none of that name"
    (tmp_path / "voyage_jobs_server_token").write_text(TOKEN + "\n")
    assert PageToken(environ)() == TOKEN
    assert PageToken(environ).named_file is None, "its mode is systemd's business"
    named = tmp_path / "named"
    named.write_text("f" * 32)
    assert PageToken({**environ, "VOYAGE_JOBS_SERVER_TOKEN_FILE": str(named)})() == "f" * 32


def test_a_token_is_taken_from_dockers_secret(tmp_path):
    assert not PageToken({}, tmp_path).configured
    (tmp_path / "voyage_jobs_server_token").write_text(TOKEN + "\n")
    assert PageToken({}, tmp_path)() == TOKEN


# --- addresses ---


@pytest.mark.parametrize(
    "text",
    [
        "8765",
        ":8765",
        "localhost",
        "localhost:",
        "h:99999",
        "a@h:1",
        "http://h:1",
        "h:1/x",
        "[::1:1",
        "h:x",
        "a..b:1",
        f"{'x' * 64}:1",
    ],
)
def test_what_is_no_address_is_a_finding(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        Address.parse(text)
    with pytest.raises(ConfigError, match=r"server\.listen"):
        parse_settings(f'[[sources]]\nname = "a"\npath = "a"\n[server]\nlisten = "{text}"\n', ORIGIN, {})


def test_addresses_are_read_and_told():
    assert Address.parse("[::1]:8765") == ("::1", 8765)
    assert Address.parse("[::1]:8765").url == "http://[::1]:8765/"
    assert [
        Address.parse(t).is_loopback
        for t in ("127.0.0.2:1", "[::1]:1", "localhost:1", "0.0.0.0:1", "me.lan:1")
    ] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "jobs.example.com"])
def test_an_address_that_others_can_reach_needs_a_token(tmp_path, host):
    world = World(tmp_path)
    with pytest.raises(ConfigError, match="no token is set") as raised:
        Door(world.settings(), Address(host, 0), SystemClock(), world.log, ready=None)
    assert "VOYAGE_JOBS_SERVER_TOKEN" in raised.value.hint


def test_a_bad_token_is_told_at_the_start(tmp_path):
    world = World(tmp_path)
    settings = world.settings().attach(
        origin=None,
        warnings=(),
        api_key=KeySource({}),
        page_token=PageToken({"VOYAGE_JOBS_SERVER_TOKEN": "short"}),
    )
    with pytest.raises(ConfigError, match="at least 16"):
        Door(settings, Address("127.0.0.1", 0), SystemClock(), world.log, ready=None)


def test_the_server_does_not_move_while_running(tmp_path):
    world = World(tmp_path)
    assert needs_restart(world.settings(), world.settings(server={"listen": "127.0.0.1:1"})) == ["server"]
