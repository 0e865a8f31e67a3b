"""What the commands have in common: options, the console, and what to type for this command."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.device import DEVICES, DTYPES

if TYPE_CHECKING:
    from rich.console import Console

    from lab.practise import Session

DeviceOption = Annotated[
    str | None, typer.Option("--device", help=f"auto, {', '.join(row.kind for row in DEVICES)}; cuda:1 is the second.")
]
DtypeOption = Annotated[str | None, typer.Option("--dtype", help=f"One of {', '.join(DTYPES)}.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="The seed of whatever is random.")]
Which = Annotated[str, typer.Argument(metavar="[ID]", help="Such as ex01; the next one without.", show_default=False)]
Id = Annotated[str, typer.Argument(metavar="ID", help="Such as ex01.")]
LessonOption = Annotated[str, typer.Option("--lesson", help="Its number or name; the first without.")]
Workspace = Annotated[Path, typer.Option("--workspace", help="Where your attempts are.", envvar="LAB_WORKSPACE")]
WORKSPACE = Path("workspace")
Isolated = Annotated[bool, typer.Option("--require-sandbox", help="Run attempts only where they are isolated.")]
Outputs = Annotated[Path, typer.Option("--outputs", help="Where results are published.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable results on stdout, all else on stderr.")]


def make_console(*, stderr: bool) -> Console:
    """Return a rich console, plain where it is piped or NO_COLOR is set."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1; main knows better

    return Quiet(stderr=stderr, highlight=False)


@contextmanager
def open_session(
    lesson: str,
    workspace: Path,
    seed: int | None = None,
    require_sandbox: bool = False,
    *,
    device: str | None = None,
    dtype: str | None = None,
) -> Iterator[Session]:
    """Hand out a session with a lesson's exercises, and say at its end what could not be kept.

    Raises: as Session; UsageError for an unknown lesson, or where a sandbox is required and there is none.
    """
    from lab.practise import Conditions, Session, find_sandbox
    from lab.teach.lessons import find_lesson

    conditions = Conditions(dtype=dtype or "float32", device=device or "cpu")
    sandbox = find_sandbox(accelerator=not conditions.on_cpu, required=True) if require_sandbox else None
    session = Session(find_lesson(lesson).folder, workspace, conditions, seed=seed, sandbox=sandbox)
    try:
        yield session
    finally:
        session.close()
        if session.complaint:
            print(f"Progress was not kept. {session.complaint}", file=sys.stderr)


def print_json(data: Any) -> None:
    """Write plain data to standard output."""
    from lab.store import write_json

    sys.stdout.write(write_json(data))


def typed() -> str:
    """Return what to type for this command: ``lab``, or its path where it is not on the search path."""
    if Path(sys.argv[0]).name == "__main__.py":
        return "python -m lab"
    return "lab" if shutil.which("lab") else shlex.quote(os.path.relpath(sys.argv[0]))
