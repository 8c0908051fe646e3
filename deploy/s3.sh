#!/bin/sh
# Only S3 is reached from outside, and nobody gets in without the key: told of none, SeaweedFS would
# let everybody in.
set -eu
: "${AWS_ACCESS_KEY_ID:?deploy/scaled.env does not say it}"
: "${AWS_SECRET_ACCESS_KEY:?deploy/scaled.env does not say it}"
weed server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3 -s3.ip.bind=0.0.0.0 -s3.port=8333 -s3.port.iceberg=0 -s3.port.lance=0 \
    -volume.max=0 -volume.preStopSeconds=1 -master.volumeSizeLimitMB=1024 -master.telemetry=false &
served=$!
# By itself it takes 16 s to stop: its filer waits for the stream that it has with itself. What it has
# answered is with the kernel before that, so ending it after 4 s loses nothing.
trap 'kill "$served"; sleep 4; kill -9 "$served" || true' TERM INT
wait "$served" || true
