"""The page at /docs, in a browser that reaches nothing but the service."""

import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser import opened as browser_in
from tests.clients.conftest import KEY

# Other people's programs, on machines of any speed.
pytestmark = pytest.mark.timeout(300)

PATIENCE_S = 30


class Page:
    """What a person does on the page."""

    def __init__(self, browser):
        self.browser = browser
        self._wait = WebDriverWait(browser, PATIENCE_S, poll_frequency=0.2)

    def one(self, selector, inside=None):
        """Give the element, once it is there."""
        within = inside or self.browser
        return self._wait.until(lambda _: within.find_elements(By.CSS_SELECTOR, selector))[0]

    def click(self, selector, inside=None):
        # A click of a person is refused while something moves over the element.
        self.browser.execute_script("arguments[0].click()", self.one(selector, inside))

    def authorize(self, key):
        """Give the key that all requests are to be sent with."""
        self.click(".btn.authorize")
        self.one(".modal-ux input").send_keys(key)
        self.click(".modal-ux button.authorize")
        self.click(".modal-ux .close-modal")

    def try_out(self, operation_id, tag="operations"):
        """Open an operation's form."""
        block = self.one(f"#operations-{tag}-{operation_id}")
        self.click(".opblock-summary-control", block)
        self.click(".try-out__btn", block)
        return block

    def fill(self, block, name, value):
        """Fill one parameter in."""
        row = self.one(f'tr[data-param-name="{name}"]', block)
        field = self.one("input, select", row)
        if field.tag_name == "select":
            Select(field).select_by_visible_text(value)
        else:
            field.clear()
            field.send_keys(value, Keys.TAB)  # what is typed counts once the field is left

    def paste(self, field, text):
        """Replace a text at once: the page draws itself anew at each key."""
        self.browser.execute_script(
            "Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value')"
            ".set.call(arguments[0], arguments[1]);"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
            field,
            text,
        )

    def choose_body(self, block, media_type):
        """Choose what is sent, where there is a choice."""
        Select(self.one(".body-param-content-type select", block)).select_by_visible_text(
            media_type
        )

    def choose_files(self, block, *paths):
        """Choose files in a form that takes several; it starts with room for one."""
        for number, path in enumerate(paths):
            if number:
                self.click(".json-schema-form-item-add", block)
            self._wait.until(lambda _, n=number: len(self._file_inputs(block)) > n)
            self._file_inputs(block)[number].send_keys(str(path))

    def _file_inputs(self, block):
        return block.find_elements(By.CSS_SELECTOR, "input[type=file]")

    def execute(self, block):
        """Send it, and give status and body of the answer that is shown."""
        self.click(".execute", block)
        answer = self.one(".live-responses-table", block)
        status = self.one(".response-col_status", self.one("tbody", answer)).text.split()[0]
        body = self.one(".highlight-code code, .highlight-code pre", answer)
        return int(status), json.loads(body.get_property("textContent"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = browser_in(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.quit()


@pytest.fixture
def page(browser, keyed):
    browser.get(f"{keyed.url}/docs")
    opened = Page(browser)
    opened.one(".opblock")
    return opened


def asked(browser):
    """Give the URLs that went, or were to go, over a network so far."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if url.startswith(("http:", "https:", "ws:", "wss:"))]


def test_try_it_out_works_with_nothing_but_the_service(
    page, browser, keyed, api, inputs, origin, judge
):
    page.authorize(KEY)

    def submit(operation_id, fields, *files, document=None):
        block = page.try_out(operation_id)
        page.choose_body(block, "multipart/form-data" if files else "application/json")
        page.choose_files(block, *files)
        if document:
            page.paste(page.one("textarea.body-param__text", block), json.dumps(document))
        for name, value in {"wait": "20", **fields}.items():
            page.fill(block, name, value)
        status, job = page.execute(block)
        assert (status, job.get("status")) == (200, "succeeded"), job
        return job["id"]

    log, photo = inputs / "access.log", inputs / "photo.jpg"
    compressed = submit("compress", {}, log)
    image = submit("image", {"width": "64", "height": "48", "format": "webp"}, photo)
    fetched = submit("fetch", {}, document={"urls": [f"{origin}/7"]})
    judge(compressed, image, fetched)
    archive = api.get(f"/v1/jobs/{submit('archive', {'name': 'both'}, log, photo)}").json()
    assert [item["name"] for item in archive["items"][:2]] == ["access.log", "photo.jpg"]
    assert [result["name"] for result in archive["items"][2]["results"]] == ["both.zip"]

    urls = asked(browser)
    assert f"{keyed.url}/docs/swagger-ui-bundle.js" in urls
    assert [url for url in urls if not url.startswith(keyed.url)] == []
    # Scripts and styles that the page's own policy refuses are told here, too.
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
