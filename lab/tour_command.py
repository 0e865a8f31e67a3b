"""``lab tour``: all that the lab does on one device, part after part, and the verdict."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.console import DeviceOption, Json, Outputs, make_console, print_json
from lab.errors import LabError, UsageError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from lab.report.tour import PartResult

Words = tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What the tour was asked for; the parts are made of it."""

    device: str
    quick: bool
    outputs: Path
    notebooks: Path

    @property
    def published(self) -> Words:
        """The options of a command that computes there and publishes."""
        return "--device", self.device, "--outputs", str(self.outputs)


def _doctor(asked: Asked) -> Iterator[Words]:
    yield "doctor", "--device", asked.device


def _lesson(asked: Asked) -> Iterator[Words]:
    from lab.teach.lessons import discover_lessons

    yield from (("lesson", lesson.name, *asked.published) for lesson in discover_lessons())


def _exercises(asked: Asked) -> Iterator[Words]:
    yield "exercises", "--solutions", "--device", asked.device


def _notebooks(asked: Asked) -> Iterator[Words]:
    """Yield a command a notebook, so that one interrupt ends it. Raises: UsageError where there is none."""
    from lab.run import read_notebook

    paths = sorted(asked.notebooks.glob("*.ipynb"))
    if not paths:
        raise UsageError(
            f"There are no notebooks in {asked.notebooks}.",
            "Expected those of the lab.",
            f"Type 'lab generate --folder {asked.notebooks}', or name another folder with --notebooks.",
        )
    for path in paths:
        parameters = read_notebook(path).parameters
        solved = ("-p", "solutions=true") if "solutions" in parameters else ()
        device = ("--device", asked.device) if "device" in parameters else ()
        # --force: what was finished elsewhere, or on another day, says nothing about this device now.
        yield "run", str(path), *solved, *device, "--outputs", str(asked.outputs), "--html", "--force"


def _verify(asked: Asked) -> Iterator[Words]:
    yield "verify", *asked.published, *(("--quick",) if asked.quick else ())


# What a part shows, and what is typed for it.
PARTS: dict[str, tuple[str, Callable[[Asked], Iterator[Words]]]] = {
    "doctor": ("what results depend on here", _doctor),
    "lesson": ("each gradient beside its closed form", _lesson),
    "exercises": ("the reference solutions, judged", _exercises),
    "notebooks": ("the same in notebooks, each run as a page", _notebooks),
    "verify": ("the gradients of this device, proven", _verify),
}


def tour(
    device: DeviceOption = None,
    quick: Annotated[bool, typer.Option("--quick/--full", help="What verify proves: in a minute, or all.")] = True,
    only: Annotated[str, typer.Option("--only", metavar="PARTS", help=f"Some of {','.join(PARTS)}.")] = "",
    notebooks: Annotated[Path, typer.Option("--notebooks", help="Where the notebooks are.")] = Path("notebooks"),
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """Show and prove all of the lab on one device; exits with the verdict.

    Each part is the command that is printed above it; all run, though one fails. What each has published is listed in
    the end, and outputs/tour/latest/tour.json tells it to a machine.
    """
    from lab.child import listening
    from lab.device import resolve_device
    from lab.report.tour import publish_tour, tour_result
    from lab.store import check_writable

    names = _names(only)
    check_writable(outputs)
    asked = Asked(str(resolve_device(device or "auto")), quick, outputs, notebooks)
    planned = {name: list(PARTS[name][1](asked)) for name in names}  # all, before the first one runs
    console = make_console(stderr=json)
    started, found = datetime.now(UTC).isoformat(timespec="milliseconds"), []
    with listening() as children:
        run = partial(children.run, stdout=sys.stderr if json else None)
        for number, (name, commands) in enumerate(planned.items(), start=1):
            console.print()
            console.rule(f"{number} of {len(names)} · {name}: {PARTS[name][0]}", align="left", style="bold")
            found.append(_run_part(name, commands, outputs, run, console))
    result = tour_result(found, asked.device, quick=quick, started=started)
    _print_summary(found, asked, console)
    path = publish_tour(result, outputs)
    console.print(f"\nThe results lie in {outputs}, the verdict: {path}", soft_wrap=True, markup=False)
    if json:
        print_json(result)
    if failed := [part.name for part in found if part.exit_code]:
        raise LabError(
            f"{len(failed)} of {len(found)} parts of the tour failed on {asked.device}: {', '.join(failed)}.",
            "Expected every command of each part to end with exit code 0.",
            f"What it says is above; 'lab tour --device {asked.device} --only {','.join(failed)}' repeats it.",
        )


def _names(only: str) -> list[str]:
    """Return the parts that were asked for, in the order of the tour. Raises: UsageError for an unknown one."""
    asked = [word for word in only.split(",") if word] or list(PARTS)
    for word in asked:
        if word not in PARTS:
            raise UsageError(
                f"The tour has no part {word!r}.",
                f"Expected some of {', '.join(PARTS)}.",
                did_you_mean(word, PARTS) or "Leave --only out for all of them.",
            )
    return [name for name in PARTS if name in asked]


def _run_part(
    name: str, commands: Sequence[Words], outputs: Path, run: Callable[[Words], int], console: Console
) -> PartResult:
    """Run the commands of a part, each though the one before failed."""
    from lab.report.tour import Command, PartResult

    before, start, done = _latest(outputs), time.perf_counter(), []
    for words in commands:
        console.print(f"$ lab {shlex.join(words)}", style="dim", markup=False, soft_wrap=True)
        console.file.flush()  # before the command writes to the same place
        done.append(Command(words, run(words)))
    fresh = sorted({*_latest(outputs).items()} - {*before.items()})
    published = tuple(f"{shelf}/{key}" for shelf, key in fresh)
    return PartResult(name, tuple(done), published, time.perf_counter() - start)


def _latest(outputs: Path) -> dict[str, str]:
    """Return the newest result of each shelf of the store."""
    found = {}
    for link in outputs.glob("[!.]*/latest"):
        with suppress(OSError):  # it is no link, or has just been removed
            found[link.parent.name] = str(link.readlink())
    return found


def _print_summary(found: Sequence[PartResult], asked: Asked, console: Console) -> None:
    """Print what each part came to, and where its results are."""
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.rule(f"The tour on {asked.device}", align="left", style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("part", "verdict", "seconds", "results"):
        table.add_column(head, justify="right" if head == "seconds" else "left", overflow="fold")
    for part in found:
        verdict = f"fail, exit code {part.exit_code}" if part.exit_code else "pass"
        where = "\n".join(part.results) or "above"
        row = (part.name, Text(verdict, style="red" if part.exit_code else "green"), f"{part.seconds:.1f}", where)
        table.add_row(*row)
    console.print(table)
