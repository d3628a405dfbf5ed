"""The recipes of programs that write a list of settings as JSON: Fooocus, SwarmUI, NovelAI.

Each function reads the texts of a picture's file and gives the recipe in A1111's words. What is no
setting of A1111 keeps the program's own name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sfumato.pictures.others import grammars, values
from sfumato.pictures.others.values import name_of, part, text_of, written
from sfumato.pictures.recipe import Recipe

# Names of what does not change a picture, or is read by itself.
_FOOOCUS = {
    *("metadata_scheme", "version", "created_by", "prompt", "negative_prompt", "full_prompt"),
    *("full_negative_prompt", "prompt_expansion", "resolution", "vae", "loras"),
}
_SWARMUI = {
    *("prompt", "negativeprompt", "model", "width", "height", "loras", "loraweights", "images"),
    *(
        "clipstopatlayer",
        "aspectratio",
        "swarm_version",
        "automaticvae",
        "nopreviews",
        "sidelength",
    ),
    *("imageformat", "wildcardseed", "variationseed", "donotsave", "personalnote", "colordepth"),
}
_NOVELAI = {
    *("prompt", "uc", "height", "width", "n_samples", "request_type", "signed_hash", "version"),
    *("hide_debug_overlay", "v4_prompt", "v4_negative_prompt", "uncond_per_vibe", "stream"),
    "wonky_vibe_correlation",
}


def read_fooocus(texts: Mapping[str, str]) -> Recipe:
    """Fooocus' recipe. Its prompts with the words of its styles are sections of ours."""
    said = values.object_in(texts, "prompt")
    keys = {"seed": "Seed", "steps": "Steps", "guidance_scale": "CFG scale", "sampler": "Sampler"}
    keys |= {"scheduler": "Schedule type", "base_model": "Model", "base_model_hash": "Model hash"}
    unused = _FOOOCUS | {name for name in said if name.startswith("lora_combined_")}
    if said.get("refiner_model") in (None, "", "None"):
        unused |= {name for name in said if name.startswith("refiner_")}
    if said.get("performance") in ("Quality", "Speed"):  # the others have a LoRA of their own
        unused |= {"performance"}
    sides = {"prompt": "full_prompt", "negative_prompt": "full_negative_prompt"}
    sections = {name: _texts(said.get(full)) for name, full in sides.items()}
    unused |= {"styles"} if sections["prompt"] else set()
    items = values.items(said, keys | {"clip_skip": "Clip skip"}, unused)

    size = re.findall(r"\d+", text_of(said.get("resolution"))[:40])
    items |= values.size(*size) if len(size) == 2 else {}
    added = [each for each in values.listed(said.get("loras")) if isinstance(each, list)]
    items |= values.loras([(each[0], each[1]) for each in added if len(each) > 1])
    vae = text_of(said.get("vae"))
    items |= {"VAE": "" if vae.startswith("Default") else vae, "RNG": "CPU"}
    prompts = [
        " BREAK ".join(map(grammars.from_comfyui, sections[name] or [text_of(said.get(name))]))
        for name in sides
    ]
    version = text_of(said.get("version"))
    return values.recipe(prompts, items, version if "ooocus" in version else "Fooocus")


def read_swarmui(texts: Mapping[str, str]) -> Recipe:
    """SwarmUI's recipe."""
    said = part(values.object_in(texts, "sui_image_params"), "sui_image_params")
    said = {"sampler": "euler", "scheduler": "normal"} | said  # what it uses where it says nothing
    keys = {"seed": "Seed", "steps": "Steps", "cfgscale": "CFG scale", "sampler": "Sampler"}
    keys |= {"scheduler": "Schedule type", "initimagecreativity": "Denoising strength"}
    keys |= {"variationseedstrength": "Variation seed strength", "vae": "VAE"}
    if said.get("variationseedstrength"):
        keys |= {"variationseed": "Variation seed"}
    items = values.items(said, keys, _SWARMUI)

    items |= values.size(said.get("width"), said.get("height"))
    items |= {"Model": name_of(said.get("model")), "RNG": "CPU"}
    if layer := re.fullmatch(r"-(\d{1,2})", written(said.get("clipstopatlayer"))):
        items["Clip skip"] = layer[1]
    names, weights = (values.listed(said.get(name)) for name in ("loras", "loraweights"))
    items |= values.loras([*zip(names, weights + [1] * len(names), strict=False)])
    prompts = [text_of(said.get(name)) for name in ("prompt", "negativeprompt")]
    prompts = [grammars.from_comfyui(text, keep="[]") for text in prompts]
    program = f"SwarmUI {written(said.get('swarm_version'))}"
    return values.recipe(prompts, items, program, interpolates=True)


def read_novelai(texts: Mapping[str, str]) -> Recipe:
    """NovelAI's recipe. Its models are nobody else's; its random numbers are not known."""
    whole = texts
    if "Comment" not in texts:  # all texts in one, as in WebP
        whole = values.object_in(texts, "Comment")
    comment = whole.get("Comment")
    said = comment if isinstance(comment, dict) else values.from_json(text_of(comment))
    keys = {"seed": "Seed", "steps": "Steps", "scale": "CFG scale", "sampler": "Sampler"}
    keys |= {"cfg_rescale": "Guidance rescale", "noise_schedule": "Schedule type"}
    keys |= {"strength": "Denoising strength"}
    unused = set(_NOVELAI)
    if not re.match("Img2Img|NativeInfilling", text_of(said.get("request_type"))):
        unused |= {"strength", "noise"}
    if not said.get("dynamic_thresholding"):
        unused |= {name for name in said if name.startswith("dynamic_thresholding_")}
    unused |= set() if said.get("controlnet_model") else {"controlnet_strength"}
    unused |= {"uncond_scale"} if said.get("uncond_scale") == 1 else set()
    items = values.items(said, keys, unused)

    if items.get("Schedule type") == "native":
        items["Schedule type"] = "Uniform"
    items |= values.size(said.get("width"), said.get("height"))
    people = part(part(said, "v4_prompt"), "caption").get("char_captions")
    items["character prompts"] = values.short(written(people))
    items |= {"Model": text_of(whole.get("Source")), "RNG": "NovelAI"}
    prompt = text_of(said.get("prompt")) or text_of(whole.get("Description"))
    prompts = [grammars.from_novelai(text) for text in (prompt, text_of(said.get("uc")))]
    return values.recipe(prompts, items, "NovelAI")


def _texts(value: object) -> list[str]:
    return [text for text in values.listed(value) if isinstance(text, str) and text.strip()]
