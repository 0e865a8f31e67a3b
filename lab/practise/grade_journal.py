"""What is judged of a grading, so that an interrupted one goes on where it stopped.

::

    outputs/.grading-<key>-<n>.jsonl     a line a learner; n counts the gradings that are at it at once

A grade is found again by a digest of the learner, the attempt's text, the exercise's text and the conditions: what has
changed since is judged anew. A line is appended whole or, by a kill, cut: what is no JSON is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab.claim import claimed
from lab.practise.grading import Grade
from lab.store import digest, storage_errors


class Journal:
    """The grades of one run by their digest. seed: that of the interrupted grading it goes on with, if there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.grades: dict[str, Grade] = {}
        self.seed: int | None = None
        with storage_errors(path), suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines():
                with suppress(ValueError, LookupError, TypeError, AttributeError):
                    self._read(json.loads(line))

    def _read(self, entry: dict[str, Any]) -> None:
        if "seed" in entry:
            self.seed = int(entry["seed"])
        else:
            self.grades |= {key: Grade.from_json(grade) for key, grade in entry["judged"].items()}

    def begin(self, seed: int) -> None:
        """Note the seed, and that this folder can be written. Raises: StorageError."""
        self._append({"seed": seed})
        self.seed = seed

    def add(self, learner: str, judged: Mapping[str, Grade]) -> None:
        """Append what was judged of a learner. Raises: StorageError."""
        self._append({"learner": learner, "judged": {key: grade.to_json() for key, grade in judged.items()}})
        self.grades |= judged

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, allow_nan=False)
        with storage_errors(self.path), self.path.open("ab") as file:
            file.write(f"\n{line}\n".encode())  # what stands before may be a line that was cut
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Remove the journal of a grading whose result is written."""
        self.path.unlink(missing_ok=True)


@contextmanager
def opened_journal(outputs: Path, folder: Path) -> Iterator[Journal]:
    """Hand out the first journal of a folder that no other grading holds. Raises: StorageError."""
    with claimed(outputs, f".grading-{digest(str(folder.resolve()))}") as path:
        yield Journal(path)
