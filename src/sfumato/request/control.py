"""The ControlNets of a request: each a file, a picture, and how much it says at which steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.request.adapter_kinds import plain_name
from sfumato.request.fields import Record, declared, specs
from sfumato.request.kinds import Kind, Label, Number
from sfumato.request.room_kinds import Pixels

if TYPE_CHECKING:
    import numpy as np

PREPROCESSORS = Label(
    ("none", "canny", "invert", "grey", "recolour", "blur", "tile", "threshold", "inpaint"),
    none="none",
    canny="canny",
    invert="invert (from white bg & black line)",
    recolour="recolor_luminance",
    blur="blur_gaussian",
    tile="tile_resample",
    threshold="threshold",
    inpaint="inpaint_only",
)
MODES = Label(
    ("balanced", "prompt", "control", "guess"),
    prompt="My prompt is more important",
    control="ControlNet is more important",
)
RESIZES = Label(
    ("crop", "fill", "stretch"),
    crop="Crop and Resize",
    fill="Resize and Fill",
    stretch="Just Resize",
)
TASKS = Label(
    ("pose", "depth", "soft", "edges", "normal", "segments", "tile", "inpaint"),
    pose="OpenPose",
    soft="Soft Edge",
    edges="Canny",
    normal="Normal Map",
    segments="Segmentation",
)
OF_PREPROCESSORS = {"canny": "edges", "tile": "tile", "blur": "tile", "inpaint": "inpaint"}
"""The task of a picture that a preprocessor made."""
ITEM = re.compile(r"ControlNet \d{1,2}")
"""The key of an item in a recipe, as A1111's ControlNet extension writes it."""


class NetworkFile(Kind):
    """The path of a file or folder of this machine; for others its name alone."""

    must = "be a file or a folder, in JSON its bare name"
    metavar = "FILE"

    def check(self, value: Any) -> str:
        if not isinstance(value, (str, Path)) or not str(value):
            raise ValueError
        return str(value)

    def write(self, value: str) -> str:
        return plain_name(value)

    def to_json(self, value: str) -> str:
        return plain_name(value)

    def from_json(self, value: Any) -> str:
        if self.check(value) != plain_name(value) or value.startswith("~"):
            raise ValueError
        return value


of = partial(declared, group="")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Control(Record):
    """A ControlNet, and how it is used.

    Example:
        >>> Control(file="canny.safetensors", weight=0.8, end=0.7)
        Control(file='canny.safetensors', weight=0.8, end=0.7)
    """

    file: str = of(..., NetworkFile(), "Model", "its file or folder")
    image: np.ndarray | None = of(
        None, Pixels(), "", "the picture that it is shown [that which the request begins from]"
    )
    preprocessor: str = of("none", PREPROCESSORS, "Module", "what is made of the picture [none]")
    weight: float = of(1.0, Number(0), "Weight", "how much it says [1]")
    resize: str = of("crop", RESIZES, "Resize Mode", "how the picture gets the size [crop]")
    start: float = of(0.0, Number(0, 1), "Guidance Start", "the part of the steps before [0]")
    end: float = of(1.0, Number(0, 1), "Guidance End", "the part of the steps until its end [1]")
    mode: str = of(
        "balanced", MODES, "Control Mode", "whether words or picture come first [balanced]"
    )
    task: str | None = of(
        *(None, TASKS, "Union Control Type"),
        "what the picture is, for a ControlNet-Union [as the preprocessor made it]",
    )

    @property
    def task_of_picture(self) -> str | None:
        """The task, by the preprocessor where it is not given."""
        return self.task or OF_PREPROCESSORS.get(self.preprocessor)

    def options(self) -> dict[str, Any]:
        """The values that are not the defaults, besides the file and the picture."""
        return {n: v for n, v in self.given().items() if n not in ("file", "image")}

    def argument(self, picture: str) -> str:
        """The words of the command line, for a picture in a file of this name."""
        said = ",".join(f"{name}={value}" for name, value in self.options().items())
        return ":".join(filter(None, (self.file, "" if self.image is None else picture, said)))

    @property
    def sees_canvas(self) -> bool:
        """Whether it is shown what each picture begins from, or its mask."""
        return self.image is None or self.preprocessor == "inpaint"

    def text(self) -> str:
        """The item of a recipe, in the words of A1111's ControlNet extension."""
        stated = {
            spec.key: spec.kind.write(getattr(self, name))
            for name, spec in specs(Control).items()
            if spec.key and getattr(self, name) is not None
        }
        keys = ("Module", *(key for key in stated if key != "Module"))
        return ", ".join(f"{key}: {stated[key]}" for key in keys)


def read_item(text: str) -> Control:
    """The ControlNet that an item of a recipe states, without its picture.

    A preprocessor that we do not have is left out: what it made of the picture is not here either.
    """
    known = {spec.key: (name, spec.kind) for name, spec in specs(Control).items() if spec.key}
    pieces = re.split(rf"(?:^|, )({'|'.join(known)}): ", text)
    values: dict[str, Any] = {}
    for key, text in zip(pieces[1::2], pieces[2::2], strict=True):
        name, kind = known[key]
        said = text.split(", ")[0].strip()
        if name == "file":
            values[name] = kind.from_json(plain_name(re.sub(r" \[[0-9a-f]+\]$", "", said)))
            continue
        with suppress(ValueError) if name in ("preprocessor", "task") else nullcontext():
            values[name] = kind.read(said)
    if "file" not in values:
        raise ValueError
    return Control(**values)


class Controls(Kind):
    """ControlNets with their pictures."""

    must = "be ControlNets, each as (file, picture, {weight, start, end, ...})"
    metavar = "FILE:IMAGE"
    action = "extend"

    @property
    def must_read(self) -> str:
        form = "FILE:IMAGE:canny,weight=0.8,start=0,end=0.7"
        return f"be FILE:IMAGE, or {form}, where IMAGE is a picture that is here"

    def check(self, value: Any) -> tuple[Control, ...]:
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
            raise ValueError
        return tuple(map(_control, value))

    def received(self, name: str, value: Any, error: Exception) -> str:
        """The reason; an array's values would fill the screen."""
        return str(error) or f"{name} of type {type(value).__name__}"

    def read(self, text: str) -> tuple[Control, ...]:
        try:
            return (_read(text),)
        except OSError as error:  # no such picture
            raise ValueError from error

    def recall(self, text: str) -> tuple[Control, ...]:
        return tuple(map(read_item, text.split("\n")))

    def write(self, value: tuple[Control, ...]) -> str:
        return "\n".join(control.text() for control in value)

    def to_json(self, value: tuple[Control, ...]) -> list[dict[str, Any]]:
        return [control.to_json() for control in value]

    def from_json(self, value: Any) -> tuple[Control, ...]:
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise ValueError
        return tuple(map(Control.from_json, value))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": Control.schema()}


def _control(value: Any) -> Control:
    """A ControlNet given as such, as fields by name, or as (file, picture, fields)."""
    if isinstance(value, Control):
        return value
    if isinstance(value, Mapping):
        fields = dict(value)
    elif isinstance(value, (tuple, list)) and 1 <= len(value) <= 3:
        file, image, options = (*value, *(None, {})[len(value) - 1 :])
        if not isinstance(options, Mapping):
            raise ValueError("what follows file and picture must be fields by name")
        fields = {"file": file, "image": image, **options}
    else:
        raise ValueError("each must be (file, picture) or (file, picture, fields)")
    specs(Control, fields)  # says which names are none
    return Control(**{"file": None, **fields})


def _read(text: str) -> Control:
    """A ControlNet of the command line."""
    parts = re.split(r":(?![\\/])", text)  # C:\ and C:/ stay
    options = _options(parts[-1]) if len(parts) > 1 else None
    file, *image = parts if options is None else parts[:-1]
    if len(image) > 1:
        raise ValueError
    picture: Any = image[0] if image and image[0] else None
    return Control(file=file, image=picture, **(options or {}))


def _options(text: str) -> dict[str, Any] | None:
    """The fields that "canny,weight=0.8" states; None: it is something else."""
    known, found = specs(Control), {}
    for item in text.split(","):
        name, equals, said = item.strip().partition("=")
        if not equals and name in (*PREPROCESSORS.words, *TASKS.words):
            name, said = "preprocessor" if name in PREPROCESSORS.words else "task", name
        if name not in known or name in ("file", "image"):
            return None
        found[name] = known[name].kind.read(said)
    return found


def items(controls: tuple[Control, ...]) -> dict[str, str]:
    """The items of a recipe, one for each ControlNet."""
    return {f"ControlNet {i}": control.text() for i, control in enumerate(controls)}


def stated(items: Mapping[str, str]) -> dict[str, str]:
    """The text of the field as a recipe's items state it."""
    texts = [text for key, text in items.items() if ITEM.fullmatch(key)]
    return {"controls": "\n".join(texts)} if texts else {}
