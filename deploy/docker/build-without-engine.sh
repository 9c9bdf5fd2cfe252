#!/usr/bin/env bash
# Builds the image from the Dockerfile, and runs it, where there is no Docker engine and no image registry: as root on
# Debian 12, with the packages buildah, podman, runc and debootstrap.
#
#   deploy/docker/build-without-engine.sh [FOLDER]     # FOLDER holds everything it makes (3 GB); default: a temporary one
#
# What it proves: every instruction of the Dockerfile works, with the hashes of the lock files, on a Debian 12 base with
# that release's Python 3.11 (the Dockerfile's own base has 3.12 and is built the same way); the image runs as uid 10001
# with a read-only root file system, no capabilities, no new privileges and the key from a file; the daemon in it scans,
# sends, collects and publishes against the simulator in a second container; the health check tells the living from the
# dead; SIGTERM ends it with 0; a kill -9 is followed by a start that continues and pays nothing twice.
# What it does not prove: that a registry's base image is what it says.
#
# EXTRA_CA=FILE: certificates of a proxy that the build has to trust.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
place=$(realpath -m "${1:-$(mktemp -d)}")
base=$place/base
mkdir -p "$place"
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
# A storage of its own, so that nothing of this machine's containers is touched.
storage=(--root "$place/storage" --runroot "$place/run")
say() { printf '\n== %s\n' "$*"; }
buildah_() { buildah "${storage[@]}" "$@"; }
podman_() { podman "${storage[@]}" --runtime runc --cgroup-manager cgroupfs "$@"; }

say "a base: Debian 12 with Python"
[ -e "$base/usr/bin/python3" ] || debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
  bookworm "$base" http://deb.debian.org/debian >"$place/debootstrap.log"
ln -sf python3 "$base/usr/bin/python"
if [ -n "${EXTRA_CA:-}" ]; then cp "$EXTRA_CA" "$base/etc/ssl/certs/ca-certificates.crt"; fi
from=$(buildah_ from scratch)
buildah_ add --quiet "$from" "$base" / >/dev/null
buildah_ config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$from"
buildah_ commit --quiet --rm "$from" localhost/python:base >/dev/null

say "the image, instruction by instruction"
buildah_ bud --layers --network host --format docker --build-arg BASE=localhost/python:base --tag localhost/voyage-jobs "$checkout"
podman_ image inspect localhost/voyage-jobs \
  --format 'user {{.User}}  entrypoint {{.Config.Entrypoint}}  health {{.HealthCheck.Test}}  {{.Size}} bytes'

say "run it: read-only, without capabilities, against the simulator"
mkdir -p "$place/docs" "$place/data"
printf '# Containers\n\nDoes the image publish this sentence?\n' >"$place/docs/one.md"
printf '# Second\n\nAnd this one.\n' >"$place/docs/two.md"
printf 'a-made-up-key' >"$place/key" && chmod 0444 "$place/key"
chown 10001:10001 "$place/data" && chmod 0700 "$place/data"
hard=(--read-only --read-only-tmpfs=false --tmpfs /tmp:size=64m --cap-drop ALL --security-opt no-new-privileges
  --network host --no-healthcheck --ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
settings=(-e VOYAGE_JOBS_VOYAGE__BASE_URL=http://127.0.0.1:18799/v1
  -e 'VOYAGE_JOBS_SOURCES=[{"name":"docs","path":"/sources/docs","scan_interval_s":2}]'
  -e VOYAGE_JOBS_BATCHING__LINGER_S=1 -e VOYAGE_JOBS_POLLING__INTERVAL_S=1 -e VOYAGE_JOBS_POLLING__MAX_INTERVAL_S=1)
mounts=(-v "$place/data:/data" -v "$place/docs:/sources/docs:ro" -v "$place/key:/run/secrets/voyage_api_key:ro")
clean() { podman_ rm --force --time 2 voyage-jobs simulator >/dev/null 2>&1 || true; }
trap clean EXIT
clean
podman_ run --detach --name simulator "${hard[@]}" localhost/voyage-jobs \
  simulate --port 18799 --api-key a-made-up-key --batch-seconds 3 >/dev/null
start() { podman_ run --detach --name voyage-jobs "${hard[@]}" "${settings[@]}" "${mounts[@]}" localhost/voyage-jobs >/dev/null; }
inside() { podman_ exec voyage-jobs voyage-jobs "$@"; }
until_published() { # until_published N: waits until N documents are in the table
  for _ in $(seq 120); do
    inside status --json 2>/dev/null | python3 -c "
import json, sys
try:
    status = json.load(sys.stdin)
except ValueError:
    sys.exit(1)
sys.exit(0 if status['sources'] and (status['sources'][0]['chunks']['published'] or 0) >= $1 and status['healthy'] else 1)" && return
    sleep 1
  done
  podman_ logs voyage-jobs | tail -20
  echo "never published" >&2
  return 1
}
start
until_published 2
inside search "does the image publish" -k 1
say "alive, and as whom"
inside status --alive
podman_ exec voyage-jobs python -c "
import os
status = open('/proc/1/status').read()
caps = [line for line in status.splitlines() if line.startswith(('Uid', 'CapEff', 'NoNewPrivs'))]
print(*caps, sep='\n')
try:
    open('/opt/voyage-jobs/x', 'w')
except OSError as error:
    print('the root file system:', error.strerror)
else:
    raise SystemExit('the root file system can be written')"

say "kill -9 in the middle of the next batch, and a start"
printf '# Third\n\nA sentence for the time after a death.\n' >"$place/docs/three.md"
sleep 4
podman_ kill --signal KILL voyage-jobs >/dev/null
podman_ wait voyage-jobs >/dev/null || true
podman_ rm --force voyage-jobs >/dev/null
start
until_published 3
inside batches --all --json | python3 -c "
import json, sys
sent = sum(batch['inputs'] for batch in json.load(sys.stdin)['batches'] if batch['batch_id'])
print(sent, 'texts were sent for 3 documents')
sys.exit(0 if sent == 3 else 1)"

say "SIGTERM"
podman_ kill --signal TERM voyage-jobs >/dev/null
code=$(podman_ wait voyage-jobs)
podman_ logs voyage-jobs 2>&1 | tail -1
[ "$code" = 0 ] || { echo "ended with $code" >&2; exit 1; }
say "all of it worked; everything is in $place"
