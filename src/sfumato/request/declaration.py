"""The fields of a request, each declared once: type, default, range, help, key in the recipe.

Python, the command line, HTTP, recipes and the reference page have them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sfumato.request.adapter_kinds import Folder, Loras
from sfumato.request.control import Control, Controls
from sfumato.request.embeddings import Embeddings
from sfumato.request.fields import Record, declared
from sfumato.request.guidance_kinds import Tuned
from sfumato.request.image_prompts import ImagePrompt, ImagePrompts
from sfumato.request.kinds import (
    Choice,
    Interval,
    Kind,
    Label,
    Number,
    Options,
    Sides,
    Timesteps,
    Whole,
)
from sfumato.request.room_kinds import (
    Autoencoder,
    ModelName,
    Name,
    Pixels,
    Refiner,
    Upscaler,
    Wildcards,
)
from sfumato.request.seed_kinds import Axes, Seed, Size

if TYPE_CHECKING:
    import numpy as np

    from sfumato.adapters.embedding import Embedding

DTYPES = ("float32", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
SAFETY = ("off", "flag", "blur")
"""What is done with pictures that look sexual, the weakest first."""
EMPHASES = ("original", "no_norm", "comfyui", "ignore", "none")

what = partial(declared, group="what to paint")
which = partial(declared, group="which model")
how = partial(declared, group="how to paint it")
less = partial(declared, group="with less work, not quite the same picture")
begin = partial(declared, group="from a picture")
lead = partial(declared, group="led by a picture")
larger = partial(declared, group="larger, by a second pass")
after = partial(declared, group="what comes out")
noted = partial(declared, group="")  # no choice of the user, and no option on the command line


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Fields(Record):
    """What can be asked for; None leaves a choice to the model."""

    prompt: str = what(..., Kind(), "", "the words")
    negative_prompt: str | None = what(
        None, Kind(), "", "what to keep out of the picture", "--negative"
    )
    prompt_syntax: str = what(
        *("a1111", Choice(("a1111", "plain")), "Prompt syntax"),
        "the grammar of the words: weights, changes, draws (a1111), or plain [a1111]",
    )
    emphasis: str = what(
        *("original", Label(EMPHASES), "Emphasis"),
        "how weights act, such as no_norm or comfyui [original]",
    )
    clip_skip: int = what(
        1, Whole(1), "Clip skip", "the layer of the text encoder, counted from the last one [1]"
    )
    wildcards: Mapping[str, tuple[str, ...]] = what(
        {}, Wildcards(), "", "folder of lists to draw words from [none]"
    )
    embeddings: Mapping[str, Embedding] = what(
        {}, Embeddings(), "", "folder of learned words, which the words may name [none]"
    )
    width: int | None = what(None, Whole(8), "", "in pixels, a multiple of 8 [the model's]")
    height: int | None = what(None, Whole(8), "", "in pixels, a multiple of 8 [the model's]")
    count: int = what(1, Whole(1), "", "pictures per prompt [1]", "-n")
    seed: int | None = what(None, Seed(), "Seed", "of the first picture, then N + 1; -1: any [any]")
    variation_seed: int | None = what(
        *(None, Seed(), "Variation seed"),
        "of noise that is mixed in; with it pictures share the seed and count this up [any]",
    )
    variation_strength: float = what(
        0.0, Number(0, 1), "Variation seed strength", "how much of it is mixed in, up to 1 [0]"
    )
    seed_resize: tuple[int, int] | None = what(
        *(None, Size(), "Seed resize from"),
        "size whose noise for the seed stays in the middle [the picture's]",
    )

    model: str | None = which(
        None, ModelName(), "Model", "preset, folder, file or Hub repository [mini]"
    )
    dtype: str | None = which(None, Choice(DTYPES), "Precision", "such as mixed_bfloat16 [float32]")
    quantize: str | None = which(
        None, Choice(("int8",)), "Quantization", "int8: faster on OpenVINO"
    )
    loras: tuple[tuple[str, Any], ...] = which(
        *((), Loras(), "Loras"),
        *("a LoRA and its weight; may be given several times [none]", "--lora"),
    )
    lora_folder: str | None = which(
        None, Folder(), "", "folder of the LoRAs that <lora:NAME:0.8> names in prompts [none]"
    )
    decoder: str | None = which(
        *(None, Autoencoder(), "VAE"),
        "another autoencoder: tiny, a file, folder or Hub repository [the model's]",
        "--vae",
    )

    refiner: str | None = which(
        *(None, Refiner(), "Refiner"),
        "a model that does the last steps, such as XL's refiner [none]",
    )
    refiner_switch: float = which(
        *(0.8, Number(0, 1, above=True), "Refiner switch at"),
        "the part of the noise's way after which it takes over, up to 1 [0.8]",
    )

    steps: int | None = how(None, Whole(1), "Steps", "denoising steps [the model's, mostly 25]")
    guidance: float | None = how(
        None, Number(0), "CFG scale", "how closely to follow the words [the model's]"
    )
    distilled_guidance: float | None = how(
        *(None, Number(0), "Distilled CFG Scale"),
        "guidance as an input of the network, for LCM models [`guidance`]",
    )
    image_guidance: float | None = how(
        *(None, Number(0), "Image CFG scale"),
        "how closely to follow the picture, for models that edit [1.5]",
    )
    sampler: Any = how(
        None, Name("sampler"), "Sampler", "such as dpmpp_2m, euler_a, ddim [the model's]"
    )
    schedule: Any = how(
        None, Name("schedule"), "Schedule type", "noise levels, such as karras [the model's]"
    )
    timesteps: tuple[int, ...] | None = how(
        *(None, Timesteps(), "Timesteps"),
        "steps of the training in place of a schedule, such as 999,749,499,249 [the schedule's]",
    )
    sampler_options: Mapping[str, Any] = how(
        {}, Options(), "Sampler options", "of sampler and schedule: eta=0.5,rho=5 [none]"
    )
    guidance_rescale: float = how(
        *(0.0, Number(0, 1), "Guidance rescale"),
        "against overexposure by strong guidance, up to 1 [0]",
    )
    pag_scale: float = how(
        *(0.0, Number(0), "PAG scale"),
        "strength of perturbed attention, such as 3 [0]",
    )
    apg: Mapping[str, float] | None = how(
        *(None, Tuned(eta=Number(-10, 10), momentum=Number(-1, 1), norm_threshold=Number(0))),
        *("APG", "projected guidance: on, or eta=0,momentum=-0.5,norm_threshold=15 [off]"),
    )
    freeu: Mapping[str, float] | None = how(
        *(None, Tuned(s1=Number(0), s2=Number(0), b1=Number(0), b2=Number(0)), "FreeU"),
        "clearer shapes: on, or s1=0.9,s2=0.2,b1=1.3,b2=1.4 [off]",
    )
    seamless: str | None = how(
        *(None, Axes(("x", "y", "both")), "Tiling"),
        "x, y or both: a tile whose edges fit together [none]",
    )

    guidance_interval: tuple[float, float] = less(
        *((0.0, 1.0), Interval(), "Guidance interval"),
        "guide only from this part of the steps to that [0:1]",
    )
    feature_reuse: int = less(
        1, Whole(1), "Feature reuse", "run the deep part of the network every N-th time [1]"
    )
    token_merging: float = less(
        0.0, Number(0, 0.75), "Token merging", "merge this part of the tokens, up to 0.75 [0]"
    )

    image: np.ndarray | None = begin(None, Pixels(), "", "the picture to begin from")
    mask: np.ndarray | None = begin(
        None, Pixels(mask=True), "", "white where to paint the picture again"
    )
    strength: float | None = begin(
        *(None, Number(0, 1, above=True), "Denoising strength"),
        "part of the steps that is done [0.8, with a mask 1]",
    )
    mask_blur: float = begin(
        0.0, Number(0, 512), "Mask blur", "soften the edge of the mask by X pixels [0]"
    )
    inpaint_area: str = begin(
        *("whole", Label(("whole", "masked"), masked="Only masked"), "Inpaint area"),
        "masked: paint that part alone, at the full size [whole]",
    )
    padding: int = begin(
        32, Whole(0), "Masked area padding", "pixels around that part, to be seen as well [32]"
    )
    extend: Mapping[str, int] = begin(
        {}, Sides(), "Extend", "paint on at these sides: left=128,top=64 [none]"
    )
    resize: str | None = begin(
        *(None, Choice(("crop", "fill", "stretch")), "Resize"),
        "to the size asked for: crop, fill or stretch [refuse]",
    )

    controls: tuple[Control, ...] = lead(
        *((), Controls(), ""),
        "a ControlNet and its picture, such as FILE:IMAGE:canny,weight=0.8; may be given several "
        "times [none]",
        "--control",
    )
    control_folder: str | None = lead(
        *(None, Folder(), ""),
        "folder of ControlNets and IP-Adapters that are named without their place [none]",
    )
    image_prompts: tuple[ImagePrompt, ...] = lead(
        *((), ImagePrompts(), ""),
        "an IP-Adapter and a picture as a prompt; may be given several times [none]",
        "--image-prompt",
    )

    upscale: float | None = larger(
        None, Number(1, 8), "Hires upscale", "how many times larger, from 1 to 8 [one pass]"
    )
    upscale_steps: int | None = larger(
        None, Whole(1), "Hires steps", "steps of the second pass [as the first]"
    )
    upscale_strength: float | None = larger(
        *(None, Number(0, 1, above=True), "Denoising strength"),
        "how much the second pass changes, up to 1 [0.7]",
    )
    upscaler: str | None = larger(
        *(None, Upscaler(), "Hires upscaler"),
        "before it: latent, esrgan, lanczos, ... or a network's FILE [latent]",
    )

    safety: str = after(
        *("off", Choice(SAFETY), "Safety"),
        "what to do with pictures that look sexual: flag them, or blur them, too [off]",
    )

    template: str | None = noted(None, Kind(), "Template", "the prompt before it was drawn")
    negative_template: str | None = noted(
        None, Kind(), "Negative Template", "the negative prompt before it was drawn"
    )
    image_name: str | None = noted(None, Kind(), "Image", "the name of the picture's file")
