"""Container, Compose and Kubernetes files: what they promise stands in them, and they agree with the program."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from voyage_jobs.cli.main import COMMANDS
from voyage_jobs.config import load_settings
from voyage_jobs.config.environment import read_environment

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if each["image"] == "voyage-jobs"}
MANIFESTS = {
    each["kind"]: each
    for each in yaml.safe_load_all((ROOT / "deploy/kubernetes/voyage-jobs.yaml").read_text())
}
POD = MANIFESTS["StatefulSet"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ALIVE = ["voyage-jobs", "status", "--alive"]


def wrong_settings(environ):
    """What the program says against these variables."""
    return read_environment(environ)[1]


# --- the image ---


def test_the_image_is_not_root_and_pinned_by_hash():
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert json.dumps(ALIVE) in DOCKERFILE


def test_what_the_dockerfile_copies_is_let_through():
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line.split()[1:-1] for line in re.findall(r"^COPY (?!--from).*", DOCKERFILE, re.MULTILINE)]
    names = {name for line in copied for name in line}
    assert names <= let
    assert all((ROOT / name).exists() for name in names)


# --- Compose ---


@pytest.mark.parametrize("name", OURS)
def test_every_container_of_ours_is_hardened(name):
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(each.startswith("/tmp:") for each in service["tmpfs"])


@pytest.mark.parametrize("name", OURS)
def test_their_settings_are_settings(name):
    environ = {key: str(value) for key, value in OURS[name].get("environment", {}).items()}
    assert wrong_settings(environ) == []
    command = OURS[name].get("command", ["run"])
    assert command[0] in COMMANDS


def test_the_daemon_has_no_profile_and_its_secrets_are_files():
    daemon = COMPOSE["services"]["voyage-jobs"]
    assert "profiles" not in daemon
    assert not any("API_KEY" in name and not name.endswith("_FILE") for name in daemon["environment"])
    assert set(daemon["secrets"]) <= COMPOSE["secrets"].keys()
    assert daemon["healthcheck"]["test"] == ["CMD", *ALIVE]
    assert "data:/data" in daemon["volumes"]
    sources = [volume for volume in daemon["volumes"] if "/sources/" in volume]
    assert sources
    assert all(volume.endswith(":ro") for volume in sources)


def test_the_profile_to_try_it_has_no_key_and_a_data_folder_that_goes():
    tried = COMPOSE["services"]["try"]
    assert tried["profiles"] == COMPOSE["services"]["simulator"]["profiles"] == ["try"]
    assert "secrets" not in tried
    assert not any(volume.endswith(":/data") for volume in tried["volumes"])
    assert any(each.startswith("/data:") for each in tried["tmpfs"])


def test_ports_are_open_to_this_machine_alone():
    ports = [port for each in COMPOSE["services"].values() for port in each.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_monitoring_mounts_is_there():
    for name in ("prometheus", "grafana"):
        service = COMPOSE["services"][name]
        assert service["profiles"] == ["monitoring"]
        files = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith("./")]
        assert files
        assert all((ROOT / file).is_file() for file in files)
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert host in COMPOSE["services"]
    assert COMPOSE["services"][host]["environment"]["VOYAGE_JOBS_SERVER__LISTEN"].endswith(f":{port}")
    assert host in json.loads(COMPOSE["services"][host]["environment"]["VOYAGE_JOBS_SERVER__HOSTS"])


# --- Kubernetes ---


def test_one_replica_by_a_set_that_never_runs_two():
    spec = MANIFESTS["StatefulSet"]["spec"]
    assert spec["replicas"] == 1
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_the_pod_satisfies_the_restricted_standard():
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] == 10001
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["automountServiceAccountToken"] is False


def test_every_mount_has_its_volume_and_what_is_written_may_be():
    volumes = {each["name"] for each in POD["volumes"]}
    volumes |= {each["metadata"]["name"] for each in MANIFESTS["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    mounts = {each["name"]: each for each in CONTAINER["volumeMounts"]}
    assert mounts.keys() == volumes
    assert {name for name, each in mounts.items() if not each.get("readOnly")} == {"data", "tmp"}


def test_the_configuration_of_the_manifest_loads(tmp_path):
    file = tmp_path / "voyage-jobs.toml"
    file.write_text(MANIFESTS["ConfigMap"]["data"]["voyage-jobs.toml"])
    environ = {each["name"]: each["value"] for each in CONTAINER["env"]}
    assert wrong_settings({**environ, "VOYAGE_JOBS_CONFIG": str(file)}) == []
    settings = load_settings(file, environ)
    (port,) = CONTAINER["ports"]
    assert settings.server.listen == f"0.0.0.0:{port['containerPort']}"
    assert MANIFESTS["Service"]["spec"]["ports"][0]["port"] == port["containerPort"]
    assert MANIFESTS["StatefulSet"]["spec"]["serviceName"] == MANIFESTS["Service"]["metadata"]["name"]
    mounts = {each["mountPath"] for each in CONTAINER["volumeMounts"]}
    assert str(settings.data_dir) in mounts
    assert {str(source.path) for source in settings.sources} <= mounts
    (secret,) = [each["secret"] for each in POD["volumes"] if "secret" in each]
    held = {each["path"] for each in secret["items"]}
    for name in ("VOYAGE_API_KEY_FILE", "VOYAGE_JOBS_SERVER_TOKEN_FILE"):
        folder, file_name = os.path.split(environ[name])
        assert folder in mounts
        assert file_name in held


def test_liveness_asks_the_process_and_not_the_vendor():
    assert CONTAINER["livenessProbe"]["exec"]["command"] == ALIVE
    assert CONTAINER["startupProbe"]["failureThreshold"] * CONTAINER["startupProbe"]["periodSeconds"] >= 1800


# --- workflows and scripts ---


def test_workflows_pin_actions_by_version_and_have_few_rights():
    for file in [*(ROOT / ".github/workflows").glob("*.yml"), ROOT / "deploy/github-actions/embed-docs.yml"]:
        text = file.read_text()
        workflow = yaml.safe_load(text)
        assert set(workflow["permissions"].values()) == {"read"}
        used = re.findall(r"uses: (\S+)", text)
        assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", action) for action in used), used
        assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_the_matrix_is_what_is_promised():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    promised = re.findall(
        r"Programming Language :: Python :: (\d\.\d+)", (ROOT / "pyproject.toml").read_text()
    )
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == promised


@pytest.mark.parametrize(
    "script",
    [*(ROOT / "deploy").rglob("*.sh"), ROOT / ".ci/run", ROOT / ".ci/wheel"],
    ids=lambda path: path.name,
)
def test_scripts_can_be_read_by_bash(script):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
