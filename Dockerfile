# The index server as an image: no compiler, no pip, no root, nothing written but below /data.
# A company's own copy of the base image: --build-arg PYTHON_IMAGE=REGISTRY.azurecr.io/python:3.13-slim
# checkov:skip=CKV_DOCKER_7: the tag stands in the argument
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY build.lock requirements.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r build.lock \
    && python -m venv --without-pip /opt/wheelgate \
    && /opt/build/bin/pip --python /opt/wheelgate/bin/python install --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy ./proxy
RUN /opt/build/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/build/bin/pip --python /opt/wheelgate/bin/python install --no-cache-dir --no-index --no-deps /dist/*.whl \
    && install -d /var/spool/wheelgate

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/wheelgate /opt/wheelgate
COPY --from=build --chown=10001:10001 /var/spool/wheelgate /data
USER 10001:10001
# The environment beats the settings file, so only what is true of every container stands here. Who may install is not: it has
# to be said, in the settings or by WHEELGATE_SERVER__ANONYMOUS, and `serve` refuses to guess.
# A page of 15,000 files takes 50 MB for a tenth of a second. glibc keeps what is free for each thread apart and for good, so that
# after some such pages a process is twice as large as what it holds: two arenas, and blocks of 4 MiB go back at once. Less is kept,
# since touching anew what was given back takes as long as parsing a page into it.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/data TMPDIR=/data \
    MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=4194304 MALLOC_MMAP_THRESHOLD_=4194304 \
    WHEELGATE_DATA=/data WHEELGATE_SERVER__HOST=0.0.0.0 WHEELGATE_SERVER__PORT=8080
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s \
    CMD ["/opt/wheelgate/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["/opt/wheelgate/bin/wheelgate"]
CMD ["serve", "--log-format", "json"]
