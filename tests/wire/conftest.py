"""Services with bounds so tight that a test need not wait for them."""

from __future__ import annotations

import pytest

from tests.api.conftest import HeldOrigin
from tests.conftest import LOOPBACK
from tests.service import Service

TIGHT = {
    "OFFLOAD_HTTP_MAX_LINE_BYTES": "1024",
    "OFFLOAD_HTTP_MAX_HEAD_BYTES": "4096",
    "OFFLOAD_HTTP_MAX_HEADERS": "20",
    "OFFLOAD_HTTP_HEAD_TIMEOUT_S": "0.5",
    "OFFLOAD_HTTP_BODY_MIN_BYTES_S": "1000",
    "OFFLOAD_HTTP_SEND_TIMEOUT_S": "0.5",
    "OFFLOAD_HTTP_KEEP_ALIVE_S": "20",
    "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
    "OFFLOAD_UPLOAD_STALL_TIMEOUT_S": "0.5",
}


@pytest.fixture(scope="session")
def tight(tmp_path_factory):
    with Service.started(tmp_path_factory.mktemp("tight"), TIGHT) as running:
        yield running


@pytest.fixture
def held():
    origin = HeldOrigin()
    yield origin
    origin.close()
