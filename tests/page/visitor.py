"""What a person does on the page: with the mouse, with the keyboard, or by looking."""

import base64
import json
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_S = 30
AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
DROP = """
const [files] = arguments, given = new DataTransfer();
for (const [name, content] of files)
  given.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
for (const name of ["dragenter", "dragover", "drop"])
  document.querySelector(".drop").dispatchEvent(
    new DragEvent(name, {bubbles: true, cancelable: true, dataTransfer: given}));
"""
CLICK = """
const found = [...document.querySelectorAll(arguments[0])]
  .find((element) => element.innerText.includes(arguments[1]));
found?.click();
return Boolean(found);
"""
JUDGE = """
const [done] = arguments;
axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => done(violations.map(
  ({id, impact, nodes}) => [impact, id, nodes.map((node) => node.html).slice(0, 4)])));
"""


class Visitor:
    """Somebody at a browser."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url
        self._wait = WebDriverWait(browser, PATIENCE_S, poll_frequency=0.1)

    def visit(self, route=""):
        """Open a view anew."""
        self.browser.get("about:blank")  # else only the part behind # would change
        self.browser.get(f"{self.url}/{route}")
        self.one("h1")

    def until(self, condition, said=""):
        """Return what a condition gives, once it gives something."""
        return self._wait.until(lambda _: condition(), said)

    def all(self, selector):
        """Give what is there of it."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        """Give the first of it, once it is there."""
        return self.until(lambda: self.all(selector), selector)[0]

    def click(self, selector, text=""):
        """Click what has this text, once it is there."""
        self.until(
            lambda: self.browser.execute_script(CLICK, selector, text), f"{selector}: {text}"
        )

    def texts(self, selector):
        """Give the texts of all that is there of it."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
        return self.browser.execute_script(script, selector)

    def shows(self, selector, text):
        """Wait until a text is shown there."""
        self.until(lambda: any(text in t for t in self.texts(selector)), f"{selector}: {text}")

    def drop(self, files):
        """Drop files, {name: content}, on the page."""
        coded = [[name, base64.b64encode(content).decode()] for name, content in files.items()]
        self.browser.execute_script(DROP, coded)

    def press(self, *keys):
        """Press keys, wherever the focus is."""
        self.focused.send_keys(*keys)

    @property
    def focused(self):
        """What has the focus."""
        return self.browser.switch_to.active_element

    @property
    def called(self):
        """What is said to be what has the focus."""
        of = "const at = document.activeElement; return at.ariaLabel || at.innerText"
        return self.browser.execute_script(of)

    def tab_to(self, selector, text=""):
        """Press Tab until something has the focus."""
        for _ in range(60):
            self.press(Keys.TAB)
            if self.focused in self.all(selector) and text in self.focused.text:
                return
        raise AssertionError(f"the keyboard does not lead to {selector}: {text}")

    def loaded(self, picture):
        """Tell whether a picture is there to be seen."""
        return self.browser.execute_script("return arguments[0].naturalWidth > 0", picture)

    def jobs(self):
        """Give the ids of the jobs that the tab remembers, the latest first."""
        kept = self.browser.execute_script("return sessionStorage.getItem('offload.jobs')")
        return [one["jobId"] for one in json.loads(kept)]

    def at(self):
        """Give where the slider of the comparison is, as the pictures have it."""
        style = "return document.querySelector('.frame').style.getPropertyValue('--at')"
        return int(self.browser.execute_script(style).removesuffix("%"))

    # -- how it looks ----------------------------------------------------------------------------

    def emulate(self, *, dark=False, phone=False):
        """Look at it in the dark, or on a phone."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])
        if phone:
            self._cdp("Emulation.setDeviceMetricsOverride", **PHONE)
        else:
            self._cdp("Emulation.clearDeviceMetricsOverride")

    def serious(self):
        """Give what axe finds that is serious or worse."""
        if not self.browser.execute_script("return Boolean(window.axe)"):
            self.browser.execute_script(AXE.read_text())
        found = self.browser.execute_async_script(JUDGE)
        return [one for one in found if one[0] in ("serious", "critical")]

    def overhang(self):
        """Say by how many pixels the page is wider than the window."""
        return self.browser.execute_script(
            "return document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
        )

    def picture(self, path, *, whole=False):
        """Save what is seen, as PNG."""
        two_frames = "const [done] = arguments; requestAnimationFrame(() => setTimeout(done, 100))"
        self.browser.execute_async_script(two_frames)
        shot = self._cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _cdp(self, command, **values):
        return self.browser.execute_cdp_cmd(command, values)

    # -- what it did -----------------------------------------------------------------------------

    def asked(self):
        """Give the URLs that went, or were to go, over a network since the last time."""
        told = [
            json.loads(one["message"])["message"] for one in self.browser.get_log("performance")
        ]
        sent = [one["params"] for one in told if one["method"] == "Network.requestWillBeSent"]
        urls = [one["request"]["url"] for one in sent]
        return [url for url in urls if url.startswith(("http", "ws"))]

    def complaints(self):
        """Give what the browser held against the page: all but answers that were no success."""
        told = self.browser.get_log("browser")
        return [one for one in told if one["level"] == "SEVERE" and one["source"] != "network"]
