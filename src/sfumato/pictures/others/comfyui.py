"""ComfyUI's recipes: a graph of nodes. The standard graph is followed, every other node is named.

A node has a class and inputs. An input is a value, or a link: the name of another node and the
number of its output. The graph is a stranger's: it may have circles, and links to nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sfumato.pictures.others import grammars, values
from sfumato.pictures.others.values import name_of, part, text_of, written
from sfumato.pictures.recipe import Recipe

_SAMPLERS = ("KSampler", "KSamplerAdvanced")
_PLAIN = re.compile("Save|Preview|VAEDecode|^LoadImage$|^Reroute$|Note")  # without an effect
# The inputs through which something comes into a node that hands it on.
_MODEL, _CLIP, _LATENTS = ("model",), ("clip",), ("samples", "latent_image", "latent")
_CONDITIONING = ("conditioning", "conditioning_1", "conditioning_to")
# The inputs in which nodes keep a value that is nobody's setting.
_KEEPERS = ("value", "text", "string", "seed", "int", "float", "number")
_MANY = 100  # samplers, each of which may go on with a long chain

# The inputs of a sampler, and the keys of items for those that are settings of ours.
_SAID = {
    **dict.fromkeys(("seed", "noise_seed"), "Seed"),
    "steps": "Steps",
    "cfg": "CFG scale",
    "sampler_name": "Sampler",
    "scheduler": "Schedule type",
    **dict.fromkeys(("denoise", "start_at_step", "end_at_step", "add_noise"), ""),
}


def read(texts: Mapping[str, str]) -> Recipe:
    """The recipe that the graph among a picture's texts states.

    It stands in a PNG's chunk "prompt", or in an EXIF tag that begins with "prompt:".
    """
    for text in (texts.get("prompt", ""), *texts.values()):
        if '"class_type"' in text:
            return _Graph(values.from_json(text.removeprefix("prompt:"))).recipe()
    raise ValueError("there is no node with a class")


class _Graph:
    """A graph; its nodes are noted when they are understood."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.classes = {name: text_of(part(nodes, name).get("class_type")) for name in nodes}
        self.inputs = {name: part(part(nodes, name), "inputs") for name in nodes}
        self.understood: set[str] = set()

    def recipe(self) -> Recipe:
        """The recipe; ValueError unless one sampler begins the picture."""
        sampler = self.first_sampler()
        said = {name: self.value(sampler, name) for name in _SAID}
        items = {key: said[name] for name, key in _SAID.items() if key and said[name]}
        items |= _left_out(said) | self.latents(sampler, said) | self.model(sampler)
        prompts = [self.prompt(sampler, side, items) for side in ("positive", "negative")]

        others = {kind for name, kind in self.classes.items() if name not in self.understood}
        names = sorted(kind for kind in others if kind and not _PLAIN.search(kind))
        items |= {"Nodes": values.short(", ".join(names)), "RNG": "CPU"}
        return values.recipe(prompts, items, "ComfyUI", interpolates=True)

    def first_sampler(self) -> str:
        """The sampler that does not go on with the latents of another."""
        samplers = [name for name, kind in self.classes.items() if kind in _SAMPLERS]
        chains = {n: self.chain(n, "latent_image", _LATENTS) for n in samplers[:_MANY]}
        first = [name for name, chain in chains.items() if chains.keys().isdisjoint(chain)]
        if len(first) != 1 or len(samplers) > _MANY:
            raise ValueError(f"one KSampler must begin the picture. Received: {len(first)}")
        self.understood.add(first[0])
        return first[0]

    def latents(self, sampler: str, said: dict[str, str]) -> dict[str, str]:
        """The items for the size, or for the picture and how much of it is painted again."""
        for name in self.chain(sampler, "latent_image", _LATENTS):
            if self.classes[name] in ("EmptyLatentImage", "EmptySD3LatentImage"):
                self.understood.add(name)
                batch = self.value(name, "batch_size")
                size = values.size(self.value(name, "width"), self.value(name, "height"))
                return size | {"batch size": "" if batch == "1" else batch}
            if self.classes[name] == "VAEEncode":
                self.understood.add(name)
                file = self.inputs.get(self.link(name, "pixels"), {}).get("image")
                return {"Image": name_of(file)} | _strength(said)
        return {}

    def model(self, sampler: str) -> dict[str, str]:
        """The items for the checkpoint, its LoRAs and the rescaling of guidance."""
        items, loras = {}, []
        for name in self.chain(sampler, "model", _MODEL):
            kind, inputs = self.classes[name], self.inputs[name]
            if kind.startswith("CheckpointLoader"):
                items["Model"] = name_of(inputs.get("ckpt_name"))
            elif kind in ("LoraLoader", "LoraLoaderModelOnly"):
                loras.append((inputs.get("lora_name"), self.strength(name)))
            elif kind == "RescaleCFG":
                items["Guidance rescale"] = self.value(name, "multiplier")
            else:
                continue
            self.understood.add(name)
        return items | values.loras(loras[::-1])

    def strength(self, lora: str) -> str:
        """The weight of a LoRA, or those of the U-Net and the text encoder."""
        unet = self.value(lora, "strength_model") or "1"
        text = self.value(lora, "strength_clip") or "0"
        return unet if unet == text else f"unet={unet},text={text}"

    def prompt(self, sampler: str, side: str, items: dict[str, str]) -> str:
        """The prompt of a side, "positive" or "negative"; notes the layer of its encoder."""
        for name in self.chain(sampler, side, (side, *_CONDITIONING)):
            if self.classes[name] not in ("CLIPTextEncode", "CLIPTextEncodeSDXL"):
                continue
            self.understood.add(name)
            for encoder in self.chain(name, "clip", _CLIP):
                layer = self.value(encoder, "stop_at_clip_layer")
                if self.classes[encoder] == "CLIPSetLastLayer" and layer.startswith("-"):
                    self.understood.add(encoder)
                    items["Clip skip"] = layer[1:]
            texts = [self.value(name, key) for key in ("text", "text_g", "text_l")]
            if texts[2] not in texts[:2]:
                items[f"{side} text l"] = values.short(texts[2])
            return grammars.from_comfyui(texts[0] or texts[1])
        return ""

    # Links

    def link(self, name: str, key: str) -> str:
        """The node to which an input links; empty if it does not."""
        match self.inputs[name].get(key):
            case [str() | int() as target, *_] if str(target) in self.inputs:
                return str(target)
        return ""

    def chain(self, name: str, key: str, onward: tuple[str, ...]) -> Iterator[str]:
        """The nodes from which an input comes, through others that hand it on."""
        seen = {name}
        name = self.link(name, key)
        while name and name not in seen:
            yield name
            seen.add(name)
            links = (self.link(name, key) for key in onward)
            name = next(filter(None, links), "")

    def value(self, name: str, key: str) -> str:
        """The value of an input as text, which another node may keep; empty: not known."""
        places = [(name, key)]
        places += [(n, k) for n in self.chain(name, key, _KEEPERS) for k in (key, *_KEEPERS)]
        for keeper, each in places:
            value = self.inputs[keeper].get(each)
            if isinstance(value, (str, int, float)):
                if self.classes[keeper].startswith("Primitive"):
                    self.understood.add(keeper)
                return value if isinstance(value, str) else written(value) or "0"
        return ""


def _strength(said: dict[str, str]) -> dict[str, str]:
    """Steps and strength for a sampler that makes all its steps for a part of the noise."""
    steps, denoise = (values.number(said[name]) for name in ("steps", "denoise"))
    if not steps or not denoise or not 1 <= steps <= 1000 or not 0.001 < denoise < 1:
        return {"Denoising strength": said["denoise"]}
    total = int(steps / denoise)
    if int(total * denoise) != steps:
        denoise = min(round((steps + 0.5) / total, 4), 1.0)
    return {"Steps": str(total), "Denoising strength": f"{denoise:g}"}


def _left_out(said: dict[str, str]) -> dict[str, str]:
    """The items for what an advanced sampler leaves to others."""
    steps, last = (values.number(said[name]) for name in ("steps", "end_at_step"))
    return {
        "start at step": said["start_at_step"] if values.number(said["start_at_step"]) else "",
        "end at step": said["end_at_step"] if (last or 0) < (steps or 0) and last else "",
        "add noise": "" if said["add_noise"] == "enable" else said["add_noise"],
    }
