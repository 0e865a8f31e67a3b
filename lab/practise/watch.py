"""Watching the learner's files: what was saved, soon after it was saved.

It looks at each file again and again. Events of the file system do not reach into every container and network mount,
and watchfiles, where it polls instead, compares times in whole seconds: a second save within one would go unseen.
Two dozen files cost 0.1 ms a look.
"""

from __future__ import annotations

import threading
from pathlib import Path

from lab.practise.exercise import Exercise
from lab.practise.stub import attempt_path

_EVERY_S = 0.05
_SETTLED_S = 0.03  # without a change: an editor writes a file in more than one step

_State = tuple[int, int, int] | None


class Watch:
    """Sees the attempts that are saved from its making on. stop: once set, wait() returns nothing at once."""

    def __init__(self, exercises: list[Exercise], workspace: Path) -> None:
        self.stop = threading.Event()
        self._paths = [(exercise, attempt_path(exercise, workspace)) for exercise in exercises]
        self._known = self._look()

    def wait(self) -> list[Exercise]:
        """Return the exercises whose attempts were saved since the last time, as soon as there are any."""
        while not self.stop.wait(_EVERY_S):
            seen = self._look()
            if seen == self._known:
                continue
            while not self.stop.wait(_SETTLED_S) and (later := self._look()) != seen:
                seen = later
            changed = [e for e, _ in self._paths if seen[e.id] != self._known[e.id]]
            self._known = seen
            if changed:
                return changed
        return []

    def _look(self) -> dict[str, _State]:
        return {exercise.id: _state(path) for exercise, path in self._paths}


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
