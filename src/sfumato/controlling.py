"""The ControlNets of a loop: loaded, shown their pictures, and asked at each evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sfumato import programs, runtime
from sfumato.adapters.controlnet import read_controlnet
from sfumato.checkpoints.filling import fill
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.conditioning import Told
from sfumato.diffusion.plan import Plan
from sfumato.diffusion.shortcuts import Evaluation
from sfumato.finite import unsound_weight
from sfumato.networks.configs import ControlNetConfig, UNetConfig
from sfumato.networks.controlnet import ControlNet
from sfumato.networks.denoiser import Residuals
from sfumato.parts import Parts
from sfumato.programs import State
from sfumato.request import Request, RequestError
from sfumato.request.control import Control
from sfumato.request.controlled import hint_of

SOFT = 0.825  # A1111's factor from one residual to the one before it


class Loaded(NamedTuple):
    """A ControlNet's programs."""

    config: ControlNetConfig
    dtype: str
    """Of its answers."""
    is_bgr: bool
    prepare: runtime.Program
    embed_hint: runtime.Program
    control: runtime.Program


PROGRAMS = (programs.prepare, programs.embed_hint, programs.control)


class InUse(NamedTuple):
    """A ControlNet in a loop."""

    loaded: Loaded
    control: Control
    told: Told
    hint: Any  # (1 or B, h, w, F)


def load_controls(parts: Parts, request: Request) -> list[Loaded]:
    """The ControlNets of a request, in its order; those that it does not use are let go.

    Raises:
        CheckpointError: a file is no ControlNet for this model.
        RequestError: the model's denoiser is no U-Net of Stable Diffusion.
    """
    if not (request.controls or parts.controls):
        return []
    with parts.lock:
        keys = [_key(parts, control) for control in request.controls]
        parts.controls = {key: parts.controls[key] for key in keys if key in parts.controls}
        for key in keys:
            if key not in parts.controls:
                parts.controls[key] = _load(parts, *key[:2])
        return [parts.controls[key] for key in keys]


def _key(parts: Parts, control: Control) -> tuple[Any, ...]:
    """The file, the task, and all that makes another network or other programs of them."""
    path = Path(control.file)
    inner = sorted(path.iterdir()) if path.is_dir() else [path]
    states = tuple((each.name, each.stat().st_mtime_ns, each.stat().st_size) for each in inner)
    key = control.file, control.task_of_picture, states
    return *key, getattr(parts.diffusion_model, "config", None), parts.jit_compile


def _load(parts: Parts, file: str, task: str | None) -> Loaded:
    base = getattr(parts.diffusion_model, "config", None)
    if not isinstance(base, UNetConfig):
        must = "be left out for a denoiser that is no U-Net of Stable Diffusion"
        raise RequestError("controls", must, type(parts.diffusion_model).__name__)
    found = read_controlnet(file, base, parts.model.checkpoint.parts.get("unet", {}), task)
    grain, scale = parts.model.autoencoder_config.downsampling, found.config.hint_scale
    if (found.config.hint_channels, scale) != (3, grain):
        raise CheckpointError(
            f"The ControlNet `{file}` must see 3 channels, and {grain} pixels for a latent. It "
            f"sees {found.config.hint_channels} channels, and {scale} pixels."
        )
    network = ControlNet(found.config, parts.dtype_policy)
    try:
        fill(network, found.tensors)
    except CheckpointError as error:
        raise CheckpointError(f"`{file}` is no ControlNet for this model. {error}") from error
    if weight := unsound_weight(network):
        raise CheckpointError(f"The weight `{weight[0]}` of `{file}` is {weight[1]}.")
    made = (parts.compile(each, network) for each in PROGRAMS)
    return Loaded(network.config, network.compute_dtype, found.is_bgr, *made)


class Controls:
    """The ControlNets of a loop, which are asked before each evaluation of the denoiser.

    Args:
        loaded: of ``load_controls``.
        singles: completed requests, one for each picture.
        plan: of the sampler.
        told: the words of the denoiser.
    """

    def __init__(
        self, loaded: Sequence[Loaded], singles: Sequence[Request], plan: Plan, told: Told
    ) -> None:
        self.request, self.plan = singles[0], plan
        self.used = [
            InUse(net, control, told.of(net.prepare), seen(net, control, singles))
            for net, control in zip(loaded, self.request.controls, strict=True)
        ]
        self.last: Residuals | None = None
        self.silence: dict[int, Residuals] = {}

    def __call__(
        self, j: int, way: Evaluation, rows: int, state: State, table: Any
    ) -> Residuals | None:
        """The residuals for an evaluation.

        Args:
            j: of the evaluation, 0 for the first.
            way: its kind. A shallow one gets what the one before it got.
            rows: of the denoiser's conditioning.
            state, table: of ``programs.evaluate``.
        """
        if way.shallow:
            return self.last
        step = int(self.plan.step[j])
        ways = {"seamless": self.request.seamless} if self.request.seamless else {}
        found = None
        for net, control, told, hint in self.used:
            if not is_active(control, step, self.plan.steps):
                continue
            weights = weights_of(control, len(net.config.skips(1, 1)) + 1, net.config.is_global)
            guided = way.guided and not is_one_sided(control, net.config)
            conditioning = told(step, guided)
            found = net.control(
                *(state, table, conditioning, hint, weights, found), rows=rows, **ways
            )
        self.last = found or self.nothing(rows, state)
        return self.last

    def nothing(self, rows: int, state: State) -> Residuals:
        """Zeros, so that the denoiser needs no other executable where no ControlNet is active."""
        if rows not in self.silence:
            h, w = state.registers.shape[2:4]
            loaded = self.used[0].loaded
            shapes = [(rows, *each) for each in loaded.config.skips(h, w)]
            *skips, middle = (zeros(each, loaded.dtype) for each in (*shapes, shapes[-1]))
            self.silence[rows] = Residuals(skips, middle)
        return self.silence[rows]


def zeros(shape: tuple[int, ...], dtype: str) -> Any:
    return ops.convert_to_tensor(np.zeros(shape, "float32"), dtype=dtype)


def is_active(control: Control, step: int, steps: int) -> bool:
    """Whether a ControlNet has a say in a step, 0 for the first, as diffusers decides it."""
    return control.start <= step / steps and (step + 1) / steps <= control.end


def is_one_sided(control: Control, config: ControlNetConfig) -> bool:
    """Whether it has no say in the answer to the negative prompt."""
    return config.is_global or control.mode in ("control", "guess")


def weights_of(control: Control, count: int, is_global: bool = False) -> np.ndarray:
    """The weights of the residuals, (count,), the last of the middle."""
    weights = np.ones(count)
    if control.mode in ("prompt", "control"):
        weights = SOFT ** (12.0 - np.arange(count))  # the first ones for XL, too
    if control.mode == "guess" and not is_global:
        weights = np.logspace(-1, 0, count)
    return (control.weight * weights).astype("float32")


def seen(net: Loaded, control: Control, singles: Sequence[Request]) -> Any:
    """The pictures that a ControlNet is shown, (1 or B, h, w, F) as it sees them."""
    own = singles if control.sees_canvas else singles[:1]
    hints = np.stack([hint_of(control, single) for single in own])
    hints = hints[..., ::-1] if net.is_bgr else hints
    hints = np.maximum(hints, 0) if net.config.mixer_layers else hints  # what is hidden is black
    ways = {"seamless": singles[0].seamless} if singles[0].seamless else {}
    return net.embed_hint(np.ascontiguousarray(hints), **ways)
