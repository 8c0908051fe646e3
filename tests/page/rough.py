"""What somebody does on the page when not all goes as it should."""

import io
import json

from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.page.conftest import SHOP

MANY = 60
LATEST = ".card:first-of-type"
RUNNING = 7
"""More jobs than a browser has connections to one service."""


def coded(size, kind):
    out = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(out, kind)
    return out.getvalue()


def give_links(visitor, text):
    if not visitor.all("textarea"):
        visitor.click("button", "or paste links")
    visitor.one("textarea").send_keys(text)
    visitor.click("button", "Add links")


def lose_nothing_to_a_line_that_is_no_link(visitor):
    """What is a link is taken, what is none stays to be mended, and another view takes neither."""
    visitor.visit()
    give_links(visitor, "https://a.example/1.jpg\nnot a link\nhttps://a.example/2.jpg")
    visitor.shows("[role=alert]", "“not a link” is not a link")
    assert visitor.texts(".chosen .name") == ["1.jpg", "2.jpg"]
    assert visitor.one("textarea").get_attribute("value") == "not a link"
    assert visitor.focused.tag_name == "textarea"
    visitor.click("nav a", "Status")
    visitor.shows("h1", "Status")
    assert visitor.browser.title == "Status · Offload"
    visitor.click("nav a", "Work")
    visitor.until(lambda: visitor.texts(".chosen .name") == ["1.jpg", "2.jpg"])


def keep_the_focus_where_things_go(visitor):
    visitor.one(".chosen li button").send_keys(Keys.ENTER)
    visitor.until(lambda: len(visitor.all(".chosen li")) == 1)
    visitor.until(lambda: visitor.called == "Remove 2.jpg")
    visitor.press(Keys.ENTER)
    visitor.until(lambda: visitor.called == "Choose files")


def point_out_an_option_that_cannot_be(visitor):
    visitor.visit()
    visitor.drop({"a.jpg": b"no"})
    visitor.click("summary", "Options")
    width = visitor.one("input[type=number]")
    width.clear()
    width.send_keys("0")
    visitor.click("summary", "Options")
    visitor.until(lambda: not visitor.one(".options").get_attribute("open"))
    visitor.click("button.primary", "Start")
    visitor.until(lambda: visitor.focused == width and width.is_displayed())


def compare_what_browsers_cannot_show_and_what_is_tiny(visitor):
    visitor.visit()
    given = {"scan.tiff": coded((90, 60), "TIFF"), "icon.png": coded((30, 20), "PNG")}
    visitor.drop(given | {"empty.gif": b""})
    visitor.click("button.primary", "Start with 3 inputs")
    visitor.until(lambda: visitor.called == "Smaller pictures")  # what was started
    visitor.until(lambda: len(visitor.all(f"{LATEST} .row.succeeded")) == 2)
    assert "The content is empty" in visitor.one(f"{LATEST} .row.failed").text
    assert "Try the failed" not in visitor.one(f"{LATEST} footer").text  # that would not help
    visitor.click(f"{LATEST} button[aria-label*='scan.tiff before']")
    visitor.shows("dialog.compare", "cannot show the picture as it was")
    visitor.until(lambda: visitor.loaded(visitor.one(".frame img")))
    assert visitor.serious() == []
    close(visitor)
    visitor.one(f"{LATEST} button[aria-label*='icon.png before']").send_keys(Keys.ENTER)
    visitor.until(lambda: [visitor.loaded(img) for img in visitor.all(".frame img")] == [True] * 2)
    is_, was = visitor.all(".frame img")
    assert is_.size == was.size
    assert was.size["width"] >= 240
    close(visitor)
    visitor.until(lambda: "icon.png" in visitor.called)


def close(visitor):
    visitor.click("dialog.compare button.icon")
    visitor.until(lambda: not visitor.all("dialog"))


def be_told_of_a_result_that_is_gone(visitor, http):
    assert http.delete(f"/v1/jobs/{visitor.jobs()[0]}").is_success
    visitor.click(f"{LATEST} button[aria-label^='Download icon']")
    visitor.shows(".row .trouble", "Results are removed")


def pack_a_folder_with_its_paths(visitor):
    visitor.visit()
    visitor.browser.execute_script("""
        const file = new File(["hello"], "notes.txt");
        const entry = {isFile: true, fullPath: "/trip/day 1/notes.txt", file: (done) => done(file)};
        const given = new DataTransfer();
        given.items.add(file);
        const drop = new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: given});
        DataTransferItem.prototype.webkitGetAsEntry = () => entry;
        document.querySelector(".drop").dispatchEvent(drop);
    """)
    visitor.until(lambda: visitor.texts(".chosen .name") == ["trip/day 1/notes.txt"])
    visitor.click(".choices label", "Pack")
    visitor.click("button.primary", "Start with 1 input")
    visitor.shows(f"{LATEST} .row.succeeded:first-child", "archive.zip")
    assert "1 done" in visitor.one(f"{LATEST} header").text
    assert "trip/day 1/notes.txt" in visitor.texts(f"{LATEST} .row .name")
    assert (
        len(visitor.all(f"{LATEST} .row .does button")) == 1
    )  # of what was packed, the archive alone


def read_a_long_story_to_its_end(visitor, http, held):
    """It stays open while it is looked at again."""
    urls = [f"{held.url}/ok"] * (MANY - 1) + [f"{held.url}/held"]
    job = http.post("/v1/fetch", json={"urls": urls}).json()
    for odd in ("#/job/%E0%A4%A", "#/constructor"):
        visitor.visit(odd)
    visitor.visit(f"#/job/{job['id']}")
    visitor.click("button", "Show more")
    visitor.until(lambda: len(visitor.all(".told")) == MANY)
    visitor.asked()
    visitor.until(lambda: any(f"limit={MANY}" in url for url in visitor.asked()))
    assert len(visitor.all(".told")) == MANY
    assert visitor.serious() == []
    visitor.click("button", "Cancel")
    visitor.shows(".story-of header .badge", "Canceled")


def start_more_than_a_browser_has_connections(visitor, held):
    visitor.visit()
    for _ in range(RUNNING):
        give_links(visitor, f"{held.url}/held")
        visitor.click("button.primary", "Start with 1 input")
    visitor.until(lambda: len(visitor.all(".card[data-job]")) >= RUNNING)
    visitor.drop({"a.txt": b"hello " * 99})
    visitor.click("button.primary", "Start with 1 input")
    visitor.shows(".row.succeeded", "a.txt")
    assert len(visitor.all(".card > progress")) == RUNNING  # none has made room by its end
    for card in visitor.all(".card")[: RUNNING + 1]:
        for cancel in card.find_elements("css selector", "footer button"):
            if cancel.text == "Cancel":
                cancel.click()
    visitor.until(lambda: not visitor.all(".card progress"))


def send_it_though_the_service_is_away(visitor):
    """Gives what is to be seen once the service is back."""
    visitor.drop({"meanwhile.txt": b"hello " * 99})
    visitor.click("button.primary", "Start with 1 input")
    visitor.shows(".card [role=status]", "cannot be reached")
    visitor.click("nav a", "Status")
    visitor.shows("[role=alert]", "cannot be reached")
    visitor.click("nav a", "Work")
    return lambda: visitor.shows(".row.succeeded", "meanwhile.txt")


def go_on_with_another_key(visitor):
    """A key that is none any more is asked for, and what it stopped goes on with the next."""
    visitor.visit()
    visitor.browser.execute_script("sessionStorage['offload.key'] = 'the-key-of-last-year'")
    visitor.visit()
    visitor.shows("dialog.key [role=alert]", "does not know the key")
    assert visitor.serious() == []
    visitor.click("dialog.key button", "Not now")
    visitor.until(lambda: not visitor.all("dialog"))
    visitor.drop({"a.txt": b"hello " * 99})
    visitor.click("button.primary", "Start with 1 input")
    visitor.one("dialog.key input").send_keys("not—ascii-at-all", Keys.ENTER)
    assert visitor.all("dialog.key input:invalid")
    visitor.one("dialog.key input").send_keys(Keys.CONTROL + "a")
    visitor.one("dialog.key input").send_keys(SHOP, Keys.ENTER)
    visitor.shows(".row.succeeded", "a.txt")
    kept = visitor.browser.execute_script("return sessionStorage['offload.jobs']")
    assert len(json.loads(kept)) == 1
