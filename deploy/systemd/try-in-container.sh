#!/usr/bin/env bash
# Runs the unit under a real systemd: a Debian 12 container in which systemd is process 1, the program in /opt/voyage-jobs
# and the simulator as a second service. As root on Debian, with the packages debootstrap and systemd-container.
#
#   deploy/systemd/try-in-container.sh [FOLDER]      # FOLDER holds the container (1.5 GB); default: a temporary one
#
# What it proves: the service is ready only after its start; scan, batch and publication work inside the sandbox of
# voyage-jobs.service; reload, stop and start again after kill -9; a hanging process is ended by the watchdog; a wrong
# configuration is not tried again, and a data folder that another process holds is.
#
# EXTRA_CA=FILE: certificates of a proxy that pip has to trust.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
place=$(realpath -m "${1:-$(mktemp -d)}")
root=$place/root
mkdir -p "$place"
say() { printf '\n== %s\n' "$*"; }
fail() { echo "NOT SO: $*" >&2; exit 1; }

say "a container with systemd, and the program in it"
[ -e "$root/lib/systemd/systemd" ] || debootstrap --variant=minbase \
  --include=python3,python3-venv,ca-certificates,systemd,systemd-sysv,dbus,procps \
  bookworm "$root" http://deb.debian.org/debian >"$place/debootstrap.log"
cp /etc/resolv.conf "$root/etc/resolv.conf"
if [ -n "${EXTRA_CA:-}" ]; then cp "$EXTRA_CA" "$root/etc/ssl/certs/ca-certificates.crt"; fi
rm -rf "$root/src" && mkdir "$root/src"
for name in pyproject.toml README.md LICENSE config.example.toml requirements.lock requirements-build.lock migrations docs voyage_jobs; do
  cp -r "$checkout/$name" "$root/src/"
done
chroot "$root" env PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 bash -euc '
  cd /src
  [ -d /opt/voyage-jobs ] || python3 -m venv /opt/voyage-jobs
  /opt/voyage-jobs/bin/python -m pip install --quiet --require-hashes -r requirements.lock
  [ -d /opt/build ] || python3 -m venv /opt/build
  /opt/build/bin/python -m pip install --quiet --require-hashes -r requirements-build.lock
  rm -rf /dist && /opt/build/bin/python -m build --wheel --no-isolation --outdir /dist . >/dev/null
  /opt/voyage-jobs/bin/python -m pip install --quiet --no-deps --force-reinstall /dist/*.whl
  id voyage-jobs >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin voyage-jobs'
rm -rf "$root/var/lib/voyage-jobs" "$root/etc/systemd/system/voyage-jobs.service.d" "$root/srv/docs" "$root/var/log/journal"
mkdir -p "$root/etc/voyage-jobs" "$root/srv/docs" "$root/etc/systemd/system/voyage-jobs.service.d"
printf '# One\n\nA text for the sandbox.\n' >"$root/srv/docs/one.md"
cat >"$root/etc/voyage-jobs/config.toml" <<'TOML'
data_dir = "/var/lib/voyage-jobs"
[voyage]
base_url = "http://127.0.0.1:18765/v1"
[[sources]]
name = "docs"
path = "/srv/docs"
scan_interval_s = 5
[batching]
linger_s = 1
[polling]
interval_s = 1
max_interval_s = 2
TOML
printf 'a-made-up-key' >"$root/etc/voyage-jobs/voyage_api_key" && chmod 0600 "$root/etc/voyage-jobs/voyage_api_key"
cp "$checkout/deploy/systemd/voyage-jobs.service" "$root/etc/systemd/system/"
# Less patience than in earnest, so that this ends soon.
printf '[Service]\nWatchdogSec=6\nRestartSec=1\n' >"$root/etc/systemd/system/voyage-jobs.service.d/quick.conf"
cat >"$root/etc/systemd/system/simulator.service" <<'UNIT'
[Service]
ExecStart=/opt/voyage-jobs/bin/voyage-jobs simulate --port 18765 --api-key a-made-up-key --batch-seconds 2
UNIT

say "boot"
systemd-nspawn --quiet --register=no --keep-unit --directory "$root" --boot >"$place/boot.log" 2>&1 &
container=$!
trap 'kill $container 2>/dev/null; wait $container 2>/dev/null || true' EXIT
init=
for _ in $(seq 60); do
  init=$(pgrep --parent "$container" | head -1) || true
  [ -n "$init" ] && [ -S "/proc/$init/root/run/systemd/private" ] && break
  sleep 0.5
done
[ -n "$init" ] || { cat "$place/boot.log"; fail "the container did not boot"; }
inside() { nsenter --target "$init" --mount --pid --uts --ipc --cgroup --root="/proc/$init/root" --wd="/proc/$init/root" \
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
shown() { inside systemctl show --property "$1" --value voyage-jobs; }
until_() { # until_ SECONDS COMMAND...: waits until it succeeds
  local left=$1; shift
  while ! "$@"; do left=$((left - 1)); [ "$left" -gt 0 ] || return 1; sleep 1; done
}
logged() { inside journalctl --unit voyage-jobs --no-pager --output cat | grep --quiet "$1"; }
inside systemctl start simulator

say "start, and publish inside the sandbox"
inside systemctl start voyage-jobs
[ "$(shown ActiveState)" = active ] || fail "not active"
until_ 60 logged '"event": "documents.published"' || fail "never published"
until_ 20 eval '[ "$(shown StatusText)" = "Idle: nothing waits" ]' || fail "status: $(shown StatusText)"
pid=$(shown MainPID)
inside grep -E '^(Uid|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status"

say "reload"
inside systemctl reload voyage-jobs
until_ 10 logged config.reloaded || fail "not reloaded"

say "kill -9"
inside kill -9 "$pid"
until_ 30 eval '[ "$(shown ActiveState) $(shown NRestarts)" = "active 1" ]' || fail "not started again"

say "a process that hangs"
pid=$(shown MainPID)
inside kill -STOP "$pid"
until_ 60 logged "result 'watchdog'" || fail "the watchdog did not strike"
until_ 30 eval '[ "$(shown ActiveState) $(shown NRestarts)" = "active 2" ]' || fail "not started again"

say "stop"
inside systemctl stop voyage-jobs
[ "$(shown Result)" = success ] && [ "$(shown ExecMainStatus)" = 0 ] || fail "ended with $(shown ExecMainStatus)"

say "another process has the data folder"
inside /opt/voyage-jobs/bin/python -c "
import fcntl, time
lock = open('/var/lib/voyage-jobs/lock', 'a+b')
fcntl.flock(lock, fcntl.LOCK_EX)
time.sleep(8)" &
sleep 1
inside systemctl start voyage-jobs 2>/dev/null || true
[ "$(shown ExecMainStatus)" = 4 ] || fail "ended with $(shown ExecMainStatus)"
until_ 30 eval '[ "$(shown ActiveState)" = active ]' || fail "never took over"

say "a wrong configuration"
inside systemctl stop voyage-jobs
sed -i '1i nonsense = 1' "$root/etc/voyage-jobs/config.toml"
inside systemctl start voyage-jobs 2>/dev/null || true
sleep 4
[ "$(shown ActiveState) $(shown ExecMainStatus) $(shown NRestarts)" = "failed 2 0" ] || \
  fail "$(shown ActiveState) $(shown ExecMainStatus) $(shown NRestarts)"
say "all of it is so"
