"""Recipes of other programs are read in A1111's words, and what cannot be followed keeps a name."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import (
    FOOOCUS,
    FOOOCUS_TEXT,
    INVOKEAI,
    INVOKEAI_2,
    NAI_COMMENT,
    NOVELAI,
    SDCPP_TEXT,
    SDNEXT_TEXT,
    SWARMUI,
    comfyui,
    node,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from sfumato.pictures import Recipe, load_recipe, read_text, write_text
from sfumato.pictures.others import read_texts, renamed, values
from sfumato.request import Request

PIXELS = np.zeros((8, 8, 3), np.uint8)


def png(path: Path, texts: dict[str, str], compressed: bool = False) -> Path:
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text, zip=compressed)
    Image.fromarray(PIXELS).save(path, pnginfo=chunks)
    return path


def of_graph(**changes: Any) -> Recipe:
    """The recipe of the standard graph with these nodes changed, or inputs of its sampler."""
    graph = comfyui()
    for name, change in changes.items():
        if name[1:].isdecimal():
            graph[name[1:]] = change
        else:
            graph["3"]["inputs"][name] = change
    recipe = read_texts({"prompt": json.dumps(graph)})
    assert recipe is not None
    return recipe


CASES = {
    "ComfyUI": (
        {"prompt": json.dumps(comfyui()), "workflow": '{"nodes": []}'},
        ("a (red:1.2) \\[small\\] cat", "watermark"),
        {"Steps": "20", "Sampler": "euler_ancestral", "Schedule type": "normal", "RNG": "CPU"}
        | {"CFG scale": "8", "Seed": "156680208700286", "Size": "512x768", "Emphasis": "Comfyui"}
        | {"Model": "v1-5.safetensors", "Clip skip": "2", "Loras": "detail.safetensors:0.8"},
    ),
    "InvokeAI 3.3.0post3": (
        {"invokeai_metadata": json.dumps(INVOKEAI), "invokeai_graph": "{}"},
        ("a (red:1.21) cat", "blurry"),
        {"Steps": "50", "Sampler": "dpmpp_2m_sde", "Schedule type": "Karras", "RNG": "CPU"}
        | {"CFG scale": "7.5", "Seed": "356120443", "Size": "768x432", "Emphasis": "Comfyui"}
        | {
            "Model": "dreamshaper",
            "VAE": "sd-vae-ft-mse",
            "Clip skip": "2",
            "Loras": "detail:0.75",
        },
    ),
    "InvokeAI v2.2.4": (
        {"sd-metadata": json.dumps(INVOKEAI_2), "Dream": '"a lake" -s 50'},
        ("a lake", "boats, fog"),
        {"Steps": "50", "Sampler": "k_euler_a", "CFG scale": "12", "Seed": "2502935700"}
        | {"Size": "512x768", "Model": "analog", "RNG": "GPU"},
    ),
    "InvokeAI": (
        {"Dream": '"a lake [boats]" -s50 -S 7 -W 512 -H 448 -C7.5 -A k_lms -G 0.8'},
        ("a lake", "boats"),
        {"Steps": "50", "Seed": "7", "Size": "512x448", "CFG scale": "7.5", "Sampler": "k_lms"}
        | {"RNG": "GPU"},
    ),
    "Fooocus v2.5.5": (
        {"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"},
        ("cinematic still a cat . film BREAK a cat, sharp", "anime, cartoon"),
        {"Steps": "30", "Sampler": "dpmpp_2m_sde_gpu", "Schedule type": "karras", "RNG": "CPU"}
        | {"CFG scale": "4", "Seed": "7081370543", "Size": "1152x896", "Clip skip": "2"}
        | {"Model": "juggernautXL_v8", "Model hash": "aeb7e9e6", "Loras": "offset:0.1"}
        | {"adm guidance": "(1.5, 0.8, 0.3)", "sharpness": "2"},
    ),
    "SwarmUI 0.9.3.1": (
        {"parameters": json.dumps(SWARMUI, indent=2)},
        ("a (red:1.3) cat", ""),
        {"Steps": "20", "Sampler": "euler", "Schedule type": "normal", "RNG": "CPU"}
        | {"CFG scale": "7", "Seed": "1", "Size": "1024x1024", "Model": "sd_xl_base_1.0"}
        | {"Loras": "detail:0.5", "Emphasis": "Comfyui", "refinerupscale": "1.5"},
    ),
    "NovelAI": (
        NOVELAI,
        ("(red:1.1025) apple \\(small\\), (leaf:0.9524)", "(bad:1.05), lowres"),
        {"Steps": "28", "Sampler": "k_euler_ancestral", "Schedule type": "Uniform"}
        | {"CFG scale": "5", "Seed": "3816166865", "Size": "832x1216", "RNG": "NovelAI"}
        | {"Model": "Stable Diffusion XL C1E1DE52", "sm": "True"},
    ),
}


@pytest.mark.parametrize("version", CASES)
@pytest.mark.parametrize("compressed", [False, True])
def test_what_each_program_says(tmp_path, version, compressed):
    texts, prompts, items = CASES[version]
    recipe = load_recipe(png(tmp_path / "a.png", texts, compressed))
    assert recipe == Recipe(*prompts, items | {"Version": version})
    assert recipe.program == version.split()[0]
    assert read_text(write_text(recipe)) == recipe
    # The names of samplers and schedules are those of our tables.
    request = Request.from_recipe(recipe, image=None)
    assert {request.sampler, request.schedule} & {"euler_a", "dpmpp_2m_sde", "euler", "lms"}
    assert not {"Sampler", "Schedule type"} & Request.unread(recipe).keys()


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize(
    ("program", "tag", "text"),
    [
        ("SwarmUI", 0x9286, json.dumps(SWARMUI)),
        ("Fooocus", 0x9286, json.dumps(FOOOCUS)),
        ("NovelAI", 0x9286, json.dumps(NOVELAI | {"Comment": NAI_COMMENT})),
        ("NovelAI", 0x9286, json.dumps(NOVELAI)),
        ("ComfyUI", 0x0110, f"prompt:{json.dumps(comfyui())}"),
    ],
)
def test_in_the_tags_of_other_files(tmp_path, program, tag, text, suffix):
    exif = Image.Exif()
    if tag == 0x9286:
        exif.get_ifd(0x8769)[tag] = b"UNICODE\0" + text.encode("utf-16-be")
    else:
        exif[tag] = text
    Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}", exif=exif)
    recipe = load_recipe(tmp_path / f"a.{suffix}")
    _, prompts, items = next(case for name, case in CASES.items() if name.startswith(program))
    assert recipe == Recipe(*prompts, items | {"Version": recipe.items["Version"]})


@pytest.mark.parametrize("version", [v for v in CASES if "Swarm" not in v])
def test_another_reader_says_the_same(tmp_path, version):
    from sd_parsers import ParserManager

    texts, _, items = CASES[version]
    if version == "ComfyUI":  # the judge follows the links of the workflow
        kinds = {"model": "MODEL", "clip": "CLIP"}
        links = [
            [0, int(value[0]), value[1], int(name), 0, kinds.get(key, "CONDITIONING")]
            for name, each in comfyui().items()
            for key, value in each["inputs"].items()
            if isinstance(value, list)
        ]
        texts = texts | {"workflow": json.dumps({"links": links})}
    if version == "InvokeAI":  # which knows the flags with a space alone
        texts = {"Dream": '"a lake [boats]" -s 50 -S 7 -W 512 -H 448 -C 7.5 -A k_lms'}
    info = ParserManager().parse(png(tmp_path / "a.png", texts))
    (sampler,) = info.samplers
    said = {str(key): str(value) for key, value in sampler.parameters.items()}
    assert (said["seed"], sampler.name.removesuffix("_k")) == (items["Seed"], items["Sampler"])
    assert float(said["cfg_scale"]) == float(items["CFG scale"])
    prompts = [*sampler.prompts, *sampler.negative_prompts]
    assert (
        " / ".join(each.value for each in prompts)
        == {
            "ComfyUI": "a (red:1.2) [small] cat / watermark",
            "InvokeAI 3.3.0post3": "a red++ cat / blurry",
            "InvokeAI v2.2.4": "a lake / boats, fog",
            "InvokeAI": "a lake / boats",
            "Fooocus v2.5.5": "a cat",  # without the words of its styles
            "NovelAI": f"{NAI_COMMENT['prompt']} / {NAI_COMMENT['uc']}",
        }[version]
    )


def test_texts_like_a1111s():
    fooocus = renamed(read_text(FOOOCUS_TEXT))
    assert (fooocus.program, fooocus.items["Schedule type"]) == ("Fooocus", "karras")
    assert "Scheduler" not in fooocus.items
    request = Request.from_recipe(fooocus)
    assert (request.sampler, request.schedule, request.steps) == ("dpmpp_2m_sde", "karras", 30)

    sdnext = renamed(read_text(SDNEXT_TEXT))
    assert sdnext.program == "SD.Next"
    request = Request.from_recipe(sdnext)
    assert (request.sampler, request.schedule) == ("dpmpp_2m", "karras")
    assert (request.guidance_rescale, request.width, request.height) == (0.7, 832, 1216)

    sdcpp = renamed(read_text(SDCPP_TEXT))
    assert sdcpp.program == "stable-diffusion.cpp"
    request = Request.from_recipe(sdcpp)
    assert (request.sampler, request.schedule, request.guidance) == ("euler_a", "karras", 7)


@pytest.mark.parametrize(
    ("version", "program"),
    [
        *(("v1.10.1", "A1111"), ("1.6.0", "A1111"), ("f2.0.1v1.10.1-previous-1", "Forge")),
        *(("Sfumato 0.1", "Sfumato"), ("ComfyUI", "ComfyUI"), ("cb0eb55", None), ("", None)),
    ],
)
def test_whose_a_text_is(version, program):
    assert Recipe("a", "", {"Version": version}).program == program


class TestGraph:
    """ComfyUI's graph: what of it is followed."""

    def test_through_other_nodes(self):
        recipe = of_graph(
            _12=node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0]),
            _13=node("FreeU", model=["10", 0]),
            _14=node("PrimitiveInt", value=0),
            positive=["12", 0],
            negative=["12", 1],
            model=["13", 0],
            seed=["14", 0],
        )
        plain = of_graph()
        assert (recipe.prompt, recipe.negative_prompt) == (plain.prompt, plain.negative_prompt)
        changed = {"Seed": "0", "Nodes": "ControlNetApplyAdvanced, FreeU"}
        assert recipe.items == plain.items | changed

    def test_loras_in_the_order_in_which_they_are_applied(self):
        first = node("LoraLoaderModelOnly", lora_name="x/a.pt", strength_model=1.0, model=["4", 0])
        second = node("LoraLoader", lora_name="b", strength_model=0.5, strength_clip=0.25)
        second["inputs"]["model"] = ["14", 0]
        recipe = of_graph(_14=first, _15=second, model=["15", 0])
        assert recipe.items["Loras"] == "a.pt:unet=1,text=0|b:unet=0.5,text=0.25"

    def test_an_advanced_sampler(self):
        inputs = comfyui()["3"]["inputs"]
        seed = inputs.pop("seed")
        del inputs["denoise"]
        more = {"noise_seed": seed, "start_at_step": 0, "end_at_step": 10000}
        more |= {"add_noise": "enable", "return_with_leftover_noise": "disable"}
        assert of_graph(_3=node("KSamplerAdvanced", **inputs, **more)) == of_graph()
        part = more | {"start_at_step": 5, "end_at_step": 15, "add_noise": "disable"}
        items = of_graph(_3=node("KSamplerAdvanced", **inputs, **part)).items
        left = {"start at step": "5", "end at step": "15", "add noise": "disable"}
        assert items == of_graph().items | left

    def test_the_first_of_two_samplers(self):
        again = comfyui()["3"]["inputs"] | {"latent_image": ["15", 0], "denoise": 0.5}
        upscale = node("LatentUpscale", samples=["3", 0], width=1024, height=1536)
        recipe = of_graph(_14=node("KSampler", **again), _15=upscale)
        assert recipe.items == of_graph().items | {"Nodes": "KSampler, LatentUpscale"}

    @pytest.mark.parametrize("denoise", [0.6, 0.75, 0.3, 0.999])
    @pytest.mark.parametrize("steps", [1, 20, 33])
    def test_from_a_picture(self, steps, denoise):
        loaded = node("LoadImage", image="sketches/cat.png")
        encoded = node("VAEEncode", pixels=["16", 0], vae=["4", 2])
        inputs = {"latent_image": ["15", 0], "denoise": denoise, "steps": steps}
        recipe = of_graph(_15=encoded, _16=loaded, **inputs)
        assert recipe.items["Image"] == "cat.png"
        assert recipe.items["Nodes"] == "EmptyLatentImage"  # which is left over
        request = Request.from_recipe(recipe)
        # ComfyUI makes all its steps, the last of int(steps / denoise).
        assert request.steps == int(steps / denoise)
        assert int(request.steps * request.strength) == steps

    def test_two_pictures_in_one_graph_are_not_told_apart(self):
        with pytest.raises(ValueError, match="one KSampler must begin the picture. Received: 2"):
            of_graph(_14=comfyui()["3"])

    @pytest.mark.parametrize(
        "changes",
        [
            {"_10": node("LoraLoader", model=["10", 0]), "_6": node("X", conditioning=["6", 0])},
            {"latent_image": ["3", 0], "model": ["3", 0], "positive": ["3", 0]},
            {"_11": node("CLIPSetLastLayer", clip=["6", 0], stop_at_clip_layer=["11", 0])},
            {
                "seed": ["14", 0],
                "_14": node("A", seed=["15", 0]),
                "_15": node("B", value=["14", 0]),
            },
        ],
    )
    def test_circles_have_an_end(self, changes):
        assert of_graph(**changes).items["Steps"] == "20"

    @pytest.mark.parametrize(
        "value",
        [None, [], {}, [[]], ["99", 0], [None, 0], [{}], "", "x", True, 1e999, float("nan"), -1],
    )
    def test_inputs_of_any_type(self, value):
        for name in comfyui()["3"]["inputs"]:
            of_graph(**{name: value})
        for place in ("4", "5", "6", "10", "11"):
            inputs = dict.fromkeys(comfyui()[place]["inputs"], value)
            of_graph(**{f"_{place}": comfyui()[place] | {"inputs": inputs}})
            of_graph(**{f"_{place}": value})
            of_graph(**{f"_{place}": {"class_type": value, "inputs": value}})

    def test_long_chains_take_linear_time(self):
        chain = {f"_{i}": node("X", model=[str(i + 1), 0]) for i in range(100, 5_100)}
        start = time.perf_counter()
        assert of_graph(**chain, model=["100", 0]).items["Nodes"].endswith("X")
        sampler = comfyui()["3"]
        many = {f"_{i}": sampler for i in range(100, 5_100)}
        with pytest.raises(ValueError, match="one KSampler must begin"):
            of_graph(**many)
        assert time.perf_counter() - start < 10  # quadratic time would be minutes


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FLAT = {
    "invokeai_metadata": INVOKEAI,
    "sd-metadata": INVOKEAI_2["image"],
    "parameters": FOOOCUS,
    "sui": SWARMUI["sui_image_params"],
    "Comment": NAI_COMMENT,
}


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from([*FLAT]), data=st.data())
def test_values_of_any_type_are_no_errors_but_of_the_file(place, data):
    said = dict(FLAT[place])
    for name in data.draw(st.lists(st.sampled_from([*said]), min_size=1, max_size=4)):
        said[name] = data.draw(VALUES)
    said[data.draw(st.text(max_size=120))] = data.draw(VALUES)
    texts = {place: json.dumps(said)}
    if place == "sui":
        texts = {"parameters": json.dumps({"sui_image_params": said})}
    if place == "sd-metadata":
        texts = {place: json.dumps({"image": said})}
    if place == "Comment":
        texts |= {"Software": "NovelAI"}
    try:
        recipe = read_texts(texts)
    except ValueError as error:
        assert "which is not read" in str(error)  # noqa: PT017
    else:
        assert recipe is None or read_text(write_text(recipe)) == recipe


@pytest.mark.parametrize("name", ["invokeai_metadata", "sd-metadata", "parameters", "prompt"])
@pytest.mark.parametrize(
    "text",
    [
        '{"sui_image_params": ' + '{"prompt": ' * 100_000,
        '{"class_type": ' * 100_000,
        '{"prompt": "a", "seed": ' + "9" * 100_000 + "}",
        '{"Fooocus": "' + "a" * 1_000_000 + '"}',
        '{"prompt": "' + "(" * 100_000 + '", "Fooocus": 1}',
    ],
)
def test_absurd_json_is_an_error_of_the_file_or_read(name, text):
    start = time.perf_counter()
    try:
        read_texts({name: text})
    except ValueError as error:
        assert "which is not read" in str(error)  # noqa: PT017
    assert time.perf_counter() - start < 10  # quadratic time would be minutes


def test_json_has_a_limit(monkeypatch):
    texts = {"invokeai_metadata": json.dumps(INVOKEAI)}
    assert read_texts(texts) is not None
    monkeypatch.setattr(values, "LARGEST", 500)
    with pytest.raises(
        ValueError, match=r"InvokeAI, which is not read \(JSON must have at most 500"
    ):
        read_texts(texts)


def test_a_text_that_grows_too_long(tmp_path):
    with pytest.raises(ValueError, match="has texts that are too long: .*a.png"):
        load_recipe(png(tmp_path / "a.png", {"prompt": "a" * 10_000_000}, compressed=True))


def test_a_strangers_names_are_short_and_few():
    said = INVOKEAI | {f"x{i}" + "y" * 500: "z" * 500 for i in range(1000)}
    recipe = read_texts({"invokeai_metadata": json.dumps(said)})
    assert len(recipe.items) < 60
    assert max(len(text) for pair in recipe.items.items() for text in pair) <= 100
    assert recipe.items["Seed"] == "356120443"
