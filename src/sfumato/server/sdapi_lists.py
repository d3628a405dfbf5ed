"""What A1111's clients ask for before they ask for a picture: lists, options, defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from sfumato import diffusion
from sfumato.presets import upscalers
from sfumato.server.adapters import Adapters
from sfumato.server.sdapi_order import NO_UPSCALER

OPTIONS: dict[str, Any] = {
    "samples_format": "png",
    "sd_model_checkpoint": "",
    "sd_checkpoint_hash": "",
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "eta_noise_seed_delta": 0,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 1,
    "enable_pnginfo": True,
    "randn_source": "NV",
}
"""The settings that clients read; they cannot do without the first two."""

DEFAULTS = (
    *("prompt", "negative_prompt", "seed", "subseed", "subseed_strength", "seed_resize_from_h"),
    *("seed_resize_from_w", "sampler_name", "scheduler", "batch_size", "n_iter", "steps"),
    *("cfg_scale", "width", "height", "tiling", "eta", "denoising_strength", "clip_skip"),
    *("mask_blur", "inpaint_full_res", "inpaint_full_res_padding", "inpainting_mask_invert"),
    *("resize_mode", "enable_hr", "hr_scale", "hr_upscaler", "hr_second_pass_steps"),
    *("hr_resize_x", "hr_resize_y"),
)
"""The fields that an answer tells back."""


def label_of(sampler: Any) -> str:
    return diffusion.find_sampler(sampler).label


def model(name: str) -> dict[str, Any]:
    facts = {"title": name, "model_name": name, "filename": name}
    return facts | dict.fromkeys(("hash", "sha256", "config"))


def _samplers() -> list[dict[str, Any]]:
    return [
        {
            "name": row.label,
            "aliases": [row.name, *row.aliases],
            "options": {"scheduler": row.schedule},
        }
        for row in diffusion.SAMPLERS.values()
    ]


def _schedulers() -> list[dict[str, Any]]:
    rows = [("automatic", "Automatic", ())]
    rows += [(row.name, row.label, row.aliases) for row in diffusion.SCHEDULES.values()]
    return [
        {
            "name": name,
            "label": label,
            "aliases": [*aliases],
            "default_rho": 7.0 if name == "karras" else -1.0,
            "need_inner_model": False,
        }
        for name, label, aliases in rows
    ]


def _upscalers() -> list[dict[str, Any]]:
    nothing = dict.fromkeys(("model_name", "model_path", "model_url"))
    names = [NO_UPSCALER, *map(upscalers.label, upscalers.PICTURES)]
    return [{"name": name, **nothing, "scale": 4} for name in names]


def _latent_modes() -> list[dict[str, str]]:
    return [{"name": upscalers.label(name)} for name in upscalers.LATENTS]


def memory() -> dict[str, Any]:
    """The memory of this process and of the machine, in bytes."""
    machine, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return {"ram": {"free": machine.available, "used": own, "total": machine.total}, "cuda": {}}


def _loras(adapters: Adapters) -> list[dict[str, Any]]:
    return [{"name": n, "alias": n, "path": n, "metadata": {}} for n in adapters.loras]


def _embeddings(adapters: Adapters) -> dict[str, Any]:
    nothing = dict.fromkeys(("step", "sd_checkpoint", "sd_checkpoint_name"))
    loaded = {
        name: {**nothing, "shape": word.widths[0], "vectors": len(word)}
        for name, word in adapters.words.items()
    }
    return {"loaded": loaded, "skipped": {}}


OWN: dict[str, Callable[[Adapters], Any]] = {"loras": _loras, "embeddings": _embeddings}
"""The lists of what this server has, by their path."""
LISTS: dict[str, Callable[[], Any]] = {
    "samplers": _samplers,
    "schedulers": _schedulers,
    "upscalers": _upscalers,
    "latent-upscale-modes": _latent_modes,
    "sd-vae": lambda: [{"model_name": "Automatic", "filename": ""}],
    "scripts": lambda: {"txt2img": [], "img2img": []},
    "cmd-flags": dict,
    **dict.fromkeys(
        (
            *("sd-modules", "hypernetworks", "prompt-styles"),
            *("face-restorers", "realesrgan-models", "script-info", "extensions"),
        ),
        list,
    ),
}
"""The lists by their path; clients take an empty one, and not an error."""
