"""The commands and their arguments. A run builds only the parser of the command it needs."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from sfumato.cli.help import Parser, two_columns
from sfumato.cli.terminal import paint

DTYPES = ("float32", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
SHAPES = ("square", "portrait", "landscape")


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,20}", text) or not least <= int(text) <= most:
            message = f"must be a whole number {_span(least, most)}. Received: {text}"
            raise argparse.ArgumentTypeError(message)
        return int(text)

    return read


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """A reader of numbers from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            message = f"must be a number {_span(least, most)}. Received: {text}"
            raise argparse.ArgumentTypeError(message)
        return value

    return read


def _span(least: float, most: float) -> str:
    return f"from {least}" + (f" to {most}" if most < math.inf else "")


def _interval(text: str) -> tuple[float, float]:
    """`0.2:0.8` as two numbers."""
    try:
        first, second = map(float, text.split(":"))
    except ValueError:
        first, second = 1.0, 0.0
    if not 0 <= first < second <= 1:
        message = f"must be two numbers from 0 to 1, such as 0.2:0.8. Received: {text}"
        raise argparse.ArgumentTypeError(message)
    return first, second


def _size(text: str) -> tuple[int, int] | str:
    """`512x768` as (width, height), or one of `SHAPES`."""
    if text in SHAPES:
        return text
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if match is None:
        shapes = ", ".join(SHAPES)
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT or {shapes}. Received: {text}")
    width, height = int(match[1]), int(match[2])
    if width % 8 or height % 8 or not width or not height:
        raise argparse.ArgumentTypeError(f"must be multiples of 8. Received: {text}")
    return width, height


def _generate() -> Parser:
    parser = Parser(
        "generate",
        "Make pictures from words. Their paths go to stdout.",
        'sfumato generate "a red apple"',
        'sfumato generate "a red apple" "a green pear" -n 4 --seed 7 -o fruit',
        "sfumato generate --from fruit/00001-7-a-red-apple.png --steps 50",
    )
    add, count, seed = parser.add, whole(1), whole(0, 2**64 - 1)

    what = "what to paint"
    add(what, "prompt", metavar="PROMPT", nargs="*", help="each prompt makes pictures of its own")
    add(what, "--negative", metavar="TEXT", help="what to keep out of the picture")
    add(what, "--from", dest="source", metavar="FILE", help="paint FILE again; options change it")

    how = "how to paint it"
    add(how, "--model", metavar="MODEL", help="preset, folder, file or Hub repository [mini]")
    add(how, "--size", type=_size, metavar="SIZE", help=f"WxH, {', '.join(SHAPES)} [the model's]")
    add(how, "--steps", type=count, metavar="N", help="denoising steps [the model's, mostly 25]")
    add(
        how,
        "--guidance",
        type=number(0),
        metavar="X",
        help="how closely to follow the words [the model's]",
    )
    add(how, "--sampler", metavar="NAME", help="such as dpmpp_2m, euler_a, ddim [the model's]")
    add(how, "--schedule", metavar="NAME", help="noise levels, such as karras [the model's]")
    add(how, "--seed", type=seed, metavar="N", help="of the first picture, then N + 1 [any]")
    add(how, "--dtype", choices=DTYPES, metavar="DTYPE", help="such as mixed_bfloat16 [float32]")
    add(how, "--quantize", choices=("int8",), metavar="MODE", help="int8: faster on OpenVINO")

    less = "with less work, not quite the same picture"
    add(
        less,
        "--guidance-interval",
        type=_interval,
        metavar="A:B",
        help="guide only from this part of the steps to that [0:1]",
    )
    add(
        less,
        "--feature-reuse",
        type=count,
        metavar="K",
        help="run the deep part of the network every K-th time [1]",
    )
    add(
        less,
        "--token-merging",
        type=number(0, 0.75),
        metavar="X",
        help="merge this part of the tokens, up to 0.75 [0]",
    )

    out = "what comes out"
    add(out, "-n", "--count", type=count, default=1, metavar="N", help="pictures per prompt [1]")
    add(out, "-b", "--batch", type=count, default=1, metavar="N", help="pictures at a time [1]")
    add(out, "-o", "--out", default="outputs", metavar="OUT", help="folder or file [outputs]")
    add(out, "--no-metadata", action="store_true", help="leave the recipe out of the file")
    add(out, "--json", action="store_true", help="one JSON object per picture instead of its path")
    add(out, "-q", "--quiet", action="store_true", help="no progress")
    add(out, "-h", "--help", action="help", help="this")
    return parser


def _models() -> Parser:
    parser = Parser(
        "models",
        "List the presets, fetch their weights, remove them, check them.",
        "sfumato models ls",
        "sfumato models pull sd1.5",
    )
    parser.add(
        "what to do",
        "action",
        choices=("ls", "pull", "rm", "verify"),
        metavar="ls|pull|rm|verify",
        help="list, fetch, remove, check against the published SHA-256",
    )
    parser.add(
        "what to do",
        "name",
        metavar="MODEL",
        nargs="*",
        help="presets; `ls` and `verify` take all when none is named",
    )
    parser.add("options", "--json", action="store_true", help="one JSON object per model")
    parser.add("options", "-h", "--help", action="help", help="this")
    return parser


def _info() -> Parser:
    parser = Parser("info", "Print the recipe that a picture carries.")
    parser.add("arguments", "file", metavar="FILE", nargs="*", help="PNG, JPEG or WebP")
    parser.add("arguments", "--json", action="store_true", help="one JSON object per file")
    parser.add("arguments", "-h", "--help", action="help", help="this")
    return parser


@dataclass(frozen=True)
class Command:
    """A command's one-line summary and the maker of its parser."""

    summary: str
    parser: Callable[[], Parser]


COMMANDS = {
    "generate": Command("make pictures from words", _generate),
    "models": Command("list, fetch, remove and check models", _models),
    "info": Command("print the recipe that a picture carries", _info),
}


def overview() -> str:
    """The help of the program as a whole."""
    sections = {
        "commands": [(name, command.summary) for name, command in COMMANDS.items()],
        "options": [
            ("-h, --help", "this; `sfumato COMMAND --help` tells all about a command"),
            ("-V, --version", "the version"),
        ],
        "environment": [
            ("KERAS_BACKEND", "jax, tensorflow, torch or openvino"),
            ("NO_COLOR", "no colours"),
            ("SFUMATO_DEBUG", "full tracebacks"),
        ],
    }
    title = f"{paint('sfumato', 'bold')}: Stable Diffusion for Keras 3"
    example = ["", paint("example", "bold"), '  sfumato generate "a red apple"']
    return "\n".join([title, *two_columns(sections), *example])
