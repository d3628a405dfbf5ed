"""The page in a real browser: recipes recalled, pictures begun from, masks painted, comparisons."""

from __future__ import annotations

from typing import Any

import numpy as np
from browsing import drop, paint, painted, pixels_of, png, ready, sent, with_capabilities
from fake_painters import Live
from playwright.sync_api import Page, expect

from sfumato.request import Request as Asked

RECALLED = Asked(
    prompt="a pear,\nin two lines",
    negative_prompt="a stalk",
    steps=3,
    seed=2**64 - 1,  # more than a number of JavaScript holds
    width=24,
    height=16,
    sampler="euler_a",
    sampler_options={"eta": 0.5},
    guidance_interval=(0.25, 0.75),
)


def test_a_dropped_picture_gives_back_its_recipe_to_the_last_bit(page: Page):
    drop(page, png(RECALLED))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("in two lines")
    dialog.get_by_role("button", name="Recall the recipe").click()
    expect(page.get_by_label("What to paint")).to_have_value(RECALLED.prompt)
    expect(page.locator("#more")).to_have_text("Options (6)")
    page.locator("#more").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value(str(2**64 - 1))
    expect(page.get_by_label("Negative prompt")).to_have_value("a stalk")
    assert Asked.from_json(sent(page)) == RECALLED
    expect(page.locator("#stage .facts")).to_contain_text(f"24 × 16 · seed {2**64 - 1} ")


def test_a_picture_is_begun_from(page: Page, server: Live):
    page.locator("#file").set_input_files(
        {"name": "plain.png", "mimeType": "image/png", "buffer": png()}
    )
    expect(page.get_by_label("The picture to begin from").first).to_be_visible()
    page.get_by_label("Strength", exact=True).fill("0.5")
    page.get_by_label("What to paint").fill("from a picture")
    asked = sent(page)
    assert asked["strength"] == 0.5
    assert (pixels_of(server, asked["image"]) == 90).all()
    expect(page.get_by_role("button", name="Again with changes")).to_be_visible()
    # What is recalled from the picture begins from the same one.
    page.get_by_role("button", name="Again with changes").click()
    assert sent(page)["image"] == asked["image"]
    page.get_by_role("button", name="Remove the picture").click()
    assert "image" not in sent(page)


def test_what_is_no_picture_is_refused_in_words(page: Page):
    drop(page, b"GIF89a, which this is not")
    expect(page.get_by_role("alert")).to_contain_text("must be a PNG, JPEG or WebP picture")


def test_the_brush_paints_a_mask(page: Page, server: Live):
    painted(page, "to be changed")
    page.get_by_role("button", name="Paint over a part").click()
    canvas = page.locator("dialog canvas")
    box = canvas.bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.get_by_label("Brush size").fill("30")  # percent of the side: about 5 of 16 pixels
    page.mouse.move(*at(0.25, 0.25))
    page.mouse.down()
    page.mouse.move(*at(0.75, 0.25), steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_alt_text("The part to paint again")).to_be_visible()

    asked = sent(page)
    assert asked["image"].startswith("picture:")
    mask = pixels_of(server, asked["mask"])
    assert mask.shape == (16, 16)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[4, 3:13] == 255).all()  # the stroke
    assert (mask[9:] == 0).all()  # and nothing below it


def test_the_brush_works_with_the_keyboard(page: Page, server: Live):
    painted(page, "to be changed, too")
    page.get_by_role("button", name="Paint over a part").click()
    canvas = page.locator("dialog canvas")
    expect(canvas).to_be_focused()
    for key in ("ArrowLeft", "ArrowUp", "Space", "e", "e", "ArrowDown", "Space", "z"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Use this mask").click()
    expect(page.get_by_alt_text("The part to paint again")).to_be_visible()
    first = pixels_of(server, sent(page)["mask"]) > 0
    assert 0 < first.sum() < 40
    page.get_by_role("button", name="Change the mask").click()
    page.get_by_role("button", name="Invert").click()
    page.get_by_role("button", name="Use this mask").click()
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.get_by_alt_text("The part to paint again")).to_be_visible()
    assert (pixels_of(server, sent(page)["mask"]) > 0).sum() == 256 - first.sum()


def test_a_comparison_is_a_table_from_one_seed(page: Page, server: Live):
    page.locator("#more").click()
    page.get_by_text("Compare", exact=True).click()
    page.get_by_label("Columns: what differs").select_option("steps")
    page.get_by_label("Columns: the values").fill("1, 2, 3")
    page.get_by_label("Rows: what differs").select_option("prompt")
    page.get_by_label("Rows: the values").fill('apple, "pear, green"')
    paint(page, "one apple")
    expect(page.locator("td .frame:enabled")).to_have_count(6)
    assert page.locator("thead th").all_text_contents() == ["1", "2", "3"]
    assert page.locator("tbody th").all_text_contents() == ["apple", "pear, green"]
    jobs = server.client.get("/v1/jobs?limit=6").json()["jobs"][::-1]
    assert len({job["request"]["seed"] for job in jobs}) == 1
    assert [job["request"]["steps"] for job in jobs] == [1, 2, 3] * 2
    assert [job["request"]["prompt"] for job in jobs] == ["one apple"] * 3 + ["one pear, green"] * 3
    page.reload()
    expect(page.locator("td .frame:enabled")).to_have_count(6)
    page.locator("td .frame").last.click()
    expect(page.locator("#stage .facts")).to_contain_text("3 steps")
    page.get_by_role("button", name="Comparison").click()
    expect(page.locator("td .frame:enabled")).to_have_count(6)


def test_the_command_and_the_script_can_be_copied(page: Page, server: Live):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    painted(page, "it's an apple")
    page.locator(".recipe summary").click()
    page.get_by_role("button", name="Copy: Command line").click()
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_attached()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith("sfumato generate 'it'\"'\"'s an apple' --width 16")
    page.get_by_role("button", name="Copy: Python").click()
    page.wait_for_function(
        "() => navigator.clipboard.readText().then((t) => t.includes('import sfumato'))"
    )


def test_fields_of_several_sorts(page: Page):
    page.locator("#more").click()
    page.get_by_text("How to paint it", exact=True).click()
    apg = page.get_by_role("group", name="Apg")
    apg.get_by_label("On").check()
    page.get_by_role("group", name="Freeu").get_by_label("s1").fill("0.9")
    page.get_by_text("Which model", exact=True).click()
    loras = page.get_by_role("group", name="Loras")
    loras.get_by_role("button", name="Add").click()
    loras.get_by_label("name").fill("watercolour")
    expect(page.get_by_label("Lora folder")).to_have_count(0)  # no client names a folder
    expect(page.get_by_label("Embeddings")).to_have_count(0)  # nobody writes vectors by hand
    expect(page.get_by_text("Led by a picture")).to_have_count(0)  # this server has no ControlNets
    asked = sent(page)
    assert (asked["apg"], asked["freeu"]) == ({}, {"s1": 0.9})
    assert asked["loras"] == [["watercolour", 1]]
    apg.get_by_label("On").uncheck()
    assert "apg" not in sent(page)


def test_fields_that_the_page_does_not_know_appear_by_themselves(page: Page):
    new = {
        "glow": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        "mood": {"anyOf": [{"type": "string", "enum": ["calm", "wild"]}, {"type": "null"}]},
        "upside_down": {"type": "boolean", "default": False},
        "loras": {"type": "array", "items": {"type": "array"}, "default": []},
    }

    def add(facts: dict[str, Any]) -> None:
        for name, schema in new.items():
            about = {"description": "is new [none]", "x-group": "what is new"}
            facts["request"]["properties"][name] = schema | about
        facts["loras"] = [{"name": "watercolour"}, "<b>bold</b>"]

    with_capabilities(page, add)
    page.reload()
    ready(page)
    page.locator("#more").click()
    page.get_by_text("What is new").click()
    page.get_by_label("Glow").fill("0.25")
    page.get_by_label("Mood").select_option("wild")
    page.get_by_label("Upside down").check()
    loras = page.get_by_role("group", name="Loras")
    loras.get_by_role("button", name="Add").click()
    loras.get_by_label("name").fill("watercolour")
    loras.get_by_label("weight").fill("0.8")
    asked = sent(page)
    assert {name: asked[name] for name in new} == {
        "glow": 0.25,
        "mood": "wild",
        "upside_down": True,
        "loras": [["watercolour", 0.8]],
    }
    assert page.locator("datalist option").evaluate_all("all => all.map((each) => each.value)") == [
        "watercolour",
        "<b>bold</b>",
    ]
