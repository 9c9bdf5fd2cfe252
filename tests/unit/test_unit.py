"""The systemd units: those in `deploy/` are the program's own, systemd accepts them, and the sandbox is tight."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from voyage_jobs.cli.exits import ExitCode
from voyage_jobs.errors import ConfigError
from voyage_jobs.service.unit import GROWING_DELAY_SINCE, REFERENCE, Unit, template_text, timed_text, words

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
ANALYZE = shutil.which("systemd-analyze")
with_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def values(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def systemd():
    said = subprocess.run([ANALYZE, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.match(r"systemd (\d+)", said)[1])


def analyzed(path, *arguments):
    """What systemd-analyze says of a unit, without lines about other units of this machine."""
    done = subprocess.run(
        [ANALYZE, *arguments, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]


def runnable(unit):
    """The same with a command and files that are there: verify looks."""
    return dataclasses.replace(unit, command=["/bin/true"])


def test_the_files_in_deploy_are_what_the_program_makes():
    assert (DEPLOY / "voyage-jobs.service").read_text() == REFERENCE.text()
    assert (DEPLOY / "voyage-jobs@.service").read_text() == template_text()
    assert (DEPLOY / "voyage-jobs-sync.service").read_text() == timed_text()


@with_systemd
@pytest.mark.parametrize(
    "unit",
    [
        REFERENCE,
        dataclasses.replace(REFERENCE, state_directory=None, writable=["/srv/voyage data", "/srv/100%"]),
        dataclasses.replace(REFERENCE, homes=True, tmp=True),
        dataclasses.replace(REFERENCE, environment={"VOYAGE_JOBS_VOYAGE__MODEL": 'a "b" $c %d \\'}),
        dataclasses.replace(REFERENCE, config="/etc/a b/$c%d.toml"),
        dataclasses.replace(REFERENCE, user=None, state_directory=None),
    ],
    ids=["reference", "elsewhere", "homes", "environment", "config", "user"],
)
def test_systemd_accepts_the_unit_for_its_version_without_a_word(tmp_path, unit):
    path = tmp_path / "voyage-jobs-under-test.service"
    path.write_text(runnable(dataclasses.replace(unit, systemd=systemd())).text())
    assert analyzed(path, "verify") == (0, [])


@with_systemd
def test_systemd_accepts_the_template(tmp_path):
    path = tmp_path / "voyage-jobs@one.service"
    text = template_text().replace("/opt/voyage-jobs/bin/voyage-jobs", "/bin/true")
    path.write_text(text)
    code, said = analyzed(path, "verify")
    unknown = [line for line in said if "Unknown key" in line and "Restart" in line]
    assert code == 0
    assert said == (unknown if systemd() < GROWING_DELAY_SINCE else [])


@with_systemd
def test_systemd_accepts_the_timer_and_its_service(tmp_path):
    path = tmp_path / "voyage-jobs-sync.timer"
    path.write_text((DEPLOY / path.name).read_text())
    service = tmp_path / "voyage-jobs-sync.service"
    service.write_text(timed_text().replace("/opt/voyage-jobs/bin/voyage-jobs", "/bin/true"))
    assert analyzed(path, "verify") == (0, [])
    assert analyzed(service, "verify") == (0, [])


@with_systemd
@pytest.mark.parametrize(
    "text", [REFERENCE.text(), template_text(), timed_text()], ids=["service", "template", "timed"]
)
def test_the_sandbox_is_rated_2_or_better(tmp_path, text):
    path = tmp_path / "voyage-jobs-rated.service"
    path.write_text(text.replace("%i", "one"))
    done = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--threshold=20", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    (rated,) = re.findall(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert float(rated) <= 2.0


def test_restarts_are_told_as_the_program_ends():
    text = REFERENCE.text()
    (prevented,) = values(text, "RestartPreventExitStatus")
    assert {int(code) for code in prevented.split()} == {ExitCode.USAGE}
    assert values(text, "Restart") == ["on-failure"]
    assert values(text, "Type") == ["notify"]
    (watchdog_s,) = values(text, "WatchdogSec")
    assert int(watchdog_s) >= 15, "the notifier ticks every 5 s"


def test_an_old_systemd_gets_a_delay_it_knows():
    old = dataclasses.replace(REFERENCE, systemd=GROWING_DELAY_SINCE - 1).text()
    assert values(old, "RestartSteps") == []
    assert values(old, "RestartSec") == ["30"]
    assert values(REFERENCE.text(), "RestartMaxDelaySec") == ["300"]


def test_a_secret_is_a_credential_or_a_file_and_never_a_value():
    assert values(REFERENCE.text(), "LoadCredential") == ["voyage_api_key:/etc/voyage-jobs/voyage_api_key"]
    own = dataclasses.replace(REFERENCE, user=None, secrets={"OPENAI_API_KEY": "/home/me/key"}).text()
    assert "Environment=OPENAI_API_KEY_FILE=/home/me/key" in own
    assert "LoadCredential" not in own
    without = dataclasses.replace(REFERENCE, secrets={}).text()
    assert values(without, "LoadCredential") == []
    assert "API_KEY=" not in own + REFERENCE.text() + without


def test_words_are_quoted_and_nothing_in_them_is_expanded():
    assert words(["/a b", "/50%", "$x"], command=True) == '"/a b" /50%% $$x'
    assert words(['/a"b\\c']) == '"/a\\"b\\\\c"'


@pytest.mark.parametrize("path", ["/a\nExecStart=/bin/evil", "/a\x00", "/a\udcff"])
def test_what_no_unit_can_hold_is_refused(path):
    with pytest.raises(ConfigError, match="unit file"):
        Unit(command=["/bin/true"], config=path).text()
    with pytest.raises(ConfigError, match="unit file"):
        Unit(command=["/bin/true"], config="/c", user=path).text()
