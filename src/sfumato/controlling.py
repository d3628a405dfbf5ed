"""The ControlNets of a loop: loaded, shown their pictures, and asked at each evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from sfumato import programs, runtime
from sfumato.adapters.controlnet import read_controlnet
from sfumato.attached import give_weights, states_of, unet_for
from sfumato.checkpoints.tensors import CheckpointError
from sfumato.conditioning import Told
from sfumato.diffusion.plan import Plan
from sfumato.diffusion.shortcuts import Evaluation
from sfumato.networks.configs import ControlNetConfig, T2IAdapterConfig
from sfumato.networks.controlnet import ControlNet
from sfumato.networks.denoiser import Residuals
from sfumato.networks.t2i import T2IAdapter
from sfumato.parts import Parts
from sfumato.programs import State
from sfumato.request import Request
from sfumato.request.control import Control
from sfumato.request.controlled import hint_of

SOFT_FEATURES = (0.25, 0.62, 0.825, 1.0)  # A1111's, of T2I-Adapters
SOFT = 0.825  # A1111's factor from one residual to the one before it


class Loaded(NamedTuple):
    """The programs of a network that leads: of a ControlNet, or of a T2I-Adapter, which has one."""

    config: ControlNetConfig | T2IAdapterConfig
    dtype: str
    """Of its answers."""
    is_bgr: bool
    see: runtime.Program
    prepare: runtime.Program | None = None
    control: runtime.Program | None = None


class InUse(NamedTuple):
    """A ControlNet in a loop."""

    config: ControlNetConfig
    ask: runtime.Program
    control: Control
    told: Told
    hint: Any  # (1 or B, h, w, F)


class Adapter(NamedTuple):
    """A T2I-Adapter in a loop."""

    control: Control
    features: list[np.ndarray]  # (1 or B, h, w, C), weighed


def load_controls(
    parts: Parts, singles: Sequence[Request], plan: Plan
) -> Callable[[Told], Controls] | None:
    """What makes the controls of a loop of its words; None: nothing leads it.

    Those without a say at any step are not even loaded, and networks that are not used are let go.

    Raises:
        CheckpointError: a file is no ControlNet for this model.
        RequestError: the model's denoiser is no U-Net of Stable Diffusion.
    """
    controls = [each for each in singles[0].controls if has_say(each, plan.steps)]
    with parts.lock:
        keys = [_key(parts, control) for control in controls]
        parts.controls = {key: parts.controls[key] for key in keys if key in parts.controls}
        for key in keys:
            if key not in parts.controls:
                parts.controls[key] = _load(parts, *key[:2])
        loaded = [parts.controls[key] for key in keys]
    pairs = [*zip(loaded, controls, strict=True)]
    return partial(Controls, pairs, singles, plan) if pairs else None


def _key(parts: Parts, control: Control) -> tuple[Any, ...]:
    """The file, the task, and all that makes another network or other programs of them."""
    key = control.file, control.task_of_picture, states_of(Path(control.file))
    return *key, getattr(parts.diffusion_model, "config", None), parts.jit_compile


def _load(parts: Parts, file: str, task: str | None) -> Loaded:
    base = unet_for(parts, "controls")
    found = read_controlnet(file, base, parts.model.checkpoint.parts.get("unet", {}), task)
    kind = T2IAdapter if isinstance(found.config, T2IAdapterConfig) else ControlNet
    grain = parts.model.autoencoder_config.downsampling
    if isinstance(found.config, ControlNetConfig):
        takes = (found.config.hint_channels, found.config.hint_scale)
        if takes != (3, grain):
            raise CheckpointError(
                f"The ControlNet `{file}` must see 3 channels, and {grain} pixels for a latent. It "
                f"sees {takes[0]} channels, and {takes[1]} pixels."
            )
    network: Any = kind(found.config, parts.dtype_policy)
    give_weights(network, found.tensors, file, "ControlNet for this model")
    functions = (programs.see, programs.prepare, programs.control)
    made = (parts.compile(each, network) for each in functions[: 3 if kind is ControlNet else 1])
    return Loaded(network.config, network.compute_dtype, found.is_bgr, *made)


class Controls:
    """The ControlNets of a loop, which are asked before each evaluation of the denoiser.

    Args:
        pairs: networks, and how they are used.
        singles: completed requests, one for each picture.
        plan: of the sampler.
        told: the words of the denoiser.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Loaded, Control]],
        singles: Sequence[Request],
        plan: Plan,
        told: Told,
    ) -> None:
        self.request, self.plan, self.dtype = singles[0], plan, pairs[0][0].dtype
        self.nets: list[InUse] = []
        self.adapters: list[Adapter] = []
        for net, control in pairs:
            shown = seen(net, control, singles)
            if isinstance(net.config, ControlNetConfig) and net.prepare and net.control:
                own = told.of(net.prepare)
                self.nets.append(InUse(net.config, net.control, control, own, shown))
            else:
                self.adapters.append(Adapter(control, weighed(control, shown)))
        self.residuals: Residuals | None = None  # of the evaluation before
        self.zeros: dict[Any, Any] = {}

    def __call__(
        self, j: int, way: Evaluation, rows: int, state: State, table: Any
    ) -> dict[str, Any]:
        """The residuals and the features for an evaluation, by their names among the ``Aids``.

        Args:
            j: of the evaluation, 0 for the first.
            way: its kind. A shallow one gets the residuals that the one before it got.
            rows: of the denoiser's conditioning.
            state, table: of ``programs.evaluate``.
        """
        step = int(self.plan.step[j])
        if self.nets and not way.shallow:
            self.residuals = self.ask(step, way, rows, state, table)
        return {"residuals": self.residuals, "features": self.features(step, rows)}

    def ask(self, step: int, way: Evaluation, rows: int, state: State, table: Any) -> Residuals:
        """Ask the ControlNets that have a say in a step."""
        ways = {"seamless": self.request.seamless} if self.request.seamless else {}
        found = None
        for config, ask, control, told, hint in self.nets:
            if not is_active(control, step, self.plan.steps):
                continue
            weights = weights_of(control, len(config.skips(1, 1)) + 1, config.is_global)
            guided = way.guided and not is_one_sided(control, config)
            conditioning = told(step, guided)
            found = ask(*(state, table, conditioning, hint, weights, found), rows=rows, **ways)
        return found or self.nothing(rows, state)

    def nothing(self, rows: int, state: State) -> Residuals:
        """Zeros, so that the denoiser needs no other executable where no ControlNet is active."""
        if rows not in self.zeros:
            h, w = state.registers.shape[2:4]
            shapes = [(rows, *each) for each in self.nets[0].config.skips(h, w)]
            *skips, middle = (zeros(each, self.dtype) for each in (*shapes, shapes[-1]))
            self.zeros[rows] = Residuals(skips, middle)
        return self.zeros[rows]

    def features(self, step: int, rows: int) -> list[Any] | None:
        """The features of the T2I-Adapters that have a say in a step, added up; zeros: of none."""
        if not self.adapters:
            return None
        active = tuple(is_active(each.control, step, self.plan.steps) for each in self.adapters)
        if (active, rows) not in self.zeros:
            found = [np.zeros_like(each) for each in self.adapters[0].features]
            for adapter, has_say in zip(self.adapters, active, strict=True):
                found = [x + has_say * y for x, y in zip(found, adapter.features, strict=True)]
            self.zeros[active, rows] = [ops.convert_to_tensor(x, dtype=self.dtype) for x in found]
        return self.zeros[active, rows]


def zeros(shape: tuple[int, ...], dtype: str) -> Any:
    return ops.convert_to_tensor(np.zeros(shape, "float32"), dtype=dtype)


def has_say(control: Control, steps: int) -> bool:
    """Whether a ControlNet changes anything in so many steps."""
    return control.weight > 0 and any(is_active(control, step, steps) for step in range(steps))


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
    is_own = control.sees_canvas or singles[0].inpaint_area == "masked"
    own = singles if is_own else singles[:1]
    hints = np.stack([hint_of(control, single) for single in own])
    hints = hints[..., ::-1] if net.is_bgr else hints
    if not isinstance(net.config, ControlNetConfig) or net.config.mixer_layers:
        hints = np.maximum(hints, 0)  # what is hidden is black
    ways = {"seamless": singles[0].seamless} if singles[0].seamless else {}
    return net.see(np.ascontiguousarray(hints), **ways)


def weighed(control: Control, features: Sequence[Any]) -> list[np.ndarray]:
    """The features of a T2I-Adapter with its weight, and that of its mode."""
    soft = (1.0,) * len(features) if control.mode == "balanced" else SOFT_FEATURES
    arrays = [ops.convert_to_numpy(x).astype("float32") for x in features]
    return [np.float32(control.weight * k) * x for k, x in zip(soft, arrays, strict=False)]
