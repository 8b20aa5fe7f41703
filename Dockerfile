# The image of dlperf: `docker build -t dlperf .`, for CUDA with `--build-arg VARIANT=gpu`. What it needs changes less
# often than the code, so it is installed before the code is copied: a change of the code rebuilds in seconds.
# Nothing here needs BuildKit: the engine's own builder, which Docker's SDK (and so MLflow) calls, has no more than this.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

WORKDIR /opt/dlperf

# cpu or gpu: it swaps the line of TensorFlow, in the same version, and nothing else.
ARG VARIANT=cpu
COPY conda.yaml docker/requirements.sh ./
RUN sh requirements.sh "$VARIANT" < conda.yaml > requirements.txt \
    && python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --retries 10 --timeout 60 -r requirements.txt \
    # 290 MB of headers, from which operations for TensorFlow would be compiled.
    && rm -r "$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/tensorflow/include"

# Whoever runs the container (`--user`) can write here, also where its root file system is read-only: a fresh volume
# takes the folder's mode. /runs is the store of a container that is told no tracking server.
RUN mkdir -m 1777 /data /cache /state /runs
VOLUME ["/data", "/cache", "/state", "/runs"]

# A user id without an entry in /etc/passwd has no name and no home of its own; MLflow asks for the first, and TensorFlow
# and Matplotlib for the second.
# Nothing is imported from the folder a container works in (PYTHONSAFEPATH): it is that of the store.
ENV PYTHONPATH=/opt/dlperf \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/cache \
    USER=dlperf \
    GIT_PYTHON_REFRESH=quiet \
    XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/cache/matplotlib \
    DLPERF_DOWNLOAD_DIR=/data \
    DLPERF_STATE_DIR=/state

COPY docker/entrypoint.sh /usr/local/bin/dlperf
COPY entrypoints entrypoints
COPY dlperf dlperf
# A checkout's modes come along, and the container's user has to read what a builder's umask kept from others.
RUN chmod -R a+rX /opt/dlperf && chmod 755 /usr/local/bin/dlperf
RUN python -m compileall -q dlperf

# Last, since it differs at every commit.
ARG GIT_COMMIT=unknown
ENV DLPERF_GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="dlperf" \
      org.opencontainers.image.description="Deep-learning performance experiments as an MLflow project" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${GIT_COMMIT}"

USER 1000:1000
# No HEALTHCHECK: a training has no port to ask, and says how it went with its exit status.
ENTRYPOINT ["dlperf"]
CMD ["--help"]
