"""Logs: one line per event, no secrets in any of them, and a broken log never stops the work."""

import io
import json
import logging

import pytest
import structlog

from voyage_jobs.core.clock import VirtualClock
from voyage_jobs.core.redact import remember
from voyage_jobs.telemetry import logs

SECRET = "pa-NotARealKey0123456789abcdefghijklmnop"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def restored():
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


def logged(log, **options):
    stream = io.StringIO()
    logs.configure(stream=stream, clock=VirtualClock(1_780_000_000.25), **options)
    log()
    return stream.getvalue()


def test_a_stream_that_fails_is_no_error():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    logs.configure(stream=Full())
    logs.get_logger().error("scan.failed")
    closed = io.StringIO()
    logs.configure(stream=closed)
    closed.close()
    logs.get_logger().error("scan.failed")


def test_elsewhere_than_on_a_terminal_a_line_is_json_with_utc_time():
    text = logged(lambda: logs.get_logger().bind(ref="r1").info("batch.submitted", inputs=3))
    assert text.endswith("\n")
    assert json.loads(text) == {
        "time": "2026-05-28T20:26:40.250Z",
        "level": "info",
        "event": "batch.submitted",
        "ref": "r1",
        "inputs": 3,
    }


def test_on_a_terminal_it_is_for_people_and_no_color_is_honoured(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    logs.configure(stream=terminal)
    logs.get_logger().info("batch.submitted", ref="r1")
    assert "\x1b[" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    logs.configure(stream=plain)
    logs.get_logger().info("batch.submitted", ref="r1")
    assert "\x1b" not in plain.getvalue()
    assert "batch.submitted" in plain.getvalue()
    assert "ref=r1" in plain.getvalue()


def test_a_file_name_cannot_command_the_terminal_or_forge_a_line():
    text = logged(lambda: logs.get_logger().info("file.skipped", path="a\x1b[2J\nb"), form="console")
    assert text.count("\n") == 1
    assert "\x1b[2J" not in text
    assert "\\x1b[2J\\x0ab" in text


def test_a_name_that_is_not_utf8_is_logged_in_both_forms():
    for form in ("json", "console"):
        assert "file.skipped" in logged(
            lambda: logs.get_logger().info("file.skipped", path="a\udcff"), form=form
        )


def shout_secrets():
    remember("an-odd-secret")
    log = logs.get_logger().bind(header=f"Bearer {SECRET}")
    try:
        raise ValueError(f"bad key {SECRET}")  # noqa: TRY301
    except ValueError as exc:
        log.exception(
            "auth.refused", keys=[SECRET, {"k": (SECRET,)}], cause=exc, said=f"an-odd-secret, {SECRET}"
        )
    logging.getLogger("httpx").warning("sent %s", SECRET)


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_masked_wherever_they_stand(form):
    text = logged(shout_secrets, form=form)
    assert "ValueError" in text
    assert "Traceback" in text
    assert "NotARealKey" not in text
    assert "an-odd-secret" not in text
    assert "pa-***" in text


def test_libraries_speak_from_warning_up_in_the_same_form():
    def libraries():
        logging.getLogger("apscheduler.executors").info("chatter")
        logging.getLogger("alembic").warning("odd: %s", 1)

    (line,) = logged(libraries, level="debug").splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["event"], entry["logger"]) == ("warning", "library", "alembic")
    assert entry["message"] == "odd: 1"


def test_a_new_level_reaches_loggers_that_exist_already():
    log = logs.get_logger()
    assert logged(lambda: log.info("x"), level="warning") == ""
    assert "x" in logged(lambda: log.debug("x"), level="debug")
    logged(lambda: None, level="info")
    assert (
        len([h for h in logging.getLogger().handlers if type(h).__module__ == "voyage_jobs.telemetry.logs"])
        == 1
    )
