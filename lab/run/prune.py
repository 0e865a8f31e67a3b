"""Which runs can go, and removing them so that none is ever half there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from lab.run.index import RECORD, RunSummary
from lab.store import point_latest, remove_result


@dataclass(frozen=True)
class Criteria:
    """What makes a run one that goes; each that is given must hold.

    failed: it did not complete. older_than: days since it started. keep: it is not among the newest so many of its
    notebook. repeated: there is a newer one of the same notebook and key.
    """

    failed: bool = False
    older_than: float | None = None
    keep: int | None = None
    repeated: bool = False

    @property
    def given(self) -> bool:
        """Whether there is any: without, every run would go."""
        return self.failed or self.repeated or self.older_than is not None or self.keep is not None


def select_runs(runs: Sequence[RunSummary], criteria: Criteria, *, now: datetime) -> list[RunSummary]:
    """Return the runs that go. runs: all there are, the newest first. now: with its zone.

    What ``latest`` points at stays, unless all runs of its notebook go.
    """
    chosen = list(_chosen(runs, criteria, now))
    going = {run.path for run in chosen}
    stays = {run.notebook for run in runs if run.path not in going}
    return [run for run in chosen if run.notebook not in stays or not _is_latest(run)]


def remove_runs(runs: Iterable[RunSummary], *, among: Sequence[RunSummary]) -> Iterator[RunSummary]:
    """Remove runs, and yield each once it is gone. among: all there are, the newest first.

    A shelf stays though it be empty: a run that is at work there publishes into it. Raises: StorageError.
    """
    going = list(runs)
    paths = {run.path for run in going}
    left = [run for run in among if run.path not in paths]
    for shelf in sorted({run.path.parent for run in going}):
        _mend_latest(shelf, left, going)
    for run in going:
        remove_result(run.path)
        yield run


def size_of(path: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def _chosen(runs: Sequence[RunSummary], criteria: Criteria, now: datetime) -> Iterator[RunSummary]:
    of_notebook: Counter[str] = Counter()
    of_key: Counter[tuple[str, str]] = Counter()
    for run in runs:
        newer, repeated = of_notebook[run.notebook], of_key[run.notebook, run.key]
        of_notebook[run.notebook] += 1
        of_key[run.notebook, run.key] += 1
        if (
            (run.failed or not criteria.failed)
            and (repeated or not criteria.repeated)
            and (criteria.keep is None or newer >= criteria.keep)
            and (criteria.older_than is None or _age(run, now).total_seconds() > 86_400 * criteria.older_than)
        ):
            yield run


def _age(run: RunSummary, now: datetime) -> timedelta:
    return now - datetime.fromisoformat(run.started).astimezone(now.tzinfo)


def _is_latest(run: RunSummary) -> bool:
    link = run.path.parent / "latest"
    return link.is_symlink() and link.readlink().name == run.path.name


def _mend_latest(shelf: Path, left: Sequence[RunSummary], going: Sequence[RunSummary]) -> None:
    """Point latest at the newest that is left, where it leads nowhere or to one that goes; remove it with the last."""
    link = shelf / "latest"
    leads_away = any(_is_latest(run) for run in going if run.path.parent == shelf)
    if leads_away or not (link / RECORD).is_file():
        point_latest(shelf, next((run.path.name for run in left if run.path.parent == shelf), None))
