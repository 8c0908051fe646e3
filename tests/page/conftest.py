"""A browser, and services for it to look at."""

import io
import json

import pytest
from PIL import Image

from tests import browser as chromium
from tests.api.conftest import HeldOrigin
from tests.clients.conftest import need
from tests.conftest import LOOPBACK
from tests.page.visitor import AXE, Visitor
from tests.service import Service

OPS, SHOP = "the-key-of-the-operators", "the-key-of-the-shop"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def browser(folder):
    need(AXE, "`make clients`, with npm")
    opened = chromium.opened(folder)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def held():
    origin = HeldOrigin()
    yield origin
    origin.close()


class Services:
    """Starts services on folders by name, again after one was killed, and ends them."""

    def __init__(self, folder):
        self._folder, self.running = folder, {}

    def __call__(self, name, **env):
        env = {"OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK, **env}
        self.running[name] = Service(self._folder / name, env)
        return self.running[name]


@pytest.fixture(scope="module")
def services(folder):
    started = Services(folder)
    yield started
    for service in started.running.values():
        service.stop()


@pytest.fixture(scope="module")
def keyed(services):
    keys = {"ops": {"keys": OPS, "operator": True}, "shop": SHOP}
    return services("keyed", OFFLOAD_API_KEYS=json.dumps(keys))


@pytest.fixture(scope="module")
def visitor(browser, services):
    return Visitor(browser, services("open").url)


@pytest.fixture(scope="module")
def photos():
    """Two pictures, and something that is none under a name that is markup."""
    found = {}
    for name, colour in {"beach.jpg": "tan", "forest.png": "darkgreen"}.items():
        out = io.BytesIO()
        picture = Image.effect_noise((640, 480), 60).convert("RGB")
        Image.blend(picture, Image.new("RGB", picture.size, colour), 0.6).save(
            out, "JPEG" if name.endswith("jpg") else "PNG"
        )
        found[name] = out.getvalue()
    return found | {BAD: b"<svg onload=alert(1)> no picture at all"}


BAD = "<img src=x onerror=alert(1)>.jpg"
