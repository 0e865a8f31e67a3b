"""What the commands have in common: options, the console, and what to type for this command."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.device import DEVICES, DTYPES

if TYPE_CHECKING:
    from rich.console import Console

DeviceOption = Annotated[
    str | None, typer.Option("--device", help=f"auto, {', '.join(row.kind for row in DEVICES)}; cuda:1 is the second.")
]
DtypeOption = Annotated[str | None, typer.Option("--dtype", help=f"One of {', '.join(DTYPES)}.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="The seed of whatever is random.")]
Outputs = Annotated[Path, typer.Option("--outputs", help="Where results are published.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable results on stdout, all else on stderr.")]


def make_console(*, stderr: bool) -> Console:
    """Return a rich console, plain where it is piped or NO_COLOR is set."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1; main knows better

    return Quiet(stderr=stderr, highlight=False)


def print_json(data: Any) -> None:
    """Write plain data to standard output."""
    from lab.store import write_json

    sys.stdout.write(write_json(data))


def typed() -> str:
    """Return what to type for this command: ``lab``, or its path where it is not on the search path."""
    if Path(sys.argv[0]).name == "__main__.py":
        return "python -m lab"
    return "lab" if shutil.which("lab") else shlex.quote(os.path.relpath(sys.argv[0]))
