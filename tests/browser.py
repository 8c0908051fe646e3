"""Debian's Chromium without a head, for tests of what people see; it reaches loopback alone."""

import shutil

from selenium import webdriver

from tests.clients.conftest import need

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # as root, and in containers
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-gpu",
    "--window-size=1300,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
)


def opened(folder):
    """Give a browser of its own, which keeps what it has in `folder`."""
    chromium = need(shutil.which("chromium"), "Debian's package chromium")
    driver = need(shutil.which("chromedriver"), "Debian's package chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={folder}/profile"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": f"{folder}/saved"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))
