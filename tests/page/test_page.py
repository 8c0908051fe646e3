"""The page in Chromium: what anybody does with it, and what the operator sees."""

import json
import sqlite3
import time
import zipfile
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from tests.api.answers import eventually
from tests.page import rough
from tests.page.conftest import BAD, OPS, SHOP
from tests.page.visitor import Visitor

# A browser, on machines of any speed.
pytestmark = pytest.mark.timeout(300)


# One browser and one service for many steps: to start each is what takes most.


def test_anybody_uses_it(visitor, services, folder, photos, held):
    drop_three_files_one_of_them_bad(visitor, folder, photos)
    compare_before_and_after_by_keys(visitor)
    find_all_of_it_after_a_reload(visitor)
    for route in ("", "#/status", "#/job/" + visitor.jobs()[0]):
        look_at_it_in_the_dark_and_on_a_phone(visitor, route)
    do_all_of_it_by_keyboard(visitor, held)
    rough.lose_nothing_to_a_line_that_is_no_link(visitor)
    rough.keep_the_focus_where_things_go(visitor)
    rough.point_out_an_option_that_cannot_be(visitor)
    rough.compare_what_browsers_cannot_show_and_what_is_tiny(visitor)
    with httpx.Client(base_url=visitor.url, timeout=30) as http:
        rough.be_told_of_a_result_that_is_gone(visitor, http)
        rough.pack_a_folder_with_its_paths(visitor)
        rough.read_a_long_story_to_its_end(visitor, http, held)
    rough.start_more_than_a_browser_has_connections(visitor, held)
    watch_on_after_the_service_was_killed(visitor, services, held)
    assert visitor.complaints() == []
    assert [url for url in visitor.asked() if urlsplit(url).hostname != "127.0.0.1"] == []


def test_a_key_opens_it_and_an_operators_more_of_it(browser, keyed, photos):
    visitor = Visitor(browser, keyed.url)
    rough.go_on_with_another_key(visitor)
    visitor.browser.execute_script("sessionStorage.clear()")
    give_a_key_that_the_tab_alone_keeps(visitor, photos)
    job_id = have_an_event_given_up(keyed, photos)
    see_the_last_hour_and_send_it_again(visitor, job_id)
    assert visitor.complaints() == []


def drop_three_files_one_of_them_bad(done, folder, photos):
    done.visit()
    done.drop(photos)
    done.until(lambda: len(done.all(".chosen li")) == 3)
    assert done.one("input[name=choice]:checked").get_attribute("value") == "image"
    done.click("button.primary", "Start with 3 inputs")
    done.until(lambda: len(done.all(".row.succeeded")) == 2)
    [failed] = done.all(".row.failed")
    assert BAD in failed.text  # as it is: no part of the markup
    assert "image.unsupported" in failed.text
    assert done.all("main img[src='x']") == []
    assert all("→" in row.text for row in done.all(".row.succeeded"))
    assert "2 done, 1 failed" in done.one(".card header").text

    done.click("summary", "Recipe")
    assert "/v1/images?width=1600&format=webp" in done.one(".recipe pre").text
    done.click(".tabs label:nth-of-type(2) input")
    done.shows(".recipe pre", "job = client.image(")
    done.click(".tabs label:nth-of-type(3) input")
    done.shows(".recipe pre", "offload image beach.jpg forest.png")

    done.click("button", "Download all as .zip")
    saved = folder / "saved" / "offload-image.zip"
    done.until(saved.exists)
    with zipfile.ZipFile(saved) as archive:
        assert sorted(archive.namelist()) == ["beach.webp", "forest.webp"]


def compare_before_and_after_by_keys(done):
    done.click("button", "Compare")
    done.until(lambda: all(done.loaded(img) for img in done.all(".frame img")))
    assert len(done.all(".frame img")) == 2
    slider = done.one("dialog.compare input[type=range]")
    assert done.focused == slider
    before = done.at()
    slider.send_keys(Keys.ARROW_LEFT * 10)
    done.until(lambda: done.at() == before - 10)
    assert done.serious() == []
    slider.send_keys(Keys.ESCAPE)
    done.until(lambda: not done.all("dialog"))


def find_all_of_it_after_a_reload(done):
    done.browser.refresh()
    done.until(lambda: len(done.all(".row.succeeded")) == 2)
    assert len(done.all(".row.failed")) == 1
    done.click("button", "Compare")  # what was uploaded is there, too
    done.until(lambda: all(done.loaded(img) for img in done.all(".frame img")))
    done.one("dialog.compare input").send_keys(Keys.ESCAPE)


def look_at_it_in_the_dark_and_on_a_phone(done, route):
    done.visit(route)
    done.one(".row.succeeded" if not route else ".plot canvas" if "status" in route else ".told")
    for closed in done.all("details"):
        done.browser.execute_script("arguments[0].open = true", closed)
    for dark in (False, True):
        done.emulate(dark=dark, phone=dark)
        assert done.serious() == []
        shade = done.browser.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
        assert (int(shade[4:].split(",")[0]) < 60) == dark
    assert done.overhang() <= 0  # on the phone
    done.emulate()


def do_all_of_it_by_keyboard(visitor, held):
    visitor.visit()
    visitor.tab_to("button", "or paste links")
    visitor.press(Keys.ENTER)
    visitor.until(lambda: visitor.focused.tag_name == "textarea")
    visitor.press(f"{held.url}/ok")
    visitor.tab_to("button", "Add links")
    visitor.press(Keys.ENTER)
    visitor.one(".chosen li")
    visitor.tab_to("input[name=choice]")
    assert visitor.focused.get_attribute("value") == "fetch"
    visitor.press(Keys.ARROW_RIGHT)  # from the last one to the first
    assert visitor.focused.get_attribute("value") == "image"
    visitor.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert visitor.focused.get_attribute("value") == "compress"
    visitor.tab_to("summary", "Options")
    visitor.press(Keys.ENTER)
    visitor.tab_to("select")
    visitor.tab_to("button", "Start with 1 input")
    visitor.press(Keys.ENTER)
    visitor.shows(".row.succeeded", "ok")
    visitor.tab_to("button", "Download")


def watch_on_after_the_service_was_killed(visitor, services, held):
    visitor.visit()
    visitor.click("button", "or paste links")
    visitor.one("textarea").send_keys(f"{held.url}/held")
    visitor.click("button", "Add links")
    visitor.click("button.primary", "Start with 1 input")
    held.wait_for(1)
    visitor.shows(".row.running", "Working")
    services.running["open"].kill()
    visitor.shows("[role=status]", "The connection was lost")
    there = rough.send_it_though_the_service_is_away(visitor)
    services("open", OFFLOAD_PORT=str(urlsplit(visitor.url).port))
    held.let_go()
    visitor.shows(".row.succeeded", "held")
    there()
    visitor.until(lambda: "connection" not in visitor.one("main").text)


def give_a_key_that_the_tab_alone_keeps(visitor, photos):
    visitor.visit()
    visitor.one("dialog.key input").send_keys(SHOP, Keys.ENTER)
    visitor.until(lambda: not visitor.all("dialog"))
    kept = "return [Object.values(sessionStorage), localStorage.length, document.cookie]"
    assert visitor.browser.execute_script(kept) == [[SHOP], 0, ""]
    visitor.drop({"beach.jpg": photos["beach.jpg"]})
    visitor.click("button.primary", "Start with 1 input")
    visitor.one(".row.succeeded")
    visitor.until(lambda: visitor.loaded(visitor.one(".row .thumb img")))
    visitor.click("button", "Compare")
    visitor.until(lambda: all(visitor.loaded(img) for img in visitor.all(".frame img")))
    visitor.browser.get(f"{visitor.url}/#/status")
    visitor.shows("[role=alert]", "This page is for the operator")


def have_an_event_given_up(keyed, photos):
    """Gives the id of the job that told it."""
    with httpx.Client(
        base_url=keyed.url, headers={"Authorization": f"Bearer {SHOP}"}, timeout=30
    ) as shop:
        hook = {
            "url": "http://127.0.0.1:1/hook",
            "secret": "whsec_" + "A" * 32,
            "events": ["job.failed"],
        }
        files = {"file": ("no.zip", photos[BAD])}
        failed = shop.post("/v1/extract?wait=20", files=files, data={"webhook": json.dumps(hook)})
        job_id = failed.json()["id"]
        told = f"/v1/webhooks/deliveries?job={job_id}&status=pending"
        eventually(shop, lambda: attempted(shop.get(told).json()))
        bury(keyed, job_id)
    return job_id


def see_the_last_hour_and_send_it_again(visitor, job_id):
    visitor.visit()
    visitor.browser.execute_script("sessionStorage.clear()")
    visitor.visit("#/status")
    visitor.one("dialog.key input").send_keys(OPS, Keys.ENTER)
    visitor.until(lambda: len(visitor.all(".plot canvas")) == 2)
    assert "archive.unsupported" in visitor.one("[aria-labelledby=failures-by-code]").text
    assert "shop" in visitor.one("[aria-labelledby=slowest-items]").text
    assert visitor.serious() == []
    dead = "[aria-labelledby=deliveries-given-up]"
    visitor.shows(f"{dead} td", "job.failed")
    visitor.click(f"{dead} button", "Send again")
    visitor.until(lambda: not visitor.all(f"{dead} td"))
    visitor.click("[aria-labelledby=failures-by-code] a", "Look at a job")
    visitor.shows("h1", "Job")
    visitor.shows(".story-of code", job_id)
    visitor.shows("[aria-labelledby=deliveries] .told", "127.0.0.1:1/hook")
    visitor.shows("[aria-labelledby=items] .trouble", "archive.unsupported")
    assert visitor.serious() == []


def attempted(page):
    """Tell whether the first attempt of a delivery is over."""
    return any(delivery["attempts"] for delivery in page["deliveries"])


def bury(service, job_id):
    """Have the first delivery of a job given up, as its whole schedule would in a day."""
    problem = {"code": "delivery.exhausted", "title": "Every attempt failed", "status": 502}
    problem |= {"detail": "No attempt succeeded.", "retryable": False, "extra": {}}
    with closing(sqlite3.connect(service.data_dir / "offload.db", timeout=10)) as db, db:
        changed = db.execute(
            "UPDATE deliveries SET status = 'dead', due_ms = NULL, ended_ms = ?, problem = ? "
            "WHERE job_id = ? AND status <> 'sending'",
            [int(time.time() * 1000), json.dumps(problem), job_id],
        ).rowcount
    assert changed == 1
