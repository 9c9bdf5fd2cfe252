"""What is built holds what it must, and the locks agree with each other."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A freshly built wheel and sdist."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("dist")
    for target in ("wheel", "sdist"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    return folder


def contents(folder):
    return subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "contents"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_and_sdist_are_complete(dist):
    done = contents(dist)
    assert done.returncode == 0, done.stdout


def test_what_is_missing_is_noticed(dist, tmp_path):
    import zipfile

    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(tmp_path / wheel.name, "w") as part:
        for name in whole.namelist():
            if name not in {"voyage_jobs/py.typed", "voyage_jobs/_docs/money.md"}:
                part.writestr(name, whole.read(name))
    done = contents(tmp_path)
    assert done.returncode == 1
    assert "py.typed" in done.stdout
    assert "money.md" in done.stdout


def test_the_lock_of_uv_names_no_registry_but_the_public_one():
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-local.lock"])
def test_the_locks_agree_on_versions_and_hashes(name):
    text = (ROOT / name).read_text()
    in_uv = {(package["name"], package.get("version")): package for package in LOCK["package"]}
    for package, version in PINNED.findall(text):  # one package may have several, by version of Python
        locked = in_uv[package, version]
        block = text.split(f"\n{package}=={version}", 1)[1].split("    # via")[0]
        files = [*locked.get("wheels", []), *([locked["sdist"]] if "sdist" in locked else [])]
        hashes = {file["hash"] for file in files}  # without wheels for Pythons that are too old
        assert hashes, package
        assert hashes <= set(re.findall(r"sha256:[0-9a-f]{64}", block)), package


def test_the_lock_of_uv_knows_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    named = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in [*project["dependencies"], *extras]}
    assert {name.replace("_", "-") for name in named} <= {package["name"] for package in LOCK["package"]}
