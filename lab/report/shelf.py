"""The pages of `lab serve`: what lies under outputs/ that a person wants to see, and the plain listing of a folder.

Made anew for each request from what is there. Names and values were written by notebooks and learners: what cannot be
read is left out or said to be so, and nothing is followed that leads out of outputs/.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import BaseModel, ValidationError

from lab.practise.grading import one_line
from lab.report.run_text import size_text
from lab.run.index import IndexLine, RunSummary, read_runs

RUNS = 200  # the newest, on the page
OLDER = 12  # results of each other kind
_LARGEST = 64_000_000  # bytes of a file that is read for what it says


class LessonFacts(BaseModel):
    """What the page shows of a lesson.json."""

    lesson: str
    status: str
    parameters: dict[str, Any]
    comparisons: list[Any]


class VerifyFacts(BaseModel):
    """What the page shows of a verify.json."""

    verdict: str
    device: str
    backend: str
    counts: dict[str, int]
    environment: dict[str, Any]
    selection: dict[str, Any]


class PartFacts(BaseModel):
    """A part of a tour."""

    name: str
    verdict: str
    results: list[str]


class TourFacts(BaseModel):
    """What the page shows of a tour.json."""

    verdict: str
    device: str
    quick: bool
    parts: list[PartFacts]


class GradesFacts(BaseModel):
    """What the page shows of grades.json."""

    folder: str
    learners: list[Any]
    exercises: list[Any]


@dataclass(frozen=True)
class Result:
    """A published result. path: its folder, from outputs. written: when. facts: nothing where they cannot be read."""

    path: PurePosixPath
    written: datetime
    facts: Any

    @property
    def verdict(self) -> str:
        """How it ended, in the word of its file."""
        return str(getattr(self.facts, "verdict", None) or getattr(self.facts, "status", None) or "unreadable")


@dataclass(frozen=True)
class Entry:
    """What lies in a folder. size: of a file."""

    path: PurePosixPath
    is_folder: bool
    size: int
    written: datetime


@dataclass(frozen=True)
class Lesson:
    """A lesson: its newest result with its pictures, and those before."""

    newest: Result
    pictures: list[PurePosixPath]
    older: list[Result]


class Shelf:
    """The pages of a store. It remembers what it has read, by time and size."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        self._memory: dict[str, IndexLine] = {}

    def index(self) -> str:
        """Return the page of all that is there."""
        runs = read_runs(self.outputs, self._memory)
        tours = self._results("tour", "tour.json", TourFacts)
        verifications = self._results("verify", "verify.json", VerifyFacts)
        grades = _read(self.outputs / "grades.json", GradesFacts)
        lessons = list(self._lessons())
        return _template("shelf").render(
            tours=tours,
            verifications=verifications[:OLDER],
            lessons=lessons,
            runs=[(run, self._page(run)) for run in runs[:RUNS]],
            counts=Counter(run.status for run in runs),
            older=len(runs) - RUNS,
            grades=grades and grades[0],
            entries=self._entries(PurePosixPath()),
        )

    def listing(self, folder: PurePosixPath) -> str:
        """Return the page of a folder. folder: from outputs. Raises: OSError where it cannot be read."""
        above = [parent for parent in reversed(folder.parents) if parent.name]
        os.scandir(self.outputs / folder).close()  # which says so where it may not be read
        return _template("folder").render(folder=folder, above=above, entries=self._entries(folder))

    def _entries(self, folder: PurePosixPath) -> list[Entry]:
        """Return what lies in a folder, folders first, without what is hidden or leads out of outputs."""
        root, found = os.path.realpath(self.outputs), []
        with suppress(OSError), os.scandir(self.outputs / folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not _is_below(entry, root):
                    continue
                with suppress(OSError):  # a link to nothing, or just removed
                    about = entry.stat()
                    if entry.is_dir() or stat.S_ISREG(about.st_mode):
                        path = folder / entry.name
                        found.append(Entry(path, entry.is_dir(), about.st_size, _time(about.st_mtime)))
        return sorted(found, key=lambda entry: (not entry.is_folder, entry.path))

    def _results(self, shelf: str, name: str, facts: type[BaseModel]) -> list[Result]:
        """Return the results of shelves that match, the newest first."""
        found = []
        for path in self.outputs.glob(f"{shelf}/[!.]*/{name}"):
            if not (path.parent.is_symlink() or path.parent.parent.is_symlink()) and (read := _read(path, facts)):
                place = PurePosixPath(path.parent.relative_to(self.outputs).as_posix())
                found.append(Result(place, read[1], read[0]))
        return sorted(found, key=lambda result: (result.written, result.path), reverse=True)

    def _lessons(self) -> Iterator[Lesson]:
        """Yield each lesson, by its name."""
        shelves: dict[str, list[Result]] = {}
        for result in self._results("lesson-*", "lesson.json", LessonFacts):
            shelves.setdefault(result.path.parent.name, []).append(result)
        for _, (newest, *older) in sorted(shelves.items()):
            entries = self._entries(newest.path)
            pictures = [entry.path for entry in entries if entry.path.suffix == ".svg" and not entry.is_folder]
            yield Lesson(newest, pictures, older[:OLDER])

    def _page(self, run: RunSummary) -> PurePosixPath | None:
        """Return the page of a run's notebook, from outputs, where there is one."""
        page = run.path / f"{run.notebook}.html"
        with suppress(OSError):
            return PurePosixPath(page.relative_to(self.outputs).as_posix()) if page.is_file() else None
        return None


def _is_below(entry: os.DirEntry[str], root: str) -> bool:
    """Say whether what an entry leads to lies below the root, and is not hidden there."""
    if not entry.is_symlink():
        return True
    parts = PurePosixPath(os.path.relpath(os.path.realpath(entry.path), root)).parts
    return not any(part.startswith(".") for part in parts)


def _read(path: Path, facts: type[BaseModel]) -> tuple[BaseModel | None, datetime] | None:
    """Return what a file says, and when it was written; None where there is no such file."""
    with suppress(OSError):
        about = path.lstat()
        if stat.S_ISREG(about.st_mode) and about.st_size <= _LARGEST:
            return _parse(path, about.st_mtime_ns, about.st_size, facts), _time(about.st_mtime)
    return None


@lru_cache(maxsize=1024)
def _parse(path: Path, mtime_ns: int, size: int, facts: type[BaseModel]) -> BaseModel | None:
    """Return what a file of this time and size says, or None where it is not of this form."""
    with suppress(OSError, ValidationError):
        return facts.model_validate_json(path.read_bytes())
    return None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lab.report", "."),
        autoescape=True,  # always: names and values are whoever's wrote them
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(line=_line, url=_url, when=_when, size=size_text, values=_values)
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(f"{name}.html.jinja")


def _line(text: Any, longest: int = 120) -> str:
    """Return a text in one line that is not too long, whatever bytes the name of a file was made of."""
    line = one_line(str(text))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _url(path: PurePosixPath | str) -> str:
    """Return where a path from outputs is served."""
    return "/" + quote(os.fsencode(path), safe="/")


def _when(moment: datetime | str) -> str:
    """Return a time in UTC, to the minute."""
    text = moment.isoformat() if isinstance(moment, datetime) else str(moment)
    return text[:16].replace("T", " ")


def _values(parameters: Mapping[str, Any] | None) -> str:
    """Return parameters with their values, as they are typed."""
    return " ".join(f"{_line(name, 30)}={_line(value, 30)}" for name, value in (parameters or {}).items())
