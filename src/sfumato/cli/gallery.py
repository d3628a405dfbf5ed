"""`sfumato gallery FOLDER`: a contact sheet of the pictures in a folder."""

from __future__ import annotations

import argparse

from sfumato.cli import terminal
from sfumato.cli.help import UsageError
from sfumato.cli.names import claim_file


def run(options: argparse.Namespace) -> int:
    """Write the sheet under a name that nothing has yet, and print that."""
    from sfumato.pictures import gallery, save

    if len(options.folder) != 1:
        raise UsageError("there must be one folder; name it: `sfumato gallery FOLDER`")
    sheet = gallery(options.folder[0], options.columns, options.size)
    with claim_file(options.out) as path:
        save(path, sheet)
    terminal.write(str(path))
    return 0
