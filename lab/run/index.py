"""All notebook runs under outputs/, read fast: ``runs.jsonl`` remembers what each run.json said.

The file is a cache and nothing else. A line holds as long as its run.json has the same time and size; a file that is
missing, torn or not ours is made anew, and one that cannot be written is done without.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lab.errors import StorageError
from lab.parameters import Value
from lab.run.record import check_record, strict_json
from lab.run.status import COMPLETED
from lab.run.status import STATUSES as ENDS
from lab.store import replace_file

INDEX = "runs.jsonl"
LARGEST = 64_000_000  # bytes of a run.json: what cells display lies elsewhere
RECORD = "run.json"
UNREADABLE = "unreadable"
FAIL = "fail"  # a verdict of lab.compare, whose import would cost that of torch
STATUSES = (*ENDS, UNREADABLE)


@dataclass(frozen=True)
class RunSummary:
    """A run, as far as lists show it.

    notebook: its name without the ending. started: in ISO 8601, UTC; of an unreadable run, when its run.json was
    written. status: of run.json, or unreadable. memory: what the run's timing says of it. comparisons, failing: how
    many gradients were compared, and how many of them missed their reference.
    """

    path: Path
    notebook: str
    key: str
    status: str
    started: str
    seconds: float = 0.0
    parameters: dict[str, Value] | None = None
    memory: dict[str, Any] | None = None
    comparisons: int = 0
    failing: int = 0
    device: str | None = None

    @property
    def name(self) -> str:
        """What it is called, such as 05_gradients/78d08f9ce1a72f2d."""
        return f"{self.notebook}/{self.path.name}"

    @property
    def failed(self) -> bool:
        """Whether it did not complete, or cannot be read."""
        return self.status != COMPLETED


@dataclass(frozen=True)
class IndexLine:
    """A line of the index. path: from outputs. summary: nothing where the file is no notebook run's."""

    path: str
    mtime_ns: int
    size: int
    summary: RunSummary | None


def read_runs(outputs: Path, memory: dict[str, IndexLine] | None = None) -> list[RunSummary]:
    """Return all notebook runs, the newest first. What else lies there, and what is being written, is left out.

    memory: what a process that reads again and again keeps for the next time; nothing is then written to outputs.
    """
    known, lines, fresh = dict(memory or _read_index(outputs / INDEX)), [], False
    for path in _records(outputs):
        with suppress(OSError):  # it has just been removed
            about, name = path.lstat(), path.relative_to(outputs).as_posix()
            line = known.pop(name, None)
            if line is None or (line.mtime_ns, line.size) != (about.st_mtime_ns, about.st_size):
                line, fresh = IndexLine(name, about.st_mtime_ns, about.st_size, _summary_at(path.parent)), True
            lines.append(line)
    if memory is not None:
        memory.clear()
        memory.update({line.path: line for line in lines})
    elif fresh or known:
        _write_index(outputs / INDEX, lines)
    found = [_placed(line, outputs) for line in lines if line.summary is not None]
    return sorted(found, key=lambda run: (run.started, run.path), reverse=True)


def read_record(path: Path) -> dict[str, Any]:
    """Return what the run.json of a run holds. path: its folder. Raises: StorageError where it cannot be read."""
    try:
        record = strict_json(_content(path / RECORD))
        check_record(record)
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:100]
        raise StorageError(
            f"{path / RECORD} cannot be read: {why}.",
            "Expected what 'lab run' writes.",
            f"Run the notebook again, and remove {path}.",
        ) from None
    return dict(record)


def summarise(path: Path) -> RunSummary | None:
    """Return a run, or None where a folder holds no notebook run."""
    try:
        summary = _summary_at(path)
    except OSError:
        return None
    return summary and _placed(IndexLine("", 0, 0, summary), path.parent.parent)


def _records(outputs: Path) -> Iterator[Path]:
    """Yield every run.json, of what is published: no links, nothing that starts with a dot."""
    for shelf in _folders(outputs):
        for folder in _folders(shelf):
            with suppress(OSError):  # a folder that this user may not look into
                if stat.S_ISREG((path := folder / RECORD).lstat().st_mode):
                    yield path


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.name[0] != "." and stat.S_ISDIR(path.lstat().st_mode)]
    return []


def _content(file: Path) -> bytes:
    """Return what a run.json holds. Raises: ValueError for one so large that reading it could take all memory."""
    if file.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    return file.read_bytes()


def _summary_at(path: Path) -> RunSummary | None:
    """Read a run.json. Raises: OSError where there is none any more."""
    file = path / RECORD
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    lost = RunSummary(path, path.parent.name, path.name, UNREADABLE, written)
    try:
        record = strict_json(_content(file))
        if isinstance(record, dict) and not {"schema", "notebook"} <= set(record):
            return None
        check_record(record)
        return _summarise(path, record)
    except (OSError, ValueError, RecursionError):  # pydantic's error is a ValueError
        return lost


def _summarise(path: Path, record: dict[str, Any]) -> RunSummary:
    """Return the summary of a record that was checked. Raises: ValueError for a parameter that is none."""
    timing, verdicts = record["timing"], [row["verdict"] for row in record["comparisons"]]
    summary = {
        "path": path,
        "notebook": path.parent.name,
        "started": timing["started"],
        "seconds": timing["seconds"],
        "memory": timing.get("memory"),
        "comparisons": len(verdicts),
        "failing": verdicts.count(FAIL),
        "device": record["environment"].get("device"),
        **{name: record[name] for name in ("key", "status", "parameters")},
    }
    return _adapters()[0].validate_python(summary)


def _placed(line: IndexLine, outputs: Path) -> RunSummary:
    """Return the summary of a line with the path by which outputs was named this time."""
    summary = line.summary
    assert summary is not None
    path = outputs / summary.path.parent.name / summary.path.name
    return RunSummary(**{**vars(summary), "path": path})


@cache
def _adapters() -> tuple[TypeAdapter[RunSummary], TypeAdapter[IndexLine]]:
    return TypeAdapter(RunSummary), TypeAdapter(IndexLine)


def _read_index(path: Path) -> dict[str, IndexLine]:
    """Return the lines of the index that can be read, by the path of their run.json."""
    found = {}
    with suppress(OSError):
        for raw in path.read_bytes().splitlines():
            with suppress(ValidationError):
                line = _adapters()[1].validate_json(raw)
                found[line.path] = line
    return found


def _write_index(path: Path, lines: list[IndexLine]) -> None:
    with suppress(OSError, ValueError):
        replace_file(path, b"".join(_adapters()[1].dump_json(line) + b"\n" for line in lines))
