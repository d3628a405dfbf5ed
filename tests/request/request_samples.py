"""Values of every field of a request, drawn at random and as they stand on a command line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from fake_models import FakeSettings
from sfumato.adapters.embedding import Embedding, read_embedding
from sfumato.checkpoints.safetensors import write_safetensors
from sfumato.diffusion import SAMPLERS, SCHEDULES
from sfumato.pictures.canvas import RESIZES, SIDES
from sfumato.request.control import Control
from sfumato.request.declaration import EMPHASES
from sfumato.request.image_prompts import ImagePrompt

MODEL = FakeSettings()
IMAGE = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
MASK = np.random.default_rng(2).integers(0, 256, (16, 24), np.uint8)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
UNIT = st.floats(0, 1)
OPTIONS = st.dictionaries(
    st.from_regex(r"[a-z_]{1,9}", fullmatch=True),
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just("sdxl"),
    max_size=3,
)
PIXELS = st.integers(0, 255).map(lambda shade: np.full((8, 16, 3), shade, np.uint8))
MASKS = st.sampled_from([0, *range(2, 256)]).map(lambda shade: np.full((8, 16), shade, np.uint8))
LISTS = st.dictionaries(TEXTS, st.lists(TEXTS).map(tuple), max_size=3)
CONTROLS = st.builds(
    Control,
    file=st.from_regex(r"[\w-]{1,9}", fullmatch=True),
    preprocessor=st.sampled_from(["none", "canny", "recolour", "grey", "inpaint"]),
    weight=st.floats(0, 1e300),
    resize=st.sampled_from(RESIZES),
    start=UNIT,
    end=UNIT,
    mode=st.sampled_from(["balanced", "prompt", "control", "guess"]),
)
PROMPTS = st.builds(
    ImagePrompt, file=st.from_regex(r"[\w-]{1,9}", fullmatch=True), weight=st.floats(-10, 10)
)
WEIGHTS = st.floats(allow_nan=False, allow_infinity=False)
PAIRS = st.dictionaries(st.sampled_from(["unet", "text", "mid_block.resnets"]), WEIGHTS, min_size=1)
LORAS = st.tuples(st.from_regex(r"[\w-]{1,9}", fullmatch=True), WEIGHTS | PAIRS)
WORD = np.arange(6, dtype="float32").reshape(2, 3)


def write_word(folder: Path) -> Path:
    write_safetensors(folder / "easy.safetensors", {"emb_params": WORD})
    return folder / "easy.safetensors"


with tempfile.TemporaryDirectory() as _folder:
    EASY = read_embedding(write_word(Path(_folder)))
EMBEDDINGS = st.dictionaries(
    TEXTS.filter(str.strip),
    st.integers(1, 2).map(lambda n: Embedding((WORD[:n],), "a" * 64)),
    max_size=2,
)
VALUES = {
    "prompt": TEXTS,
    "negative_prompt": TEXTS,
    "prompt_syntax": st.sampled_from(["a1111", "plain"]),
    "emphasis": st.sampled_from(EMPHASES),
    "clip_skip": st.integers(1, 10**9),
    "wildcards": LISTS,
    "embeddings": EMBEDDINGS,
    "template": TEXTS.filter(bool),
    "negative_template": TEXTS.filter(bool),
    "width": st.integers(8, 99_999),
    "height": st.integers(8, 99_999),
    "count": st.integers(1, 10**9),
    "seed": st.integers(0, 2**64 - 1),
    "variation_seed": st.integers(0, 2**64 - 1),
    "variation_strength": UNIT,
    "seed_resize": st.tuples(*[st.integers(1, 9999).map(lambda n: 8 * n)] * 2),
    "model": st.sampled_from(["sd1.5", "someone/something", "v1-5, pruned: 'a' \"b\"", "猫"]),
    "dtype": st.sampled_from(["float32", "mixed_bfloat16"]),
    "quantize": st.just("int8"),
    "loras": st.lists(LORAS, max_size=3),
    "lora_folder": st.just("."),
    "decoder": st.just("tiny"),
    "refiner": st.sampled_from(["sdxl-base", "sdxl-refiner"]),
    "refiner_switch": st.floats(0, 1, exclude_min=True),
    "steps": st.integers(1, 10**9),
    "guidance": st.floats(0, 1e300),
    "distilled_guidance": st.floats(0, 1e300),
    "image_guidance": st.floats(0, 1e300),
    "sampler": st.sampled_from([*SAMPLERS]),
    "schedule": st.sampled_from([*SCHEDULES]),
    "timesteps": st.sets(st.integers(0, 10**9), min_size=1, max_size=5).map(tuple),
    "sampler_options": OPTIONS,
    "guidance_rescale": UNIT,
    "pag_scale": st.floats(0, 1e300),
    "apg": st.dictionaries(st.sampled_from(["eta", "momentum"]), st.floats(-1, 1)),
    "freeu": st.dictionaries(st.sampled_from(["s1", "s2", "b1", "b2"]), st.floats(0, 1e300)),
    "seamless": st.sampled_from(["x", "y", "both"]),
    "guidance_interval": st.tuples(UNIT, UNIT).filter(lambda pair: pair[0] < pair[1]),
    "feature_reuse": st.integers(1, 10**9),
    "token_merging": st.floats(0, 0.75),
    "image": PIXELS,
    "mask": MASKS,
    "strength": st.floats(0, 1, exclude_min=True),
    "mask_blur": st.floats(0, 512),
    "inpaint_area": st.sampled_from(["whole", "masked"]),
    "padding": st.integers(0, 10**9),
    "extend": st.dictionaries(st.sampled_from(SIDES), st.integers(0, 2**26)),
    "resize": st.sampled_from(RESIZES),
    "controls": st.lists(CONTROLS, max_size=3).map(tuple),
    "control_folder": st.just("."),
    "image_prompts": st.lists(PROMPTS, max_size=3).map(tuple),
    "upscale": st.floats(1, 8),
    "upscale_steps": st.integers(1, 10**6),
    "upscale_strength": st.floats(0, 1, exclude_min=True),
    "upscaler": st.sampled_from(["latent", "latent_nearest_exact", "esrgan", "lanczos"]),
    "safety": st.sampled_from(["flag", "blur"]),
    "image_name": TEXTS.filter(bool),
}
CONTROL = "edges:canny,weight=0.8"
# A value of each field that is not its default, and the same as it stands on a command line.
SAMPLES = {
    "negative_prompt": ("blurry,\nlow quality", "blurry,\nlow quality"),
    "prompt_syntax": ("plain", "plain"),
    "emphasis": ("no_norm", "No norm"),
    "clip_skip": (2, "2"),
    "wildcards": ({"colours/warm": ("red", "amber")}, "lists"),
    "embeddings": ({"easy": EASY}, "words"),
    "width": (24, "24"),
    "height": (16, "16"),
    "count": (3, "3"),
    "seed": (2**64 - 1, "18446744073709551615"),
    "variation_seed": (7, "7"),
    "variation_strength": (0.2, "0.2"),
    "seed_resize": ((24, 64), "24x64"),
    "model": ("sd1.5", "sd1.5"),
    "dtype": ("mixed_bfloat16", "mixed_bfloat16"),
    "quantize": ("int8", "int8"),
    "loras": ((("film", (("text", 0.5), ("unet", 0.8))),), "film:unet=0.8,text=0.5"),
    "lora_folder": (".", "."),
    "decoder": ("tiny", "tiny"),
    "refiner": ("sdxl-base", "sdxl-base"),
    "refiner_switch": (0.6, "0.6"),
    "steps": (20, "20"),
    "guidance": (7.5, "7.5"),
    "distilled_guidance": (8.5, "8.5"),
    "image_guidance": (1.5, "1.5"),
    "sampler": ("euler_a", "k_euler_ancestral"),
    "schedule": ("kl_optimal", "KL Optimal"),
    "timesteps": ((999, 499), "499, 999"),
    "sampler_options": ({"rho": 5, "eta": 0.5}, "eta=0.5,rho=5"),
    "guidance_rescale": (0.7, "0.7"),
    "pag_scale": (3.0, "3"),
    "apg": ({"eta": 0.5, "momentum": -0.75}, "momentum=-0.75,eta=0.5"),
    "freeu": ({}, "on"),
    "seamless": ("both", "True"),
    "guidance_interval": ((0.2, 0.8), "0.2:0.8"),
    "feature_reuse": (2, "2"),
    "token_merging": (0.5, "0.5"),
    "image": (IMAGE, "image.png"),
    "mask": (MASK, "mask.png"),
    "strength": (0.6, "0.6"),
    "mask_blur": (4.5, "4.5"),
    "inpaint_area": ("masked", "Only masked"),
    "padding": (16, "16"),
    "extend": ({"left": 8, "top": 16}, "top=16,left=8,right=0"),
    "resize": ("crop", "crop"),
    "controls": ((Control(file="edges", preprocessor="canny", weight=0.8),), CONTROL),
    "control_folder": (".", "."),
    "image_prompts": ((ImagePrompt(file="ip", image=IMAGE, weight=0.5),), "ip:image.png:0.5"),
    "upscale": (1.5, "1.5"),
    "upscale_steps": (7, "7"),
    "upscale_strength": (0.45, "0.45"),
    "upscaler": ("latent_bicubic", "Latent (bicubic)"),
    "safety": ("blur", "blur"),
}
