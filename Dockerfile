# One instance of Runnel: `make image`, and then see deploy/README.md.
# tests/test_image.py runs these steps without Docker: plain RUN, COPY and ENV lines, please.

FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/runnel
# By themselves first: a change of the code alone does not install them anew.
COPY requirements.lock ./
RUN /opt/runnel/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY alembic ./alembic
COPY src ./src
RUN /opt/runnel/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
COPY --from=build /opt/runnel /opt/runnel
# Nobody's number, so that no line in /etc/passwd is needed; Docker gives a new volume to it.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
ENV PATH=/opt/runnel/bin:/usr/local/bin:/usr/bin:/bin
ENV HOME=/data
ENV PYTHONUNBUFFERED=1
ENV HOST=0.0.0.0
ENV PORT=8000
ENV DATA_DIR=/data
ENV RUNS_DIR=/data/runs
ENV MODELS_FILE=/config/models.json
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
# It drains: give it SHUTDOWN_GRACE_SECONDS (20) and 20 seconds more, as `docker run --stop-timeout 40`.
STOPSIGNAL SIGTERM
CMD ["runnel", "serve"]
