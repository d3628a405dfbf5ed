"""The request for pictures: one frozen value, whoever asks.

Python, the command line, HTTP, a recipe in a picture and a row of a table all make a `Request`.
Each field is declared once, with its type, default, range, help and key in the recipe. What is
wrong with a request is found here, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sfumato.request import items, seeds
from sfumato.request.fields import Record, RequestError, declared, read, specs
from sfumato.request.kinds import Choice, Interval, Kind, Label, Number, Options, Whole
from sfumato.request.room_kinds import ModelName, Name, Pixels, Wildcards, taken_apart
from sfumato.request.seed_kinds import Axes, Seed, Size
from sfumato.request.words import TEMPLATES, drawn

if TYPE_CHECKING:
    import numpy as np

    from sfumato.checkpoints import Model
    from sfumato.diffusion import Plan
    from sfumato.pictures import Recipe

__all__ = ["Request", "RequestError"]

DTYPES = ("float32", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
EMPHASES = ("original", "no_norm", "comfyui", "ignore", "none")

what = partial(declared, group="what to paint")
which = partial(declared, group="which model")
how = partial(declared, group="how to paint it")
less = partial(declared, group="with less work, not quite the same picture")
begin = partial(declared, group="from a picture")
noted = partial(declared, group="")  # no choice of the user, and no option on the command line


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Request(Record):
    """Pictures that are asked for; None leaves a choice to the model.

    A value is checked and brought into its own type when the request is made. `completed` chooses
    what is open and checks what depends on the model.

    Raises:
        RequestError: a ValueError that names the field, what it must be and what came.

    Example:
        >>> request = Request(prompt="a red apple", steps=20, seed=7)
        >>> Request.from_json(request.to_json()) == request
        True
    """

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

    steps: int | None = how(None, Whole(1), "Steps", "denoising steps [the model's, mostly 25]")
    guidance: float | None = how(
        None, Number(0), "CFG scale", "how closely to follow the words [the model's]"
    )
    sampler: Any = how(
        None, Name("sampler"), "Sampler", "such as dpmpp_2m, euler_a, ddim [the model's]"
    )
    schedule: Any = how(
        None, Name("schedule"), "Schedule type", "noise levels, such as karras [the model's]"
    )
    sampler_options: Mapping[str, Any] = how(
        {}, Options(), "Sampler options", "of sampler and schedule: eta=0.5,rho=5 [none]"
    )
    guidance_rescale: float = how(
        *(0.0, Number(0, 1), "Guidance rescale"),
        "against overexposure by strong guidance, up to 1 [0]",
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

    template: str | None = noted(None, Kind(), "Template", "the prompt before it was drawn")
    negative_template: str | None = noted(
        None, Kind(), "Negative Template", "the negative prompt before it was drawn"
    )

    def __post_init__(self) -> None:
        if isinstance(self.schedule, str) and self.schedule.casefold() == "automatic":
            object.__setattr__(self, "schedule", None)  # A1111: the sampler's own
        if isinstance(self.sampler, str):
            sampler, schedule = taken_apart(self.sampler)
            object.__setattr__(self, "sampler", sampler)
            if self.schedule is None:
                object.__setattr__(self, "schedule", schedule)
        super().__post_init__()

    # What pictures may share

    @property
    def is_guided(self) -> bool:
        """Whether the negative prompt is asked, too: there is no guidance up to a scale of 1."""
        return self.guidance is not None and self.guidance > 1

    @property
    def shape_key(self) -> tuple[Any, ...]:
        """The fields an executable depends on: completed requests of one key share them.

        It depends on the number of chunks of the words and of prompts joined by AND, too.
        """
        return (
            *(self.model, self.dtype, self.quantize, self.height, self.width, self.is_guided),
            *(self.mask is not None, self.feature_reuse > 1, self.token_merging, self.clip_skip),
            self.seamless,
        )

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """The fields that pictures of one denoising loop share: all but words, seeds, pictures."""
        own = (*TEMPLATES, *TEMPLATES.values(), "wildcards", *seeds.FIELDS, "count")
        return (*self.key(*own, "image", "mask"), self.image is None, self.mask is None)

    def singles(self) -> list[Request]:
        """A completed request for each picture, with its own seed, its words drawn by it."""
        return [drawn(single) for single in self.batches(1)]

    def batches(self, size: int) -> Iterator[Request]:
        """A completed request in parts of up to ``size`` pictures, which keep their seeds."""
        for i in range(0, self.count, size):
            yield replace(self, **seeds.later(self, i), count=min(size, self.count - i))

    def changed(self, **changes: Any) -> Request:
        """The request with these values; the template of a prompt that is replaced goes, too."""
        stale = {
            template: None
            for name, template in TEMPLATES.items()
            if changes.get(name, getattr(self, name)) != getattr(self, name)
        }
        return replace(self, **stale | changes)

    # The completed request

    def with_defaults(self, **values: Any) -> Request:
        """The request with these values where it leaves a choice open."""
        return replace(self, **{n: v for n, v in values.items() if getattr(self, n) is None})

    def completed(self, model: Model) -> Request:
        """The request with nothing left open, checked against a model.

        The model's own steps, guidance, sampler, schedule and size stand where nothing was asked
        for, and a seed is drawn. A given picture has its own size.

        Raises:
            RequestError: the model cannot do what is asked for.

        Warns:
            UserWarning: there is no guidance, so the negative prompt says nothing and is left out.
        """
        from sfumato.request import checks
        from sfumato.request.planning import without_idle_words

        checks.check_pictures(self, model)
        height = width = model.default_size
        strength = None
        if self.image is not None:
            height, width = self.image.shape[:2]
            strength = 0.8 if self.mask is None else 1.0
        sampler = self.sampler or model.sampler
        schedule = model.schedule_for(self.sampler) or Name("sampler").row(sampler).schedule
        request = self.with_defaults(
            width=width,
            height=height,
            **seeds.chosen(self),
            model=model.name or None,
            steps=model.steps,
            guidance=model.guidance,
            sampler=sampler,
            schedule=schedule,
            strength=strength,
        )
        checks.check_size(request, model)
        checks.check_words(request, model)
        seeds.check(request, model.autoencoder_config.downsampling)
        plan = request.plan(model)  # whose errors are the request's
        return request if request.negative_prompt is None else without_idle_words(request, plan)

    def plan(self, model: Model) -> Plan:
        """The plan of the sampler for a completed request, evaluation by evaluation."""
        from sfumato.request.planning import plan_of

        options = tuple(self.sampler_options.items())
        noise = tuple(sorted(model.noise.items()))
        strength = self.strength or 1.0
        return plan_of(noise, self.steps, self.sampler, self.schedule, strength, options)

    # The recipe in a picture

    def recipe(self) -> Recipe:
        """The recipe for a picture's file, in A1111's words."""
        from sfumato import __version__
        from sfumato.pictures import Recipe

        stated = self.items() | {"RNG": "NV", "Version": f"Sfumato {__version__}"}
        if self.width and self.height:
            stated["Size"] = f"{self.width}x{self.height}"
        return Recipe(self.prompt, self.negative_prompt or "", stated)

    @classmethod
    def from_recipe(cls, recipe: Recipe, **changes: Any) -> Request:
        """The request that a recipe states, with these changes.

        Another sampler brings its own schedule, and a given picture its own size. An item that a
        change replaces may say anything.

        Raises:
            RequestError: an item says what cannot be.
        """
        known = specs(cls, changes)
        replaced = {*changes}
        replaced |= {"schedule"} if "sampler" in changes else set()
        replaced |= {"width", "height"} if "image" in changes else set()
        texts = {n: text for n, text in cls.stated(recipe).items() if n not in replaced}
        values: dict[str, Any] = {name: read(name, known[name], texts[name]) for name in texts}
        prompts = {"prompt": recipe.prompt, "negative_prompt": recipe.negative_prompt or None}
        return cls(**prompts, **values).changed(**changes)

    @classmethod
    def stated(cls, recipe: Recipe) -> dict[str, str]:
        """The texts that the items of a recipe state of the fields, by name."""
        return items.stated(specs(cls), recipe.items)

    @classmethod
    def unread(cls, recipe: Recipe) -> dict[str, str]:
        """The items of a recipe that no field reads."""
        return items.unread(specs(cls), recipe.items)
