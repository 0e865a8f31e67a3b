"""``lab verify`` and ``lab golden``: gradients proven on this machine, and the references they are proven against."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.console import DeviceOption, Json, Outputs, make_console, print_json
from lab.device import DTYPES
from lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from lab.prove.case import Chunk, Selection
    from lab.prove.journal import Journal
    from lab.prove.verification import Verification
    from lab.prove.verify import Target

Words = list[str] | None


def verify(
    device: DeviceOption = None,
    backend: Annotated[str, typer.Option("--backend", help="Another way to run it; --list shows them.")] = "plain",
    simulate: Annotated[str, typer.Option("--simulate", help="A simulated faulty device; --list shows them.")] = "",
    dtype: Annotated[Words, typer.Option("--dtype", help=f"Some of {', '.join(DTYPES)}; all without.")] = None,
    ops: Annotated[Words, typer.Option("--ops", help="Operations, such as 'conv*'; all without.")] = None,
    axis: Annotated[Words, typer.Option("--axis", help="Such as layout=permuted,strided.")] = None,
    case: Annotated[str, typer.Option("--case", help="One case, as a report names it.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Small cases, one change at a time.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="PyTorch's own database of operations as well.")] = False,
    soak: Annotated[float, typer.Option("--soak", min=0, metavar="MINUTES", help="Repeat, and compare bits.")] = 0,
    ieee: Annotated[bool, typer.Option("--ieee", help="Switch full precision on first; as it comes without.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the numbers; other than 0 takes longer.")] = 0,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; one a core without.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show operations and backends, run nothing.")] = False,
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """Prove the gradients of this machine, operation by operation, and say why where one is wrong."""
    from lab.prove.case import Selection, parse_axes, parse_case
    from lab.prove.machines import find_backend

    if listing:
        _show_list(make_console(stderr=False))
        return
    selection = Selection(_words(ops) or ("*",), _dtypes(dtype), parse_axes(axis or ()), quick, seed, deep)
    run_as = find_backend(simulate or backend)
    if simulate and backend != "plain":
        raise UsageError(
            f"Both --backend {backend} and --simulate {simulate} were given.",
            "Expected one of the two: a simulated device is run on the CPU as it is.",
            "Leave one of them out.",
        )
    if run_as.simulated is not bool(simulate):
        raise UsageError(
            f"{run_as.name!r} is {'a simulated' if run_as.simulated else 'a real'} backend.",
            "Expected real ones after --backend and simulated ones after --simulate.",
            f"Type 'lab verify {'--simulate' if run_as.simulated else '--backend'} {run_as.name}'.",
        )
    if case:
        parse_case(case)
    chunks = selection.chunks()
    target = _target(device or ("cpu" if run_as.name != "plain" else "auto"), run_as, ieee=ieee)
    console = make_console(stderr=json)
    if case:
        _verify_case(case, target, console, json=json)
        return
    found, folder = _verify(selection, chunks, target, outputs, workers=workers, minutes=soak)
    from lab.prove.summary import print_summary

    print_summary(found, folder, console)
    if json:
        print_json(found.to_json())
    if not found.passed:
        wrong = sum(not probe.passed for probe in found.probes)
        raise LabError(
            f"{len(found.failing)} of {len(found.cells)} operations and dtypes"
            f"{f' and {wrong} of {len(found.probes)} probes' if wrong else ''} failed on {target.device}.",
            "Expected every gradient within what arithmetic allows, and every probe exact.",
            f"Open {folder / 'index.html'}: each failure has its cause and what to type for it alone.",
        )


def _words(given: Words) -> tuple[str, ...]:
    """Return words that were given one by one or with commas."""
    return tuple(word for words in given or () for word in words.split(",") if word)


def _dtypes(given: Words) -> tuple[str, ...]:
    from lab.errors import did_you_mean

    names = _words(given) or DTYPES
    for name in names:
        if name not in DTYPES:
            raise UsageError(
                f"There is no dtype {name!r}.",
                f"Expected some of {', '.join(DTYPES)}.",
                did_you_mean(name, DTYPES) or "Leave --dtype out for all of them.",
            )
    return tuple(name for name in DTYPES if name in names)


def _target(device: str, run_as: Any, *, ieee: bool) -> Target:
    from lab.device import resolve_device
    from lab.prove.verify import Target

    resolved = str(resolve_device(device))
    if run_as.name != "plain" and resolved != "cpu":
        raise UsageError(
            f"The backend {run_as.name!r} is one of the CPU, and the device is {resolved}.",
            "Expected --device cpu, or no backend.",
            "Leave one of the two out.",
        )
    return Target(resolved, run_as, ieee)


def _verify(
    selection: Selection, chunks: list[Chunk], target: Target, outputs: Path, *, workers: int | None, minutes: float
) -> tuple[Verification, Path]:
    """Sweep, diagnose, publish. What is finished of an interrupted run is not run again."""
    from lab.device import environment
    from lab.prove.journal import opened_journal
    from lab.prove.result import cells
    from lab.prove.soak import soak
    from lab.prove.sweep import local_workers, sweep
    from lab.prove.verification import Verification, ask_probes, find_causes
    from lab.report.verification import publish_verification, verification_key

    key = verification_key(selection, target)
    start = time.perf_counter()
    with opened_journal(outputs, key) as journal, local_workers(target, workers) as executor:
        with _progress(chunks, journal) as advance:
            probes = ask_probes(selection.dtypes, target, executor)
            results = sweep(chunks, target, executor, journal, on_chunk=advance)
        causes = find_causes(results, probes, target, executor)
        soaked = None
        if minutes:
            with make_console(stderr=True).status("soak") as status:  # shown in a terminal alone

                def show(rounds: int) -> None:
                    status.update(f"soak, {minutes:g} minutes: {rounds} rounds")

                soaked = soak(chunks, target, executor, minutes=minutes, on_round=show)
        # Asked where the gradients were computed: threads and switches are a worker's own.
        facts = executor.submit(environment, target.device).result()
        found = Verification(target, selection, probes, tuple(cells(results, causes)), facts, soaked)
        folder = publish_verification(found, outputs, key, seconds=time.perf_counter() - start)
        journal.remove()
    return found, folder


@contextmanager
def _progress(chunks: list[Chunk], journal: Journal) -> Iterator[Any]:
    """Show on stderr how far it is: a bar in a terminal, a line at the start where it is piped."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = make_console(stderr=True)
    done = sum(chunk.id in journal.finished for chunk in chunks)
    if done:
        console.print(f"continues where it stopped: {done} of {len(chunks)} parts are done")
    if not console.is_terminal:
        console.print(f"verifying {len(chunks)} parts")
        yield lambda result: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=len(chunks), completed=done)
        yield lambda result: progress.update(task, advance=1, description=f"{result.op} {result.dtype}")


def _verify_case(word: str, target: Target, console: Console, *, json: bool) -> None:
    """Run one case in a worker and say all there is to say about it."""
    from lab.prove.case import Chunk, parse_case
    from lab.prove.diagnose import Failure, diagnose
    from lab.prove.summary import print_case
    from lab.prove.sweep import local_workers
    from lab.prove.verification import ask_probes, plain
    from lab.prove.verify import verify_chunk

    case = parse_case(word)
    with local_workers(target, 1) as executor:
        (result,) = (
            executor.submit(verify_chunk, Chunk(case.op, case.sample, case.dtype, (case,)), target).result().cases
        )
        cause = None
        if result.verdict.is_failure:
            probes = ask_probes((case.dtype,), target, executor)
            cause = executor.submit(diagnose, Failure((result,)), probes, target).result()
    print_case(result, cause, console)
    if json:
        told = {**asdict(result), "ratio": plain(result.ratio), "cause": cause and asdict(cause)}
        print_json(told)
    if result.verdict.is_failure:
        raise LabError(
            f"{word} failed on {target.device}.", "Expected it within what arithmetic allows.", "The cause is above."
        )


def _show_list(console: Console) -> None:
    from lab.prove.backends import BACKENDS
    from lab.prove.case import ROWS
    from lab.prove.faults import FAULTS

    console.print(f"{len(ROWS)} operations: {', '.join(ROWS)}\n", markup=False)
    for title, rows in (("Real backends of the CPU (--backend)", BACKENDS), ("Simulated (--simulate)", FAULTS)):
        console.print(title)
        for row in rows.values():
            console.print(f"  {row.name:<18} {row.about}", markup=False)


def golden(
    path: Annotated[Path | None, typer.Option("--file", help="Where to write it; in its place without.")] = None,
) -> None:
    """Measure the references of the small and odd problems anew and write the golden file."""
    from concurrent.futures import ProcessPoolExecutor

    from lab.prove.golden import PATH
    from lab.prove.truth import make_golden, one_thread
    from lab.store import storage_errors

    written = path or PATH
    with ProcessPoolExecutor(initializer=one_thread) as executor:
        content = make_golden(executor)
    with storage_errors(written):
        written.write_bytes(content)
    print(f"wrote {written}: {len(content) / 1e6:.2f} MB")
