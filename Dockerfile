FROM python:3.13-slim AS base

# Everything that builds stays in this stage: pip, the build back ends and the wheels.
FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/build && python -m venv --without-pip /opt/offload
WORKDIR /src
# heif.txt reads HEIC too, see README.
ARG REQUIREMENTS=run.txt
COPY requirements/build.txt requirements/${REQUIREMENTS} requirements/
# pyvips comes as source. Without a C compiler it builds as pure Python and finds libvips, and its
# compiled binding to it, in the wheel of pyvips-binary.
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
    && /opt/build/bin/pip wheel --require-hashes --no-build-isolation -r requirements/${REQUIREMENTS} \
        --wheel-dir /wheels \
    && /opt/build/bin/pip --python /opt/offload/bin/python install --no-index --no-deps \
        --no-compile /wheels/*.whl
COPY pyproject.toml README.md LICENSE ./
COPY clients/python clients/python
COPY app app
# Compiled once, here, and never checked against the sources again: the image does not change.
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /project \
        ./clients/python . \
    && /opt/build/bin/pip --python /opt/offload/bin/python install --no-index --no-deps \
        --no-compile /project/*.whl \
    && /opt/offload/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/offload

FROM base
# The official image has no bytecode of the standard library, and a read-only root cannot get any:
# every worker process would compile its imports again.
RUN python -m compileall -q -j 0 "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /opt/offload /opt/offload
# MALLOC_*: see the Makefile.
ENV PATH=/opt/offload/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_MMAP_THRESHOLD_=33554432 \
    MALLOC_TRIM_THRESHOLD_=268435456 \
    MALLOC_TOP_PAD_=67108864 \
    OFFLOAD_HOST=0.0.0.0 \
    OFFLOAD_DATA_DIR=/data \
    OFFLOAD_LOG_FORMAT=json
USER 10001:10001
VOLUME /data
EXPOSE 8000
# http.client rather than urllib: a proxy in the environment is not for this request.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-I", "-c", "\
import http.client, os; \
c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('OFFLOAD_PORT', 8000)), timeout=4); \
c.request('GET', '/readyz'); \
raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["offload"]
CMD ["serve"]
