"""The request for pictures: one frozen value, whoever asks.

Python, the command line, HTTP, a recipe in a picture and a row of a table all make a `Request`.
Its fields are declared in `declaration.py`. What is wrong with a request is found here, before
anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sfumato.request import (
    control,
    embeddings,
    image_prompts,
    items,
    larger,
    loras,
    pictured,
    seeds,
)
from sfumato.request.declaration import Fields
from sfumato.request.fields import RequestError, read, specs
from sfumato.request.room_kinds import taken_apart
from sfumato.request.words import TEMPLATES, drawn

if TYPE_CHECKING:
    from sfumato.checkpoints import Model
    from sfumato.diffusion import Plan
    from sfumato.pictures import Recipe

__all__ = ["Request", "RequestError"]


class Request(Fields):
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

    def __post_init__(self) -> None:
        if isinstance(self.schedule, str) and self.schedule.casefold() == "automatic":
            object.__setattr__(self, "schedule", None)  # A1111: the sampler's own
        if isinstance(self.sampler, str):
            sampler, schedule = taken_apart(self.sampler)
            object.__setattr__(self, "sampler", sampler)
            if self.schedule is None:
                object.__setattr__(self, "schedule", schedule)
        if self.image_name is None:
            object.__setattr__(self, "image_name", pictured.file_name(self.image))
        super().__post_init__()

    def key(self, *without: str) -> tuple[Any, ...]:
        """The values of all fields but these; a picture is the same by any name."""
        return super().key("image_name", *without)

    # What pictures may share

    @property
    def paints_part(self) -> bool:
        """Whether part of the given picture stays as it is."""
        return self.mask is not None or bool(self.extend)

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
            *(self.paints_part, self.feature_reuse > 1, self.token_merging, self.clip_skip),
            *(self.seamless, self.pag_scale > 0, self.apg is None, self.freeu is None),
            *(self.upscale, self.decoder, bool(self.embeddings), bool(self.controls)),
            self.refiner,
            tuple(prompt.file for prompt in self.image_prompts if prompt.weight),
        )

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """The fields that requests made together share: all but words, LoRAs, seeds, pictures."""
        own = (*TEMPLATES, *TEMPLATES.values(), "wildcards", "loras", "lora_folder")
        own += (*seeds.FIELDS, "count", "image", "mask")
        return (*self.key(*own), self.image is None, self.mask is None)

    def singles(self) -> list[Request]:
        """A completed request for each picture, with its own seed, its words drawn by it."""
        return [drawn(single) for single in self.batches(1)]

    def batches(self, size: int) -> Iterator[Request]:
        """A completed request in parts of up to ``size`` pictures, which keep their seeds."""
        for i in range(0, self.count, size):
            yield replace(self, **seeds.later(self, i), count=min(size, self.count - i))

    def changed(self, **changes: Any) -> Request:
        """The request with these values; the template of a prompt that is replaced goes, too.

        So does the name of a picture.
        """
        stale: dict[str, Any] = {
            template: None
            for name, template in TEMPLATES.items()
            if changes.get(name, getattr(self, name)) != getattr(self, name)
        }
        if "image" in changes:
            stale["image_name"] = None
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
        from sfumato.request.completion import completed

        return completed(self, model)

    def plan(self, model: Model) -> Plan:
        """The plan of the sampler for a completed request, evaluation by evaluation."""
        from sfumato.request.planning import plan_of

        options = tuple(self.sampler_options.items())
        noise = tuple(sorted(model.noise.items()))
        strength = self.strength or 1.0
        levels = self.timesteps or self.schedule
        return plan_of(noise, self.steps, self.sampler, levels, strength, options)

    # The recipe in a picture

    def recipe(self) -> Recipe:
        """The recipe for a picture's file, in A1111's words."""
        from sfumato import __version__
        from sfumato.pictures import Recipe

        stated = (
            self.items()
            | pictured.hashes(self)
            | control.items(self.controls)
            | image_prompts.items(self.image_prompts)
            | loras.hashes(self.loras)
            | embeddings.hashes(self.embeddings)
            | {"RNG": "NV", "Version": f"Sfumato {__version__}"}
        )
        if self.width and self.height:
            stated["Size"] = f"{self.width}x{self.height}"
        return Recipe(self.prompt, self.negative_prompt or "", stated)

    @classmethod
    def from_recipe(cls, recipe: Recipe, **changes: Any) -> Request:
        """The request that a recipe states, with these changes.

        Another sampler brings its own schedule, and a given picture its own size unless it is
        resized, and there is no second pass of it. An item that a change replaces may say anything.

        Raises:
            RequestError: an item says what cannot be.

        Warns:
            UserWarning: the picture or the LoRA that is given is another than the recipe's.
        """
        known = specs(cls, changes)
        stated = cls.stated(recipe)
        replaced = {*changes}
        replaced |= {"schedule"} if "sampler" in changes else set()
        if "image" in changes and not pictured.keeps_size({**stated, **changes}):
            replaced |= {"width", "height"}
        replaced |= {*larger.FIELDS} if "image" in changes else set()
        texts = {name: text for name, text in stated.items() if name not in replaced}
        values: dict[str, Any] = {n: read(n, known[n], text, "recall") for n, text in texts.items()}
        prompts = {"prompt": recipe.prompt, "negative_prompt": recipe.negative_prompt or None}
        request = cls(**prompts, **values).changed(**changes)
        pictured.warn_of_others(request, recipe.items)
        loras.warn_of_others(request, recipe.items)
        image_prompts.warn_of_others(request.image_prompts, recipe.items)
        embeddings.warn_of_others(request.embeddings, recipe.items)
        return request

    @classmethod
    def stated(cls, recipe: Recipe) -> dict[str, str]:
        """The texts that the items of a recipe state of the fields, by name."""
        return items.stated(specs(cls), recipe.items)

    @classmethod
    def unread(cls, recipe: Recipe) -> dict[str, str]:
        """The items of a recipe that no field reads."""
        return items.unread(specs(cls), recipe.items)
