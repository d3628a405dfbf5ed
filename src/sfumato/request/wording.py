"""A request as its user would write it elsewhere: a command line, a script in Python."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from sfumato.request.control import Controls
from sfumato.request.fields import specs
from sfumato.request.room_kinds import Pixels, Wildcards

if TYPE_CHECKING:
    from sfumato.request.request import Request

OF_MODEL = ("model", "dtype")
"""Fields that `sfumato.load` takes."""


def command_line(request: Request) -> str:
    """The command that paints a request, for a POSIX shell.

    Pictures are named image.png, mask.png, control0.png and image-prompt0.png, as a request does
    not know its files.
    Lists of words to draw from are left out: the command has them in a folder.
    """
    known = specs(type(request))
    options = []
    for name, value in _stated(request).items():
        kind, flag = known[name].kind, f"--{name.replace('_', '-')}"
        if isinstance(kind, Controls):
            [flag] = known[name].flags
            texts = [each.argument(_picture(flag, i)) for i, each in enumerate(value)]
            options += [f"{flag}={text}" for text in texts]
        elif not isinstance(kind, Wildcards):
            text = f"{name}.png" if isinstance(kind, Pixels) else kind.write(value)
            # A value that begins with a dash would be taken for an option.
            options += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    words = ["--", request.prompt] if request.prompt.startswith("-") else [request.prompt]
    if words[0] == "--":
        return shlex.join(["sfumato", "generate", *options, *words])
    return shlex.join(["sfumato", "generate", *words, *options])


def python(request: Request) -> str:
    """The script that paints a request and saves its pictures."""
    known = specs(type(request))
    loaded, painted = [repr(request.model or "mini")], [repr(request.prompt)]
    for name, value in _stated(request).items():
        kind = known[name].kind
        text = repr(f"{name}.png" if isinstance(kind, Pixels) else _plain(value))
        if isinstance(kind, Controls):
            [flag] = known[name].flags
            text = repr([_shown(each, _picture(flag, i)) for i, each in enumerate(value)])
        if name == "model":
            continue
        (loaded if name in OF_MODEL else painted).append(f"{name}={text}")
    return "\n".join(
        [
            "import sfumato",
            "",
            f"model = sfumato.load({', '.join(loaded)})",
            "pictures = model.generate(",
            *(f"    {argument}," for argument in painted),
            ")",
            "for i, picture in enumerate(pictures):",
            '    picture.save(f"{i}.png")',
            "",
        ]
    )


def _stated(request: Request) -> dict[str, Any]:
    """The values to state, besides the prompt: those that a user may choose."""
    known = specs(type(request))
    given = {name: value for name, value in request.given().items() if known[name].group}
    return {name: value for name, value in given.items() if name != "prompt"}


def _picture(flag: str, number: int) -> str:
    """The file of the picture that a network is shown."""
    return f"{flag.strip('-')}{number}.png"


def _shown(item: Any, picture: str) -> tuple[Any, ...]:
    """A ControlNet or an IP-Adapter as Python's users give it."""
    return item.file, None if item.image is None else picture, item.options()


def _plain(value: Any) -> Any:
    """A value whose `repr` makes it again; a row of a table stands under its name."""
    return getattr(value, "name", value)
