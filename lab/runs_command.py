"""``lab runs``: what became of the notebooks that were run; listed, shown, compared, exported, verified, pruned."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.console import Json, Outputs, make_console, print_json
from lab.errors import LabError, UsageError, did_you_mean

if TYPE_CHECKING:
    from lab.report.run_text import Told
    from lab.run.index import RunSummary

runs_app = typer.Typer(
    help="List, show, compare, export, verify and prune the runs of notebooks.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Its folder, its key or the beginning of it, NOTEBOOK/KEY, NOTEBOOK/latest."),
]
Format = Annotated[
    str, typer.Option("--format", help="csv, jsonl or parquet; what FILE ends in without.", show_default=False)
]


@runs_app.command("list")
def list_runs(
    notebook: Annotated[str, typer.Argument(help="Those of this notebook; all without.", show_default=False)] = "",
    status: Annotated[str, typer.Option("--status", help="Those with this status, such as failed.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The newest so many.")] = None,
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """List runs, the newest first, with the parameters that differ."""
    from lab.report.run_text import runs_table
    from lab.run.find import find_notebook
    from lab.run.index import read_runs

    found = read_runs(outputs)
    console = make_console(stderr=json)
    if notebook:
        found = find_notebook(notebook, found)
    if status:
        _check_status(status, found)
        found = [run for run in found if run.status == status]
    found = found[:limit]
    if json:
        print_json({"runs": [_plain(run) for run in found]})
    elif found:
        for part in runs_table(found, width=console.width):
            console.print(part)
    else:
        which = f" with status {status}" if status else ""
        print(f"There are no runs{which} below {outputs}. 'lab run NOTEBOOK' makes one.")


@runs_app.command("show")
def show_run(
    run: Run,
    html: Annotated[bool, typer.Option("--html", help="Write the executed notebook as a page beside it.")] = False,
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """Show a run: parameters, environment, cells, what ended it, its worst gradients, its files."""
    from lab.report.notebook_page import write_page
    from lab.report.run_text import run_text
    from lab.run.index import read_record

    found = _find(run, outputs)
    record = read_record(found.path)
    if html:
        page = write_page(found.path, record)
        print(page, file=sys.stderr if json else sys.stdout)
    if json:
        print_json(record)
    elif not html:
        _tell(run_text(found, record))


@runs_app.command("compare")
def compare_runs(a: Run, b: Run, outputs: Outputs = Path("outputs"), json: Json = False) -> int:
    """Say what differs between two runs. Exit code 0: the same results (status, cells, gradients, claims, pictures,
    executed notebook but for times); 1: other results. Time and memory are shown and count for nothing.
    """
    from lab.report.run_text import difference_text
    from lab.run.difference import compare_records, read_result

    pair = _find(a, outputs), _find(b, outputs)
    records = [read_result(run.path) for run in pair]
    found = compare_records(*records)
    if json:
        print_json({"a": str(pair[0].path), "b": str(pair[1].path), **found.to_json()})
    else:
        _tell(difference_text(*pair, found))
    return 0 if found.same else 1


@runs_app.command("prune")
def prune_runs(
    failed: Annotated[bool, typer.Option("--failed", help="Those that did not complete, or cannot be read.")] = False,
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, metavar="DAYS", help="Those older than that.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", min=0, metavar="N", help="Those beyond the newest N of their notebook.")
    ] = None,
    repeated: Annotated[bool, typer.Option("--repeated", help="All but the newest of each key.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without, only say which.")] = False,
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """Remove the runs for which every option given holds. What 'latest' points at stays, unless all of its notebook
    go.
    """
    from lab.report.run_text import size_text
    from lab.run.index import read_runs
    from lab.run.prune import Criteria, remove_runs, select_runs, size_of

    criteria = Criteria(failed, older_than, keep, repeated)
    if not criteria.given:
        raise UsageError(
            "Nothing says which runs go.",
            "Expected --failed, --older-than DAYS, --keep N or --repeated.",
            "Type for instance 'lab runs prune --repeated'.",
        )
    runs = read_runs(outputs)
    going = select_runs(runs, criteria, now=datetime.now(UTC))
    sizes = {run.path: size_of(run.path) for run in going}
    removed = remove_runs(going, among=runs) if yes else iter(going)
    for run in removed:
        verb = "removed" if yes else "would remove"
        print(f"{verb} {run.name}  {run.status}  {size_text(sizes[run.path])}", file=sys.stderr if json else sys.stdout)
    if yes and going:
        read_runs(outputs)  # the index forgets them
    if json:
        print_json({"removed": yes, "bytes": sum(sizes.values()), "runs": [_plain(run) for run in going]})
        return
    advice = "" if yes or not going else " Add --yes to remove them."
    print(f"{len(going)} of {len(runs)} runs, {size_text(sum(sizes.values()))}.{advice}")


@runs_app.command("export")
def export_runs(
    file: Annotated[str, typer.Argument(help="Where to; its ending says how. - is standard output.")],
    notebook: Annotated[str, typer.Argument(help="Those of this notebook; all without.", show_default=False)] = "",
    comparisons: Annotated[bool, typer.Option("--comparisons", help="A row a gradient, not a run.")] = False,
    format: Format = "",
    outputs: Outputs = Path("outputs"),
) -> None:
    """Write a table of runs, the newest first: status, time, memory, a column for each parameter."""
    from lab.report.run_table import FORMATS, run_rows
    from lab.run.find import find_notebook
    from lab.run.index import read_runs
    from lab.store import replace_file, storage_errors

    kind = format or Path(file).suffix.removeprefix(".") or "csv"
    if kind not in FORMATS or (file == "-" and kind == "parquet"):
        raise UsageError(
            f"{file!r} cannot be written as {kind!r}.",
            f"Expected {', '.join(FORMATS)}; on standard output csv or jsonl.",
            did_you_mean(kind, FORMATS) or "Name it with --format.",
        )
    runs = read_runs(outputs)
    rows = run_rows(find_notebook(notebook, runs) if notebook else runs, comparisons=comparisons)
    data = FORMATS[kind](rows)
    if file == "-":
        sys.stdout.write(str(data))
        return
    with storage_errors(Path(file)):
        path = Path(file).resolve()  # of a link, what it names
        if path.exists() and not path.is_file():  # a device, or a pipe that another command reads
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        else:
            replace_file(path, data)
    print(f"{len(rows)} rows → {file}")


@runs_app.command("verify")
def verify_runs(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="As of show; the latest of each notebook without.")
    ] = None,
    notebook: Annotated[
        Path | None, typer.Option("--notebook", help="Where the notebook is now, for one run.", show_default=False)
    ] = None,
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> int:
    """Run notebooks again as they were run, and compare all but times, byte by byte. Exit code 1: one differs;
    2: one cannot be run as it was, for its notebook, the lock or the lab has changed since.
    """
    from lab.report.run_text import verification_text
    from lab.run.verify_runs import plan_again, verify_run

    chosen = _chosen(runs or [], outputs)
    if notebook is not None and len(chosen) != 1:
        raise UsageError(
            f"--notebook was given for {len(chosen)} runs.", "Expected one RUN beside it.", "Name the run it is for."
        )
    rows: list[dict[str, Any]] = []
    stale: LabError | None = None
    for run in chosen:
        try:
            plan = plan_again(run.path, notebook=notebook)
        except LabError as error:
            stale = stale or error
            row = {"run": str(run.path), "status": "stale", "why": error.happened}
        else:
            with make_console(stderr=True).status(run.name):
                found = verify_run(run.path, plan)
            row = {"run": str(run.path), "status": "same" if found.same else "differs", **vars(found)}
        rows.append(row)
        if not json:
            _tell(verification_text(run, row))
    if json:
        print_json({"runs": rows})
    if any(row["status"] == "differs" for row in rows):
        return 1
    return 0 if stale is None else stale.exit_code


def _chosen(words: list[str], outputs: Path) -> list[RunSummary]:
    """Return the runs that were named, or the newest of each notebook. Raises: UsageError where there is none."""
    from lab.run.find import find_run, no_such_run
    from lab.run.index import read_runs

    runs = read_runs(outputs)
    if words:
        return [find_run(word, runs, outputs) for word in words]
    newest = {run.notebook: run for run in reversed(runs)}
    if not newest:
        raise no_such_run("latest", runs, outputs)
    return [find_run(f"{name}/latest", runs, outputs) for name in sorted(newest)]


def _find(word: str, outputs: Path) -> RunSummary:
    return _chosen([word], outputs)[0]


def _check_status(status: str, found: list[RunSummary]) -> None:
    from lab.run.index import STATUSES

    known = sorted({*STATUSES, *(run.status for run in found)})
    if status not in known:
        raise UsageError(
            f"No run has the status {status!r}.",
            f"Expected one of {', '.join(known)}.",
            did_you_mean(status, known) or "Choose one of them.",
        )


def _plain(run: RunSummary) -> dict[str, Any]:
    return {**vars(run), "path": str(run.path)}


def _tell(told: Told) -> None:
    """Print lines, each with its style, as they are: much of them comes from notebooks."""
    from rich.text import Text

    console = make_console(stderr=False)
    for line, style in told:
        console.print(Text(line, style=style), soft_wrap=True)
