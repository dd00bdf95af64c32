# The index server, without root and without a compiler in the final image.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN python -m venv /opt/wheelgate && /opt/wheelgate/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY proxy ./proxy
RUN /opt/wheelgate/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin wheelgate \
    && install -d -o wheelgate -g wheelgate /data
COPY --from=build /opt/wheelgate /opt/wheelgate
USER 10001
ENV PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s CMD ["/opt/wheelgate/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
# Reading needs no token here: whoever can reach the container may install. Uploading needs a token.
ENV WHEELGATE_SERVER__HOST=0.0.0.0 WHEELGATE_SERVER__ANONYMOUS=read WHEELGATE_DATA=/data
ENTRYPOINT ["/opt/wheelgate/bin/wheelgate"]
CMD ["serve", "--log-format", "json"]
