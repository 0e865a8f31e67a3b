"""What a learner has done with an exercise: a file of events each, private to the learner, never half written.

::

    workspace/05_gradients/progress/ex01_two_partials.json
    {"schema": 1, "exercise": "ex01_two_partials", "events": [{"at": "2026-…", "what": "judged", …}, …]}

Events are only ever added, and each says when it was, so two copies are merged by taking the events of both. What a
judgement found is an event with the text that was judged: nothing that was tried is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from lab.errors import StorageError
from lab.practise.discover import read_regular
from lab.practise.exercise import Exercise
from lab.practise.judgement import Judgement, Status
from lab.store import replace_file, storage_errors, write_json

SCHEMA = 1
LAST_HINT = 4
_TEXT_LIMIT = 100_000  # characters kept of an attempt

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Progress:
    """What is known of one exercise. events: in the order of their times."""

    exercise: str
    events: tuple[Event, ...] = ()

    def _of(self, what: str) -> list[Event]:
        return [event for event in self.events if event["what"] == what]

    @property
    def solved(self) -> bool:
        """Whether it was solved once, whatever was tried since."""
        return any(event.get("status") == Status.SOLVED for event in self._of("judged"))

    @property
    def gave_up(self) -> bool:
        """Whether the solution was asked for before it was solved."""
        return bool(self._of("gave up"))

    @property
    def next_hint(self) -> int:
        """The step, 1 to 4, to show next: where the last mistake starts, then on from there."""
        step = 1
        for event in self.events:
            if event["what"] == "judged":
                step = max(1, int(event.get("step", 1)))
            elif event["what"] == "hint":
                step = min(int(event["step"]) + 1, LAST_HINT)
        return step

    def to_json(self) -> dict[str, Any]:
        """Return the file's content."""
        return {"schema": SCHEMA, "exercise": self.exercise, "events": list(self.events)}


def progress_path(exercise: Exercise, workspace: Path) -> Path:
    """Return where the progress of an exercise lies."""
    return workspace / exercise.lesson / "progress" / f"{exercise.id}.json"


def read_progress(exercise: Exercise, workspace: Path) -> Progress:
    """Read what is known of an exercise; without a file, nothing is. Raises: StorageError."""
    return _read(progress_path(exercise, workspace), exercise.id)


def _read(path: Path, exercise: str) -> Progress:
    try:
        data = json.loads(read_regular(path).decode("utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"it has schema {data['schema']!r}, not {SCHEMA}")
        events = [_checked(event) for event in data["events"]]
    except FileNotFoundError:
        return Progress(exercise)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"Could not read the progress in {path}: {reason}.",
            "Expected what the lab wrote there.",
            "Move the file away: your attempts are not in danger, and a new one is begun.",
        ) from None
    return Progress(exercise, tuple(sorted(events, key=lambda event: str(event["at"]))))


def _checked(event: Event) -> Event:
    """Return an event that can be read. Raises: KeyError, TypeError, ValueError or AttributeError for anything else."""
    for needed in ("what", "at"):
        if not isinstance(event[needed], str):
            raise TypeError(f"{needed} is {event[needed]!r}")
    int(event.get("step", 1))
    return event


def record_judgement(exercise: Exercise, workspace: Path, judgement: Judgement, text: str) -> None:
    """Add a judgement, unless the same text was judged the same before. Raises: StorageError."""
    if judgement.status not in (Status.WRONG, Status.SOLVED):
        return
    found = {"status": str(judgement.status), "mistake": judgement.mistake, "step": judgement.step}
    event = {**found, "diagnosis": judgement.diagnosis, "seed": judgement.seed, "text": text[:_TEXT_LIMIT]}
    last = read_progress(exercise, workspace)._of("judged")[-1:]
    if not last or any(last[0].get(key) != event[key] for key in ("status", "mistake", "text")):
        record(exercise, workspace, "judged", **event)


def record(exercise: Exercise, workspace: Path, what: str, **details: Any) -> None:
    """Add an event: judged, hint, gave up, reset or predicted. Raises: StorageError."""
    _add(exercise, workspace, [{"at": datetime.now(UTC).isoformat(), "what": what, **details}])


def merge_progress(exercise: Exercise, workspace: Path, other: Path) -> int:
    """Add the events that another workspace has; return how many were new. Raises: StorageError."""
    known = read_progress(exercise, workspace).events
    new = [event for event in read_progress(exercise, other).events if event not in known]
    if new:
        _add(exercise, workspace, new)
    return len(new)


def _add(exercise: Exercise, workspace: Path, events: Iterable[Event]) -> None:
    path = progress_path(exercise, workspace)
    with storage_errors(path):
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with FileLock(path.with_name(".lock"), timeout=10):
            known = _read(path, exercise.id)
            together = sorted([*known.events, *events], key=lambda event: str(event["at"]))
            replace_file(path, write_json(Progress(exercise.id, tuple(together)).to_json()), mode=0o600)
