"""`sfumato upscale FILE...`: larger pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sfumato._backend import import_keras
from sfumato.cli import terminal
from sfumato.cli.help import UsageError
from sfumato.cli.names import PICTURES, check_writable, claim_file, is_folder
from sfumato.cli.progress import Progress
from sfumato.cli.terminal import Interruption

if TYPE_CHECKING:
    from sfumato.pictures.copies import Said


def run(options: argparse.Namespace) -> int:
    """Enlarge every file, or all pictures of a folder; 1 if one of them cannot be."""
    from sfumato._files import expanded
    from sfumato.pictures import files

    if not options.file:
        raise UsageError("there is no picture to enlarge; name one: `sfumato upscale FILE`")
    failed = 0
    check_writable(options.out)
    with Progress(options.quiet) as progress, Interruption() as interruption:
        import_keras(alone=True)
        from sfumato.presets.upscalers import find
        from sfumato.upscaling import scaled

        scaled((1, 1), options.scale)
        find(options.upscaler)
        for given in options.file:
            try:
                for path in files.named(expanded(given)):
                    interruption.check()
                    progress.doing(f"enlarging {path.name}")
                    progress.write(str(_enlarged(path, options)))
            except (OSError, ValueError) as error:
                terminal.complain(f"error: {terminal.in_one_line(error)}")
                failed = 1
    return failed


def _enlarged(path: Path, options: argparse.Namespace) -> Path:
    """Write the larger picture under a name that nothing has yet."""
    from sfumato.pictures.copies import said_by, save_copy
    from sfumato.upscaling import upscale

    said = None if options.no_metadata else noted(said_by(path), options)
    pixels = upscale(path, options.scale, options.upscaler, options.tile)
    with claim_file(target(path, options)) as free:
        save_copy(free, pixels, said)
        return free


def target(path: Path, options: argparse.Namespace) -> Path:
    """The file for a larger picture: next to the small one unless OUT says where."""
    if options.out and not is_folder(options.out):
        return options.out
    ending = path.suffix if path.suffix.lower() in PICTURES else ".png"
    name = f"{path.stem}-{options.scale:g}x{ending}"
    return (options.out or path.parent) / name


def noted(said: Said, options: argparse.Namespace) -> Said:
    """What the file says, with A1111's note of what was done to it."""
    from sfumato.presets.upscalers import find, label

    name = label(find(options.upscaler))
    note = f"Postprocess upscale by: {options.scale:g}, Postprocess upscaler: {name}"
    return said._replace(texts={**said.texts, "postprocessing": note})
