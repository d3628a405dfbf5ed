"""The story of a picture: encode, prepare, start, denoise, decode.

``stream`` tells it once, for text, pictures and masks alike. Progress bars, previews, cancellation
and animations are loops over it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from keras import ops

from sfumato.autoencoding import decode, decode_all
from sfumato.conditioning import Told
from sfumato.diffusion.plan import Plan
from sfumato.diffusion.shortcuts import evaluations
from sfumato.encoding import Encode, Encoded, extent, named
from sfumato.finite import check_finite
from sfumato.networks.configs import TinyAutoencoderConfig
from sfumato.networks.denoiser import Aids, Projection
from sfumato.parts import Parts
from sfumato.picture import Picture, flags_of
from sfumato.pictures.preview import latents_to_rgb
from sfumato.programs import Inpainting, State
from sfumato.refining import refiner_of
from sfumato.request import Request, RequestError, refining
from sfumato.request.pictured import canvas_of
from sfumato.starting import Draw, drawing, enlarge, shared, shown_to, start

if TYPE_CHECKING:
    from sfumato.controlling import Controls

AHEAD = 2  # steps that may wait on the device; more would only delay progress and cancellation


@dataclass(frozen=True)
class Step:
    """A step that has finished."""

    step: int
    """1 for the first."""
    steps: int
    denoised: Any
    """The picture as the network sees it now: latents (B, h, w, C), an array of the backend (of
    NumPy with OpenVINO)."""
    factors: np.ndarray | None = None
    """The colours of latents, (C + 1, 3), where they are known."""
    decode: Callable[[np.ndarray], np.ndarray] | None = None
    """Makes a picture of latents (h, w, C), where that takes little time."""

    def latents(self) -> np.ndarray:
        """Copy ``denoised`` to NumPy, float32."""
        return ops.convert_to_numpy(self.denoised)

    def plain(self) -> Step:
        """The step without anything of a device, for another process."""
        return replace(self, denoised=self.latents(), decode=None)

    def preview(self) -> np.ndarray | None:
        """Small pictures of the latents, uint8 (B, h, w, 3); None without known colours.

        Those of a tiny autoencoder are as large as the pictures that come out. There are none of
        pictures that may come out blurred.
        """
        if self.decode is not None:
            return np.stack([self.decode(x) for x in self.latents()])
        return None if self.factors is None else latents_to_rgb(self.latents(), self.factors)


class Loop(NamedTuple):
    """All that the denoising loop of a batch needs."""

    request: Request
    plan: Plan
    x: np.ndarray  # (B, h, w, C) at the first noise level
    draw: Draw
    conditioning: Told
    aids: Aids
    inpainting: Inpainting | None
    controls: Controls | None
    before: int = 0
    """Steps that were done before, which count."""
    after: int = 0
    """Steps that will follow, which count, too."""
    spoken: int = 0
    """Steps of the words that have passed."""
    asked: int | None = None
    """Pictures of the batch that somebody asked for; None: all."""


def stream(
    parts: Parts,
    requests: Sequence[Request],
    encoded: Encoded | None = None,
    noise: np.ndarray | None = None,
    encoder: Encode | None = None,
) -> Iterator[Step | Picture]:
    """Make the pictures of requests in one batch, or in one for each length of the words.

    Args:
        parts: the model's.
        requests: completed, of one ``batch_key``.
        encoded: the prompts, encoded before; default: they are encoded here.
        noise: (B, h, w, C), the start noise; default: that of the seeds.
        encoder: encodes texts; default: the model's own encoders do.

    Yields:
        Each step when it has finished, then each picture; one batch after the other.

    Raises:
        RequestError: the requests do not go together.
        NotFiniteError: a number overflowed, as it may in float16.
    """
    singles = [single for request in requests for single in request.singles()]
    if any(single.batch_key != singles[0].batch_key for single in singles):
        raise RequestError("requests", "differ in words, seeds and pictures only", f"{singles}")
    groups = [[*g] for _, g in groupby(singles, lambda one: (extent(parts, one), one.loras))]
    done = 0
    for group in groups:
        rows = slice(done, done + len(group)) if len(groups) > 1 else slice(None)
        done += len(group)
        given = None if encoded is None else encoded.rows(rows)
        own = None if noise is None else noise[rows]
        notes = [named(parts, single) for single in group]
        whole, given, own = shared(parts, group, given, own)
        loop = begin(parts, whole, given, own, encoder)._replace(asked=len(group))
        if name := group[0].refiner:
            latents = yield from refined(parts, refiner_of(parts, name), whole, loop)
        else:
            latents = yield from denoise(parts, loop)
        if group[0].upscale is not None:
            larger, x = enlarge(parts, whole, latents)
            again = begin(parts, larger, given, None, encoder, x)
            changes = {"before": loop.plan.steps, "asked": len(group)}
            latents = yield from denoise(parts, again._replace(**changes))
        pictures = decode_all(parts, latents, group[0].seamless)
        for single, note, pixels in zip(group, notes, pictures, strict=False):
            picture = Picture(covered(single, pixels), note, flags_of(note, parts.model.preset))
            yield checked(picture)


def begin(
    parts: Parts,
    singles: Sequence[Request],
    encoded: Encoded | None = None,
    noise: np.ndarray | None = None,
    encoder: Encode | None = None,
    latents: np.ndarray | None = None,
) -> Loop:
    """Do everything that comes before the loop; the arguments are those of ``stream``.

    Args:
        latents: (B, h, w, C), to begin from in place of a picture.
    """
    parts.require("decoder")  # found out before the steps, not after them
    first = singles[0]
    plan = first.plan(parts.model)
    lead = None
    if first.controls or parts.controls:  # imported where it is needed
        from sfumato.controlling import load_controls

        lead = load_controls(parts, singles, plan)
    also = None
    if first.image_prompts or parts.image_prompts:
        from sfumato.remembering import load_image_prompts

        also = load_image_prompts(parts, first)
    draw = drawing(parts, singles, noise)
    conditioning = Told(parts, singles, plan.steps, encoded, encoder, also)
    told = conditioning(0, first.is_guided)
    if latents is None:
        x, aids, inpainting = start(parts, singles, plan, draw)
    else:
        x, aids, inpainting = latents + draw(0) * plan.sigma[0], Aids(), None
    if first.image_guidance is not None and aids.channels is not None:
        shown = shown_to(told.batch, np.asarray(aids.channels), first.is_guided)
        aids = aids._replace(channels=shown)
    apg = numbers(first.apg)
    projection = None if apg is None else Projection(apg, np.zeros(x.shape, "float32"))
    aids = aids._replace(freeu=numbers(first.freeu), projection=projection)
    if first.distilled_guidance is not None:
        aids = aids._replace(guidance=np.float32(first.distilled_guidance - 1))
    controls = lead(conditioning) if lead else None
    return Loop(first, plan, x, draw, conditioning, aids, inpainting, controls)


def numbers(rule: Mapping[str, float] | None) -> np.ndarray | None:
    """The numbers of a rule of guidance, float32; None: it is off."""
    return None if rule is None else np.array([*rule.values()], "float32")


def denoise(parts: Parts, loop: Loop) -> Generator[Step, None, np.ndarray]:
    """Denoise and return the latents (B, h, w, C); waits for the device only to report."""
    request, plan, x, draw, conditioning, aids, inpainting, controls, *_ = loop
    state = first_state(plan, x)
    table = ops.convert_to_tensor(plan.table(parts.model.prediction))
    edits = request.image_guidance is not None
    scales = (request.guidance, request.guidance_rescale, request.pag_scale)
    guidance = np.array((*scales, request.image_guidance) if edits else scales, "float32")
    silence = ops.convert_to_tensor(np.zeros(x.shape, "float32"))

    reuse, merging = request.feature_reuse, request.token_merging
    ways = evaluations(plan, request.is_guided, request.guidance_interval, reuse)
    evaluate, deep = parts.evaluate, None  # looked at once, not at every step
    projection = aids.projection
    waiting: deque[tuple[int, Any, Any]] = deque()
    for j, (k, way) in enumerate(zip(plan.draw.tolist(), ways, strict=True)):
        told = conditioning(loop.spoken + int(plan.step[j]), way.guided)
        noise = draw(k) if k else silence
        given = aids._replace(deep=deep if way.shallow else None, projection=projection)
        if edits and given.channels is not None:
            given = given._replace(channels=given.channels[: told.batch])
        if controls:
            given = given._replace(**controls(j, way, told.batch, state, table))
        settings: dict[str, Any] = {"token_merging": merging} if merging else {}
        if request.seamless:
            settings["seamless"] = request.seamless
        if reuse > 1 and not way.shallow:
            settings["keep"] = True
        with parts.loras.of(request.loras):
            state, denoised, is_finite, kept, projection = evaluate(
                state, table, noise, guidance, told, given, inpainting, **settings
            )
        deep = given.deep if way.shallow else kept
        waiting.append((j, denoised, is_finite))
        if len(waiting) > AHEAD:
            yield from report(loop, parts, *waiting.popleft())
    for sent in waiting:
        yield from report(loop, parts, *sent)
    return ops.convert_to_numpy(state.registers)[0]


def refined(
    parts: Parts, other: Parts, singles: Sequence[Request], loop: Loop
) -> Generator[Step, None, np.ndarray]:
    """As ``denoise``, of which another model does the last steps, from where the first one ends."""
    done = refining.steps_before(singles[0], loop.plan, parts.model)
    rest = loop.plan.steps - done
    begun = loop._replace(plan=loop.plan.until(done), after=rest)
    x = yield from denoise(parts, begun)

    requests = [refining.second(single, rest) for single in singles]
    drawn = int(begun.plan.draw.max())
    again = loop._replace(
        request=requests[0],
        plan=requests[0].plan(other.model),
        x=x,
        draw=lambda k: loop.draw(k + drawn),
        conditioning=Told(other, requests, done + rest),
        aids=loop.aids._replace(channels=None, guidance=None),
        controls=None,
        before=done,
        spoken=done,
    )
    return (yield from denoise(other, again))


def first_state(plan: Plan, x: np.ndarray) -> State:
    """The state of the loop before the first evaluation, x (B, h, w, C) in its first register."""
    K = plan.matrix.shape[1]
    registers = np.concatenate([x[None], np.zeros((K - 1, *x.shape))]).astype("float32")
    return State(np.int32(0), registers)


def report(
    loop: Loop, parts: Parts, evaluation: int, denoised: Any, is_finite: Any
) -> Iterator[Step]:
    """Wait for an evaluation, check it, and yield the step that it ends, if it ends one."""
    plan = loop.plan
    step = loop.before + int(plan.step[evaluation]) + 1
    steps = loop.before + plan.steps + loop.after + (loop.request.upscale_steps or 0)
    what = f"The latents of step {step} of {steps} are"
    check_finite(parts, is_finite, what, "diffusion_model")
    if plan.ends_step[evaluation]:
        if loop.asked not in (None, denoised.shape[0]):
            denoised = denoised[: loop.asked]
        if loop.request.safety == "blur":  # previews would show what is blurred
            yield Step(step, steps, denoised)
            return
        is_tiny = isinstance(parts.model.autoencoder_config, TinyAutoencoderConfig)
        quick = partial(decode, parts) if is_tiny else None
        yield Step(step, steps, denoised, parts.model.preview_factors, quick)


def covered(request: Request, pixels: np.ndarray) -> np.ndarray:
    """What was painted on the given picture, which stays as it was where no mask covers it."""
    return canvas_of(request).finished(pixels) if request.paints_part else pixels


def checked(picture: Picture) -> Picture:
    """The picture, with a flag and blurred if it is unsafe and its request asks for that."""
    if picture.request.safety == "off":
        return picture
    from sfumato.safety import flagged  # loads a network of its own

    return flagged(picture)
