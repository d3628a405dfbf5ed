"""The commands and their arguments. A run builds only the parser of the command it needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sfumato.cli.help import Parser
from sfumato.cli.names import ANIMATIONS, OTHER_PICTURES, PICTURES
from sfumato.cli.sizes import RATIOS, read_size


def _generate() -> Parser:
    """The command's own options, and one for each field of a request."""
    from sfumato.request import Request
    from sfumato.request.fields import read, specs
    from sfumato.request.grids import Axis

    parser = Parser(
        "generate",
        "Make pictures from words. Their paths go to stdout.",
        "PROMPT... ",
        'sfumato generate "a red apple"',
        'sfumato generate "a red apple" "a green pear" -n 4 --seed 7 -o fruit',
        "sfumato generate --from fruit/00001-7-a-red-apple.png --steps 50",
    )
    add = parser.add
    fields = dict(specs(Request))

    what = fields.pop("prompt").group
    prompt_help = "each makes pictures of its own; - reads one a line from stdin"
    add(what, "prompt", metavar="PROMPT", nargs="*", help=prompt_help)
    lines_help = "prompts, or JSON of these fields, a line each; what OUT has is not made again"
    add(what, "--prompts", metavar="FILE", help=lines_help)
    add(what, "--from", dest="source", metavar="FILE", help="paint FILE again; options change it")
    size_help = f"WxH, {', '.join(RATIOS)} [the model's]"
    add(what, "--size", type=_typed(read_size), metavar="SIZE", help=size_help)

    for name in fields:
        _add_field(parser, name)

    predictions = ("epsilon", "v_prediction", "sample", "edm")
    prediction_help = "what MODEL's network predicts, where its files do not say it"
    add("which model", "--prediction", choices=predictions, metavar="KIND", help=prediction_help)

    grid: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    grid_help = "compare values, as in steps=10,20 guidance=3,7; of a prompt: WORD,OTHER,OTHER"
    add("what comes out", "--grid", type=_typed(Axis.read), metavar="X=A,B", help=grid_help, **grid)
    _add_outputs(parser, _typed(read, "batch", fields["count"]))
    parser.add("what comes out", "-h", "--help", action="help", help="this")
    return parser


def _add_field(parser: Parser, name: str) -> None:
    """The option for a field of a request, unless the request itself notes it."""
    from sfumato.request import Request
    from sfumato.request.fields import read, specs

    spec = specs(Request)[name]
    if spec.group:
        parser.add(
            spec.group,
            *(f"--{name.replace('_', '-')}", *spec.flags),
            dest=name,
            action=spec.kind.action,
            default=argparse.SUPPRESS,  # what is not given is not there
            type=_typed(read, name, spec),
            metavar=spec.kind.metavar,
            help=spec.help,
        )


def _add_outputs(parser: Parser, read_count: Callable[[str], Any]) -> None:
    """The options for the files that come out."""
    add = parser.add
    out = "what comes out"
    out_help = "folder or file [outputs]"
    add(
        out, "-b", "--batch", type=read_count, default=1, metavar="N", help="pictures at a time [1]"
    )
    add(out, "-o", "--out", type=_typed(_out), default="outputs", metavar="OUT", help=out_help)
    picture, preview_help = _typed(_file, PICTURES), "a small picture, new after each step"
    add(out, "--preview", type=picture, metavar="FILE", help=preview_help)
    animation, gif_help = _typed(_file, ANIMATIONS), "an animation of the steps"
    add(out, "--gif", type=animation, metavar="FILE", help=gif_help)
    add(out, "--no-metadata", action="store_true", help="leave the recipe out of the file")
    add(out, "--json", action="store_true", help="one JSON object per picture, not its path")
    add(out, "-q", "--quiet", action="store_true", help="no progress")


def _typed(read: Callable[..., Any], *known: Any) -> Callable[[str], Any]:
    """`read(*known, text)` for argparse, which then says what is wrong with the text."""
    from sfumato.request.fields import RequestError

    def read_text(text: str) -> Any:
        try:
            return read(*known, text)
        except RequestError as error:
            message = f"must {error.must}. Received: {error.received}"
        except ValueError as error:
            message = str(error)
        raise argparse.ArgumentTypeError(message)

    return read_text


def _file(suffixes: tuple[str, ...], text: str) -> Path:
    """A file with one of these endings."""
    if (path := Path(text)).suffix.lower() not in suffixes:
        raise ValueError(f"must end in {', '.join(suffixes)}. Received: {text}")
    return path


def _out(text: str) -> Path:
    """A folder, or a file that is a picture of ours."""
    if text == "-":
        raise ValueError("must be a folder or a file, as stdout has the paths. Received: -")
    if (path := Path(text)).suffix.lower() in OTHER_PICTURES:
        raise ValueError(f"must be a folder or end in {', '.join(PICTURES)}. Received: {text}")
    return path


def _explain() -> Parser:
    parser = Parser(
        "explain",
        "Show what a model reads of a prompt: chunks, tokens, weights, steps.",
        "PROMPT... ",
        'sfumato explain "a (red:1.3) [apple:pear:0.5]"',
    )
    what = "what to explain"
    parser.add(what, "prompt", metavar="PROMPT", nargs="*", help="each by itself")
    parser.add(what, "--json", action="store_true", help="one JSON object per prompt")
    parser.add(what, "-h", "--help", action="help", help="this")
    parser.set_defaults(size=None, source=None, prompts=None, grid=[])
    words = ("negative_prompt", "prompt_syntax", "emphasis", "wildcards", "embeddings", "seed")
    for name in (*words, "model", "lora_folder", "steps", "guidance"):
        _add_field(parser, name)
    return parser


def _models() -> Parser:
    parser = Parser(
        "models",
        "List the presets, fetch their weights, remove them, check them.",
        "ACTION MODEL... ",
        "sfumato models ls",
        "sfumato models pull sd1.5",
    )
    what = "what to do"
    actions = ("ls", "pull", "rm", "verify")
    words = "ls: list, pull: fetch, rm: remove, verify: check against the published SHA-256"
    parser.add(what, "action", choices=actions, metavar="ACTION", help=words)
    names = "presets; ls and verify take all when none is named"
    parser.add(what, "name", metavar="MODEL", nargs="*", help=names)
    parser.add("options", "--json", action="store_true", help="one JSON object per model")
    parser.add("options", "-h", "--help", action="help", help="this")
    return parser


def _info() -> Parser:
    parser = Parser("info", "Print the recipe that a picture carries.", "FILE... ")
    parser.add("arguments", "file", metavar="FILE", nargs="*", help="PNG, JPEG or WebP")
    parser.add("arguments", "--json", action="store_true", help="one JSON object per file")
    parser.add("arguments", "-h", "--help", action="help", help="this")
    return parser


def _gallery() -> Parser:
    from sfumato.request import Request
    from sfumato.request.fields import read, specs

    parser = Parser("gallery", "Write a contact sheet of the pictures in a folder.", "FOLDER ")
    add = partial(parser.add, "arguments")
    add("folder", metavar="FOLDER", nargs="*", help="with PNG, JPEG or WebP files")
    out = {"type": _typed(_file, PICTURES), "default": "gallery.png", "metavar": "FILE"}
    add("-o", "--out", help="the sheet [gallery.png]", **out)
    number = _typed(read, "number", specs(Request)["count"])
    add("--columns", type=number, metavar="N", help="pictures in a row [as in a square]")
    add("--size", type=number, metavar="N", default=256, help="pixels of a picture, at most [256]")
    add("-h", "--help", action="help", help="this")
    return parser


def _serve() -> Parser:
    from sfumato.cli.serve import parser

    return parser()


def _mcp() -> Parser:
    from sfumato.cli.mcp import parser

    return parser()


def _upscale() -> Parser:
    parser = Parser(
        "upscale",
        "Make pictures larger. The paths of the new files go to stdout.",
        "FILE... ",
        "sfumato upscale photo.jpg",
        "sfumato upscale outputs --scale 4 --upscaler RealESRGAN_x4plus.pth -o large",
    )
    add = partial(parser.add, "arguments")
    add("file", metavar="FILE", nargs="*", help="PNG, JPEG or WebP, or a folder with some")
    add("--scale", type=float, default=2.0, metavar="X", help="from 1 to 8 [2]")
    names = "esrgan, lanczos, bicubic, bilinear, nearest, or a network's FILE [esrgan]"
    add("--upscaler", default="esrgan", metavar="NAME", help=names)
    tile = "pixels of the side of a part; smaller ones need less memory [320]"
    add("--tile", type=int, default=320, metavar="N", help=tile)
    out = "folder or file [next to FILE]"
    add("-o", "--out", type=_typed(_out), metavar="OUT", help=out)
    add("--no-metadata", action="store_true", help="leave out what FILE says, such as its recipe")
    add("-q", "--quiet", action="store_true", help="no progress")
    add("-h", "--help", action="help", help="this")
    return parser


class Command(NamedTuple):
    """A command's one-line summary and the maker of its parser."""

    summary: str
    parser: Callable[[], Parser]


COMMANDS = {
    "generate": Command("make pictures from words", _generate),
    "models": Command("list, fetch, remove and check models", _models),
    "info": Command("print the recipe that a picture carries", _info),
    "explain": Command("show what a model reads of a prompt", _explain),
    "gallery": Command("write a contact sheet of a folder", _gallery),
    "upscale": Command("make pictures larger", _upscale),
    "serve": Command("serve pictures over HTTP", _serve),
    "mcp": Command("make pictures for language models, on stdin and stdout", _mcp),
}

OVERVIEW = """\
sfumato: Stable Diffusion for Keras 3

  sfumato generate "a red apple"

commands:
{}

options:
  -h, --help     this; `sfumato COMMAND --help` tells all about a command
  -V, --version  the version

environment:
  KERAS_BACKEND  jax, tensorflow, torch or openvino
  NO_COLOR       no colours
  SFUMATO_DEBUG  full tracebacks""".format(
    "\n".join(f"  {name:<15}{command.summary}" for name, command in COMMANDS.items())
)
