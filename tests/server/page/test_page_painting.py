"""The page in a real browser: paint, watch, cancel, two tabs, reload."""

from __future__ import annotations

import time
from collections.abc import Callable

from browsing import Visit, paint, painted, ready
from fake_painters import FakePainter, Live
from playwright.sync_api import Page, expect


def newest(server: Live) -> dict:
    return server.client.get("/v1/jobs?limit=1").json()["jobs"][0]


def is_shown(page: Page, selector: str) -> None:
    """Whether an image has its pixels."""
    expect(page.locator(selector).first).to_be_visible()
    page.wait_for_function("s => document.querySelector(s).naturalWidth > 0", arg=selector)


def test_words_become_a_preview_a_picture_and_a_tile(
    page: Page, server: Live, painter: FakePainter
):
    painter.pace = 0.15
    page.keyboard.type("a red apple")  # the words have the focus at the start
    page.keyboard.press("Enter")
    expect(page.locator("#stage img.preview[src^='data:image/png']")).to_be_visible()
    expect(page.locator("#stage")).to_contain_text("of 4")
    expect(page.get_by_role("button", name="Again with changes")).to_be_visible()
    is_shown(page, "#stage img")
    job = newest(server)
    assert (job["state"], job["request"]["prompt"]) == ("done", "a red apple")
    expect(page.locator("#stage .facts")).to_contain_text(f"seed {job['pictures'][0]['seed']}")
    expect(page.locator("#tiles button[aria-current=true] img")).to_have_attribute(
        "alt", "a red apple"
    )


def test_cancel_stops_within_a_step(page: Page, server: Live, painter: FakePainter):
    page.locator("#more").click()
    page.get_by_label("Steps", exact=True).fill("140")
    painter.pace = 0.03
    paint(page, "too slow")
    expect(page.locator("#stage")).to_contain_text("of 140")
    page.locator("#stage").get_by_role("button", name="Cancel").click()
    expect(page.locator("#stage")).to_contain_text("Cancelled")
    steps = painter.steps_done
    time.sleep(0.2)
    assert painter.steps_done <= steps + 1
    assert newest(server)["state"] == "cancelled"
    page.get_by_role("button", name="Change it and try again").click()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("140")


def test_what_waits_is_listed_and_can_be_cancelled(page: Page, server: Live, painter: FakePainter):
    painter.gate.clear()
    paint(page, "the first")
    expect(page.locator("#stage")).to_contain_text("the first")
    paint(page, "the second")
    row = page.locator("#queue li")
    expect(row).to_contain_text("the second")
    row.get_by_role("button", name="Cancel: the second").click()
    expect(page.locator("#queue")).to_be_hidden()
    assert newest(server)["state"] == "cancelled"
    painter.gate.set()
    expect(page.locator("#stage")).to_contain_text("Again with changes")
    expect(page.locator("#stage")).to_contain_text("the first")


def test_what_a_user_should_know_of_a_picture_is_said(page: Page, painter: FakePainter):
    painter.flags = ("mini has not learnt: zebra",)
    painted(page, "a zebra")
    expect(page.locator("#stage .flag")).to_have_text("mini has not learnt: zebra")
    painter.flags = ()
    painted(page, "a horse")
    expect(page.locator("#stage .flag")).to_have_count(0)


def test_several_pictures_of_one_request(page: Page, server: Live):
    page.get_by_label("How many").select_option("3")
    paint(page, "three of them")
    expect(page.locator("#stage .frame:enabled")).to_have_count(3)
    page.get_by_role("button", name="Picture 2").click()
    expect(page.locator("#stage .facts")).to_contain_text(
        f"seed {newest(server)['request']['seed'] + 1} "
    )
    page.get_by_role("button", name="All of these").click()
    expect(page.locator("#stage .frame:enabled")).to_have_count(3)


def test_a_reload_goes_on_with_the_job_and_keeps_the_words(page: Page, painter: FakePainter):
    painter.gate.clear()
    paint(page, "still painting")
    expect(page.locator("#stage progress")).to_be_visible()
    page.reload()
    expect(page.locator("#stage progress")).to_be_visible()
    expect(page.locator("#stage")).to_contain_text("still painting")
    expect(page.get_by_label("What to paint")).to_have_value("still painting")
    painter.pace = 0.1
    painter.gate.set()
    expect(page.locator("#stage img.preview[src^='data:']")).to_be_visible()
    is_shown(page, "#stage img")
    expect(page.get_by_role("button", name="Another seed")).to_be_visible()


def test_two_tabs_see_each_others_jobs_and_keep_their_own_words(
    visit: Callable[..., Visit], server: Live, painter: FakePainter
):
    window = visit()
    first, second = (ready(window.open(server.address)) for _ in range(2))
    painter.gate.clear()
    paint(first, "of the first tab")
    paint(second, "of the second tab")
    for tab, own, other in ((first, "first", "second"), (second, "second", "first")):
        tab.evaluate("window.dispatchEvent(new Event('focus'))")
        expect(tab.locator("#stage")).to_contain_text(f"of the {own} tab")
        expect(tab.locator("#queue")).to_contain_text(f"of the {other} tab")
        expect(tab.get_by_label("What to paint")).to_have_value(f"of the {own} tab")
    painter.gate.set()
    for tab in (first, second):
        for own in ("first", "second"):
            expect(tab.locator(f"#tiles img[alt='of the {own} tab']")).to_be_visible()


def test_a_failure_is_told_and_the_next_request_works(page: Page, painter: FakePainter):
    def fail(requests: object) -> None:
        raise FloatingPointError("a number that is not finite")

    trouble, painter.trouble = painter.trouble, fail
    paint(page, "it fails")
    expect(page.locator("#stage .wrong")).not_to_be_empty()
    painter.trouble = trouble
    page.get_by_role("button", name="Change it and try again").click()
    paint(page, "it works")
    expect(page.get_by_role("button", name="Again with changes")).to_be_visible()


def test_a_wrong_value_is_told_at_its_field(page: Page):
    page.locator("#more").click()
    page.get_by_label("Steps", exact=True).fill("100000")
    page.locator("#more").click()  # folded away
    paint(page, "too much")
    expect(page.get_by_label("Steps", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#field-steps-wrong")).to_contain_text("at most 150")
    expect(page.get_by_role("alert")).to_contain_text("at most 150")


def test_it_says_that_the_server_is_gone_and_recovers(page: Page):
    page.route("**/v1/jobs*", lambda route: route.abort())
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#connection")).to_have_text("The server does not answer.")
    page.unroute("**/v1/jobs*")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#connection")).to_be_empty()
