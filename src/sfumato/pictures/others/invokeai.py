"""InvokeAI's recipes: JSON of version 3 and later, JSON of version 2, the commands of version 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sfumato.pictures.others import grammars, values
from sfumato.pictures.others.values import name_of, part, text_of, written
from sfumato.pictures.recipe import Recipe

_OWN_SCHEDULE = ("ddim", "ddpm", "pndm", "lcm", "tcd")  # where our sampler's is theirs
_COMMAND = {"s": "Steps", "S": "Seed", "C": "CFG scale", "A": "Sampler"}


def read(texts: Mapping[str, str]) -> Recipe:
    """The recipe that a picture's texts state."""
    if "invokeai_metadata" in texts:
        return _of_version_3(values.from_json(texts["invokeai_metadata"]))
    with suppress(ValueError):
        return _of_version_2(values.from_json(texts.get("sd-metadata", "")))
    return _of_version_1(texts.get("Dream", ""))


def _of_version_3(said: dict[str, Any]) -> Recipe:
    keys = {"seed": "Seed", "steps": "Steps", "cfg_scale": "CFG scale", "rand_device": "RNG"}
    keys |= {"cfg_rescale_multiplier": "Guidance rescale", "strength": "Denoising strength"}
    unused = {"app_version", "generation_mode", "positive_prompt", "negative_prompt", "scheduler"}
    unused |= {"width", "height", "model", "vae", "loras", "clip_skip", "init_image"}
    unused |= {"seamless_x", "seamless_y", "positive_style_prompt", "negative_style_prompt"}
    for switch, prefix in (("hrf_enabled", "hrf_"), ("refiner_model", "refiner_")):
        unused |= set() if said.get(switch) else {name for name in said if name.startswith(prefix)}
    if "txt2img" in text_of(said.get("generation_mode")):
        unused |= {"strength"}
    items = values.items(said, keys, unused)

    items |= _sampler(text_of(said.get("scheduler")))
    items |= values.size(said.get("width"), said.get("height"))
    items |= {"Model": name_of(said.get("model")), "VAE": name_of(said.get("vae"))}
    items |= {"Image": name_of(said.get("init_image"))} if "strength" not in unused else {}
    if isinstance(skipped := said.get("clip_skip"), int) and 0 < skipped < 100:
        items["Clip skip"] = str(skipped + 1)
    axes = "".join(axis for axis in "xy" if said.get(f"seamless_{axis}") is True)
    items["Tiling"] = axes.replace("xy", "True")
    added = [each for each in values.listed(said.get("loras")) if isinstance(each, dict)]
    items |= values.loras([(e.get("model", e.get("lora")), e.get("weight")) for e in added])
    for name in ("positive_style_prompt", "negative_style_prompt"):  # for XL's second encoder
        if said.get(name) != said.get(name.replace("_style", "")):
            items[name.replace("_", " ")] = values.short(written(said.get(name)))
    items["RNG"] = items.get("RNG", "cpu").upper().replace("CUDA", "GPU")
    prompts = [text_of(said.get(name)) for name in ("positive_prompt", "negative_prompt")]
    return _made(prompts, items, written(said.get("app_version")))


def _of_version_2(said: dict[str, Any]) -> Recipe:
    image = part(said, "image")
    keys = {"seed": "Seed", "steps": "Steps", "cfg_scale": "CFG scale", "sampler": "Sampler"}
    unused = {"prompt", "width", "height", "type"}
    if image.get("type") == "txt2img":
        unused |= {"strength"}
    items = values.items(image, keys | {"strength": "Denoising strength"}, unused)
    items |= values.size(image.get("width"), image.get("height"))
    items |= {"Model": name_of(said.get("model_weights")), "RNG": "GPU"}
    stated = image.get("prompt")
    parts = stated if isinstance(stated, list) else [{"prompt": stated}]
    texts = [text_of(each.get("prompt")) for each in parts if isinstance(each, dict)]
    return _made(_negative_apart(" ".join(texts)), items, written(said.get("app_version")))


def _of_version_1(command: str) -> Recipe:
    """The recipe of a command such as `"a cat [dog]" -s50 -S 7 -C7.5 -A k_lms -W 512 -H 512`."""
    found = re.match(r'\s*"([^"]*)"(.*)', command, re.S)
    if not found:
        raise ValueError("there is no prompt")
    options = dict(re.findall(r"(?<!\S)-(\w)\s*([^\s-]\S*)", found[2]))
    items = {_COMMAND[flag]: value for flag, value in options.items() if flag in _COMMAND}
    items |= values.size(options.get("W"), options.get("H")) | {"RNG": "GPU"}
    return _made(_negative_apart(found[1]), items, "")


def _made(prompts: list[str], items: dict[str, str], version: str) -> Recipe:
    items["prompts joined by"] = " ".join(filter(None, map(grammars.joins, prompts)))
    texts = [grammars.from_invokeai(text) for text in prompts]
    return values.recipe(texts, items, f"InvokeAI {version}", interpolates=True)


def _sampler(name: str) -> dict[str, str]:
    """Sampler and schedule in one of InvokeAI's names, such as "dpmpp_2m_k"."""
    if name.endswith("_k"):
        return {"Sampler": name.removesuffix("_k"), "Schedule type": "Karras"}
    return {"Sampler": name} | ({} if name in _OWN_SCHEDULE else {"Schedule type": "Uniform"})


def _negative_apart(prompt: str) -> list[str]:
    """A prompt without what stands in square brackets, and that by itself."""
    found = re.findall(r"\[([^\[\]]*)\]", prompt)
    return [re.sub(r" ?\[[^\[\]]*\]", "", prompt).strip(), ", ".join(map(str.strip, found))]
