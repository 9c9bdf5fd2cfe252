# voyage-jobs as a container: slim, non-root, every dependency pinned by hash.
#
#   docker build -t voyage-jobs .
#   docker run -d --name voyage-jobs -v voyage-data:/data -v "$PWD/docs:/sources/docs:ro" \
#     -e VOYAGE_JOBS_SOURCES='[{"name":"docs","path":"/sources/docs"}]' \
#     -e VOYAGE_API_KEY_FILE=/run/secrets/voyage_api_key -v "$PWD/voyage_api_key:/run/secrets/voyage_api_key:ro" voyage-jobs
#
# /data    state.db, paid vectors, the table: a volume on a local disk, for one container at a time
# /sources the folders to embed, mounted read-only; never written to

# Any image with Python 3.11 or newer as `python`, glibc 2.28 or newer, and useradd.
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/voyage-jobs \
 && /opt/voyage-jobs/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
RUN python -m venv /opt/build \
 && /opt/build/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE config.example.toml ./
COPY migrations migrations
COPY docs docs
COPY voyage_jobs voyage_jobs
RUN /opt/build/bin/python -m build --wheel --no-isolation --outdir /dist . \
 && /opt/voyage-jobs/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps /dist/*.whl \
 && /opt/voyage-jobs/bin/python -m pip uninstall --yes --disable-pip-version-check pip

FROM ${BASE}
RUN groupadd --gid 10001 voyage \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin voyage \
 && install --directory --owner=voyage --group=voyage --mode=0700 /data \
 && install --directory --mode=0755 /sources
COPY --from=build /opt/voyage-jobs /opt/voyage-jobs
ENV PATH=/opt/voyage-jobs/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VOYAGE_JOBS_DATA_DIR=/data \
    VOYAGE_JOBS_LOGGING__FORMAT=json
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
STOPSIGNAL SIGTERM
# Alive: the daemon holds its lock and its heartbeat is fresh. Work that waits for the vendor is not an illness.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["voyage-jobs", "status", "--alive"]
# Exec form: SIGTERM reaches the daemon itself, which finishes its step and says what is in flight.
ENTRYPOINT ["voyage-jobs"]
CMD ["run"]
