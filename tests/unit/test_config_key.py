"""The API key: where it is taken from, how a bad one is refused, and that it is never shown."""

import pytest

from voyage_jobs.config import KeySource
from voyage_jobs.core.redact import redact
from voyage_jobs.errors import ConfigError

SECRET = "pa-NotARealKey0123456789abcdefghijklmnop"


@pytest.fixture
def nowhere(tmp_path):
    return tmp_path / "absent"


def test_no_key_is_an_error_only_when_it_is_wanted_and_says_where_to_put_one(nowhere):
    source = KeySource({}, nowhere)
    assert not source.available()
    assert "nowhere" in source.describe()
    with pytest.raises(ConfigError, match="no Voyage API key") as caught:
        source()
    assert "VOYAGE_API_KEY_FILE" in caught.value.hint
    assert caught.value.exit_code == 2


def test_an_unreadable_file_is_named(nowhere):
    with pytest.raises(ConfigError, match="absent: No such file") as told:
        KeySource({"VOYAGE_API_KEY_FILE": str(nowhere)}, nowhere)()
    assert told.value.hint == "Write the key into that file."


def test_a_key_that_this_user_may_not_read_is_not_to_be_overwritten(tmp_path, nowhere):
    with pytest.raises(ConfigError, match="cannot be read") as told:
        KeySource({"VOYAGE_API_KEY_FILE": str(tmp_path)}, nowhere)()
    assert told.value.hint == "Let this user read it, or name another file."


def test_a_function_that_gives_no_key_is_told_to(nowhere):
    with pytest.raises(ConfigError, match="own function is empty") as told:
        KeySource({"VOYAGE_API_KEY": SECRET}, nowhere, ask=str)()
    assert told.value.hint == "Have it return the key."


@pytest.mark.parametrize("content", [b"", b"  \n", b"two words", b"a\nb", b"k\xc3\xa9y", b"a\x00b", b"a\rb"])
def test_what_cannot_be_a_header_is_refused_without_showing_it(tmp_path, nowhere, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        KeySource({"VOYAGE_API_KEY_FILE": str(file)}, nowhere)()
    assert str(file) in caught.value.message
    if content.strip():
        assert "(blanks, control characters, or letters beyond ASCII)" in caught.value.message
    assert "two words" not in caught.value.message


def test_order_is_variable_then_named_file_then_systemd_then_docker(tmp_path):
    credentials, docker, named = tmp_path / "cred", tmp_path / "docker", tmp_path / "named"
    credentials.mkdir()
    docker.mkdir()
    for file, key in (
        (credentials / "voyage_api_key", "systemd-key"),
        (docker / "voyage_api_key", "docker-key"),
        (named, "named-key"),
    ):
        file.write_text(key + "\n")
    environ = {
        "VOYAGE_API_KEY": " variable-key\n",
        "VOYAGE_API_KEY_FILE": str(named),
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
    seen = []
    for name in ("VOYAGE_API_KEY", "VOYAGE_API_KEY_FILE", "CREDENTIALS_DIRECTORY", "none"):
        seen.append(KeySource(environ, docker)())
        environ[name] = ""
    assert seen == ["variable-key", "named-key", "systemd-key", "docker-key"]


def test_a_folder_of_secrets_that_nobody_may_enter_holds_none(tmp_path, monkeypatch):
    def closed(path, **_):
        raise PermissionError(13, "Permission denied", path)

    source = KeySource({}, tmp_path)
    monkeypatch.setattr("os.stat", closed)
    with pytest.raises(ConfigError, match="no Voyage API key"):
        source()


def test_a_rotated_file_counts_at_once(tmp_path, nowhere):
    file = tmp_path / "key"
    source = KeySource({"VOYAGE_API_KEY_FILE": str(file)}, nowhere)
    file.write_text("first-key")
    assert source() == "first-key"
    file.write_text("second-key")
    assert source() == "second-key"


def test_nothing_about_it_shows_the_key(nowhere):
    source = KeySource({"VOYAGE_API_KEY": SECRET}, nowhere)
    assert source() == SECRET
    for text in (repr(source), str(source), source.describe(), repr(vars(source))):
        assert SECRET not in text
    assert source.describe() == "the variable VOYAGE_API_KEY"


def test_a_key_that_was_read_is_masked_wherever_it_turns_up(nowhere):
    assert "quite-ordinary-words" in redact("say quite-ordinary-words here")
    KeySource({"VOYAGE_API_KEY": "quite-ordinary-words"}, nowhere)()
    assert redact("say quite-ordinary-words here") == "say *** here"


@pytest.mark.parametrize(
    "text",
    [
        f"key {SECRET}!",
        f"x={SECRET.replace('pa-', 'al-')}",
        "Authorization: Bearer abc.def",
        f"bearer {SECRET}",
    ],
)
def test_what_looks_like_a_key_is_masked(text):
    masked = redact(text)
    assert "NotARealKey" not in masked
    assert "abc.def" not in masked or "bearer" in text
    assert "***" in masked


@pytest.mark.parametrize("text", ["docs/al-andalus-architecture-in-spain.md", "pa-short", "the bearer"])
def test_ordinary_words_stay(text):
    assert redact(text) == text
