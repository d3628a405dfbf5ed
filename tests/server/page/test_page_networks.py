"""The page in a real browser: ControlNets and IP-Adapters, and the pictures that they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from browsing import EVIL, PHONE, Visit, check_access, drop, pixels_of, png, ready, sent
from fake_painters import FakePainter, Live
from playwright.sync_api import FilePayload, Locator, Page, expect

from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.request import Request
from sfumato.request.control import Control

OWN: FilePayload = {"name": "own.png", "mimeType": "image/png", "buffer": png(grey=120)}
BEGUN: FilePayload = {"name": "begun.png", "mimeType": "image/png", "buffer": png(grey=90)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Three files and a folder, at most two of which may be used at once."""
    folder = tmp_path_factory.mktemp("nets")
    for name in ("edges", "ip-adapter", EVIL):
        write_safetensors(folder / f"{name}.safetensors", {"any": np.ones(2, "float32")})
    (folder / "depth").mkdir()
    (folder / "depth" / "config.json").write_text("{}")
    return {"controls": folder, "max_controls": 2}


@pytest.fixture
def painted(painter: FakePainter) -> Iterator[list[Request]]:
    """The requests that the painter gets."""
    seen: list[Request] = []
    before, painter.trouble = painter.trouble, seen.extend
    yield seen
    painter.trouble = before


def opened(page: Page, field: str) -> Locator:
    """The control of a field, which was folded away."""
    page.locator("#more").click()
    page.get_by_text("Led by a picture", exact=True).click()
    return page.get_by_role("group", name=field, exact=True)


def test_controlnets_see_a_picture_of_their_own_or_that_to_begin_from(
    page: Page, server: Live, painted: list[Request]
):
    controls = opened(page, "Controls")
    controls.get_by_role("button", name="Add").click()
    edges = controls.get_by_role("group", name="Control 1", exact=True)
    edges.get_by_label("File", exact=True).select_option("edges")
    edges.get_by_label("Preprocessor").select_option("canny")
    for name, value in {"Weight": "0.8", "Start": "0.1", "End": "0.7"}.items():
        edges.get_by_label(name, exact=True).fill(value)
    expect(edges).to_contain_text("Drop a picture here")
    edges.locator("input[type=file]").set_input_files(OWN)
    expect(edges.get_by_role("img")).to_be_visible()

    page.locator("#file").set_input_files(BEGUN)
    expect(page.locator("#start")).to_be_visible()
    controls.get_by_role("button", name="Add").click()
    depth = controls.get_by_role("group", name="Control 2", exact=True)
    depth.get_by_label("File", exact=True).select_option("depth")
    expect(depth).to_contain_text("The picture to begin from")
    expect(controls.get_by_role("button", name="Add")).to_be_hidden()  # not more than two
    page.get_by_label("What to paint").fill("led")
    page.reload()
    opened(page, "Controls")
    expect(edges.get_by_label("Weight")).to_have_value("0.8")

    first, second = sent(page)["controls"]
    given = {"preprocessor": "canny", "weight": 0.8, "start": 0.1, "end": 0.7}
    assert {**first, "image": None} == {"file": "edges", "image": None, **given}
    assert (pixels_of(server, first["image"]) == 120).all()
    assert second == {"file": "depth"}
    expect(page.locator("#stage .prompt")).to_have_text("led")
    expect(page.get_by_role("button", name="Again with changes")).to_be_visible()
    request = painted[0]
    assert [each.image is None for each in request.controls] == [False, True]
    assert (request.image == 90).all()
    page.locator(".recipe summary").click()
    command = page.get_by_label("Command line", exact=True)
    expect(command).to_contain_text("--control=edges:control0.png:preprocessor=canny")
    expect(command).to_contain_text("--control=depth")
    expect(page.get_by_label("Python", exact=True)).to_contain_text("('depth', None, {})")

    edges.get_by_role("button", name="Use the picture to begin from").click()
    depth.get_by_role("button", name="Remove: Control 2").click()
    expect(controls.get_by_role("button", name="Add")).to_be_focused()
    assert sent(page)["controls"] == [{"file": "edges", **given}]
    assert page.evaluate("window.hacked") is None


def test_a_picture_is_dropped_as_a_prompt(page: Page, server: Live, painted: list[Request]):
    prompts = opened(page, "Image prompts")
    prompts.get_by_role("button", name="Add").press("Enter")
    expect(prompts.get_by_label("File", exact=True)).to_be_focused()
    names = prompts.get_by_label("File", exact=True).locator("option").all_text_contents()
    assert names[0] == "ip-adapter"  # the likely one first
    assert {*names} == {"edges", "ip-adapter", EVIL}  # and no folder
    page.get_by_role("button", name="Paint", exact=True).click()
    expect(page.locator("#field-image_prompts-wrong")).to_contain_text("have a picture each")
    drop(page, png(grey=120), "[aria-label='Image prompt 1']")
    expect(prompts.get_by_role("img")).to_be_visible()
    prompts.get_by_label("Weight").fill("-0.5")
    page.get_by_label("What to paint").fill("like a portrait")
    asked = sent(page)
    assert "image" not in asked  # the rest of the page did not take it, too
    expect(page.locator("#stage .prompt")).to_have_text("like a portrait")
    expect(page.get_by_role("button", name="Again with changes")).to_be_visible()
    [prompt] = painted[0].image_prompts
    assert prompt.weight == -0.5
    assert (prompt.image == 120).all()

    page.get_by_role("button", name="Reset the options").click()
    expect(prompts.locator(".shown")).to_have_count(0)
    page.get_by_role("button", name="Again with changes").click()
    assert sent(page)["image_prompts"] == asked["image_prompts"]


def test_a_recipe_gives_back_the_networks_that_are_here(page: Page):
    edges, other = Control(file="edges", weight=0.5, mode="guess"), Control(file="elsewhere")
    drop(page, png(Request(prompt="led again", controls=(edges, other))))
    page.get_by_role("button", name="Recall the recipe").click()
    trouble = page.get_by_role("alert")
    expect(trouble).to_have_text("Not here: elsewhere. Choose the picture again for: edges.")
    controls = opened(page, "Controls")
    controls.locator("input[type=file]").set_input_files(OWN)
    expect(controls.get_by_role("img")).to_be_visible()
    [control] = sent(page)["controls"]
    assert {**control, "image": None} == {**edges.to_json(), "image": None}


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing_in_them(
    visit: Callable[..., Visit], server: Live, options: dict[str, Any]
):
    page = ready(visit(**options).open(server.address))
    page.locator("#file").set_input_files(BEGUN)
    expect(page.locator("#start")).to_be_visible()
    page.locator("#more").click()
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    for field in ("Controls", "Image prompts"):
        group = page.get_by_role("group", name=field, exact=True)
        group.get_by_role("button", name="Add").click()
        expect(group.locator(".shown")).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    check_access(page)
