"""Which run is meant: by its folder, its key or the beginning of it, or by its notebook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.errors import UsageError, did_you_mean
from lab.run.index import RECORD, RunSummary, summarise

_NAMED = 5  # of the runs that an ambiguous word could mean


def find_run(word: str, runs: Sequence[RunSummary], outputs: Path) -> RunSummary:
    """Return the run that a word names. runs: all there are, the newest first.

    A word is the folder of a run, KEY or the beginning of one (with -2 for its first repetition), NOTEBOOK/KEY,
    NOTEBOOK/latest, or NOTEBOOK for the same. Raises: UsageError where it names none, or several.
    """
    for folder in (Path(word), outputs / word) if word else ():
        if (folder / RECORD).is_file() and (run := _at(folder)) is not None:
            return run
    notebook, slash, key = word.rpartition("/")
    shelf = [run for run in runs if not slash or run.notebook == Path(notebook).name]
    if newest := [run for run in runs if word and run.notebook == word]:
        return newest[0]
    if slash and key == "latest" and shelf:  # the link is gone
        return shelf[0]
    found = _named(key, shelf)
    if len({(run.notebook, run.key) for run in found}) > 1:
        raise _ambiguous(word, found)
    if not found:
        raise no_such_run(word, runs, outputs)
    return found[0]


def find_notebook(word: str, runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the runs of a notebook, named with or without its ending. Raises: UsageError where there is none."""
    name = Path(word).stem if word.endswith(".ipynb") else word.rstrip("/")
    found = [run for run in runs if run.notebook == name]
    if not found and runs:
        names = sorted({run.notebook for run in runs})
        raise UsageError(
            f"There is no run of a notebook {name!r}.",
            f"There are runs of {', '.join(names)}.",
            did_you_mean(name, names) or "Type 'lab runs list' for all of them.",
        )
    return found


def _at(folder: Path) -> RunSummary | None:
    """Return the run in a folder, or in what a link such as latest leads to."""
    if folder.is_symlink():
        folder = folder.parent / folder.readlink()
    return summarise(folder if folder.parent.name else folder.resolve())


def _named(word: str, runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the runs whose folder begins with a key; the first of that key before its repetitions."""
    start, dash, number = word.partition("-")
    if not start:
        return []
    found = [(run, *run.path.name.partition("-")[::2]) for run in runs]
    matching = [(run, other) for run, key, other in found if key.startswith(start) and (not dash or other == number)]
    exact = [run for run, other in matching if other == number]
    return exact or [run for run, _ in matching]


def _ambiguous(word: str, found: Sequence[RunSummary]) -> UsageError:
    names = sorted({run.name for run in found})
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return UsageError(
        f"{word!r} could be {', '.join(names[:_NAMED])}{more}.",
        "Expected a word that one run alone begins with.",
        "Type more of it, or NOTEBOOK/KEY.",
    )


def no_such_run(word: str, runs: Sequence[RunSummary], outputs: Path) -> UsageError:
    """Return the error for a word that names no run."""
    if not runs:
        return UsageError(
            f"There is no run {word!r}, nor any other below {outputs}.",
            "Expected one that 'lab run' has published.",
            "Type 'lab run NOTEBOOK' first, or name another store with --outputs.",
        )
    known = {name for run in runs for name in (run.name, run.path.name, run.notebook, f"{run.notebook}/latest")}
    return UsageError(
        f"There is no run {word!r}.",
        f"There are {len(runs)} runs, of {', '.join(sorted({run.notebook for run in runs}))}.",
        did_you_mean(word, sorted(known)) or "Type 'lab runs list' to see them.",
    )
