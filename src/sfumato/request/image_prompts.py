"""The pictures that a request shows as prompts: each with the IP-Adapter that reads it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato._files import expanded
from sfumato.request import loras
from sfumato.request.adapter_kinds import plain_name
from sfumato.request.control import Controls, NetworkFile
from sfumato.request.controlled import files_in
from sfumato.request.fields import Record, RequestError, declared, specs
from sfumato.request.kinds import Number
from sfumato.request.room_kinds import Pixels

if TYPE_CHECKING:
    import numpy as np

    from sfumato.request.request import Request

ITEM = re.compile(r"Image prompt \d{1,2}")
"""The key of an item in a recipe."""
STATED = re.compile(r"Model: (?P<file>.+?)(?: \[\w+\])?(?:, Image: \w+)?, Weight: (?P<weight>\S+)")


class OwnFile(NetworkFile):
    """The path of a file or folder that only the user of this machine names."""

    def to_json(self, value: str) -> Any:
        return None

    def from_json(self, value: Any) -> str:
        raise ValueError

    def schema(self) -> dict[str, Any]:
        return {"type": "null"}


of = partial(declared, group="")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImagePrompt(Record):
    """A picture as a prompt, and the IP-Adapter that reads it.

    Example:
        >>> ImagePrompt(file="ip-adapter_sd15.safetensors", weight=0.6)
        ImagePrompt(file='ip-adapter_sd15.safetensors', weight=0.6)
    """

    file: str = of(..., NetworkFile(), "Model", "the IP-Adapter's file")
    image: np.ndarray | None = of(None, Pixels(), "", "the picture")
    weight: float = of(1.0, Number(-10, 10), "Weight", "how much it says [1]")
    encoder: str | None = of(
        *(None, OwnFile(), ""),
        "the file or folder of what sees the picture [image_encoder near the adapter]",
    )

    def options(self) -> dict[str, Any]:
        """The values that are not the defaults, besides the file and the picture."""
        return {n: v for n, v in self.given().items() if n not in ("file", "image")}

    def argument(self, picture: str) -> str:
        """The words of the command line, for a picture in a file of this name."""
        said = ",".join(f"{name}={value}" for name, value in self.options().items())
        return ":".join(filter(None, (self.file, picture, said)))

    def text(self) -> str:
        """The item of a recipe: the names, and what tells the files from others."""
        from sfumato.pictures.pixels import digest

        path, name = Path(self.file), plain_name(self.file)
        model = f"{name} [{loras.hash_of(path)}]" if path.is_file() else name
        image = [] if self.image is None else [f"Image: {digest(self.image)}"]
        weight = specs(ImagePrompt)["weight"].kind.write(self.weight)
        return ", ".join([f"Model: {model}", *image, f"Weight: {weight}"])


class ImagePrompts(Controls):
    """Pictures as prompts, each with an IP-Adapter."""

    must = "be IP-Adapters with pictures, each as (file, picture, weight)"
    metavar = "FILE:IMAGE"

    @property
    def must_read(self) -> str:
        return "be FILE:IMAGE, or FILE:IMAGE:0.6, with the file of an IP-Adapter"

    def check(self, value: Any) -> Any:
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
            raise ValueError
        return tuple(map(_prompt, value))

    def read(self, text: str) -> Any:
        file, image, *options = re.split(r":(?![\\/])", text)  # C:\ and C:/ stay
        if len(options) > 1 or not image:
            raise ValueError
        given: Any = _options(options[0]) if options else {}
        try:
            return (ImagePrompt(file=file, image=image, **given),)  # type: ignore[arg-type]
        except OSError as error:  # no such picture
            raise ValueError from error

    def recall(self, text: str) -> Any:
        return tuple(map(read_item, text.split("\n")))

    def from_json(self, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise ValueError
        return tuple(map(ImagePrompt.from_json, value))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": ImagePrompt.schema()}


def _prompt(value: Any) -> ImagePrompt:
    """A prompt given as such, as fields by name, or as (file, picture, weight or fields)."""
    if isinstance(value, ImagePrompt):
        return value
    if isinstance(value, Mapping):
        fields = dict(value)
    elif isinstance(value, (tuple, list)) and 2 <= len(value) <= 3:
        file, image, *rest = value
        options = rest[0] if rest else {}
        fields = options if isinstance(options, Mapping) else {"weight": options}
        fields = {"file": file, "image": image, **fields}
    else:
        raise ValueError("each must be (file, picture), (file, picture, weight) or fields by name")
    specs(ImagePrompt, fields)  # says which names are none
    return ImagePrompt(**{"file": None, **fields})


def _options(text: str) -> dict[str, Any]:
    """The fields that "0.6" or "weight=0.6,encoder=FOLDER" states."""
    if "=" not in text:
        text = f"weight={text}"
    pairs = [item.strip().partition("=")[::2] for item in text.split(",")]
    kinds = {name: specs(ImagePrompt)[name].kind for name in ("weight", "encoder")}
    if any(name not in kinds for name, _ in pairs):
        raise ValueError
    return {name: kinds[name].read(said) for name, said in pairs}


def read_item(text: str) -> ImagePrompt:
    """The prompt that an item of a recipe states, without its picture."""
    match = STATED.fullmatch(text)
    if not match:
        raise ValueError
    return ImagePrompt(file=plain_name(match["file"]), weight=float(match["weight"]))


def items(prompts: tuple[ImagePrompt, ...]) -> dict[str, str]:
    """The items of a recipe, one for each picture."""
    return {f"Image prompt {i}": prompt.text() for i, prompt in enumerate(prompts)}


def stated(items: Mapping[str, str]) -> dict[str, str]:
    """The text of the field as a recipe's items state it."""
    texts = [text for key, text in items.items() if ITEM.fullmatch(key)]
    return {"image_prompts": "\n".join(texts)} if texts else {}


def with_image_prompts(request: Request) -> Request:
    """The request with the paths of its IP-Adapters.

    Raises:
        RequestError: a file or a picture is missing.
    """
    if not request.image_prompts:
        return request
    named = files_in(request.control_folder) if request.control_folder else {}
    prompts = tuple(_completed(each, named) for each in request.image_prompts)
    return request.changed(image_prompts=prompts)


def _completed(prompt: ImagePrompt, named: Mapping[str, str]) -> ImagePrompt:
    path = expanded(named.get(prompt.file, prompt.file))
    if not path.is_file():
        must = "be files of IP-Adapters, or names in `control_folder`"
        raise RequestError("image_prompts", must, prompt.file)
    if prompt.image is None:
        raise RequestError("image_prompts", "have a picture each", plain_name(prompt.file))
    encoder = None if prompt.encoder is None else expanded(prompt.encoder)
    if encoder is not None and not encoder.exists():
        raise RequestError("encoder", "be a file or a folder", str(encoder))
    return replace(prompt, file=str(path), encoder=None if encoder is None else str(encoder))


def warn_of_others(prompts: tuple[ImagePrompt, ...], said: Mapping[str, str]) -> None:
    """Warn of pictures and files that are not those of a recipe's items."""
    for key, text in items(prompts).items():
        for what, pattern in (("picture", r"Image: (\w+)"), ("IP-Adapter", r"\[(\w+)\]")):
            here, there = (re.search(pattern, each) for each in (text, said.get(key, "")))
            if here and there and here[1] != there[1]:
                warnings.warn(
                    f"The {what} of {key.lower()} is not the one of the recipe, so the picture "
                    "will differ.",
                    stacklevel=3,
                )
