"""What is finished of a verification, so that an interrupted one goes on where it stopped.

::

    outputs/.verify-<key>-<n>.jsonl     a line a finished chunk; n counts the runs that are at it at once

A line is appended whole or, by a kill, cut: a last line that is no JSON is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.claim import claimed
from lab.prove.result import ChunkResult
from lab.store import storage_errors


class Journal:
    """The finished chunks of one run, by their id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.finished: dict[str, ChunkResult] = {}
        with storage_errors(path), suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines():
                with suppress(ValueError, LookupError, TypeError):
                    result = ChunkResult.from_json(json.loads(line))
                    self.finished[result.id] = result

    def add(self, result: ChunkResult) -> None:
        """Append a finished chunk. Raises: StorageError."""
        line = json.dumps(result.to_json(), allow_nan=False)
        with storage_errors(self.path), self.path.open("ab") as file:
            file.write(f"\n{line}\n".encode())  # what stands before may be a line that was cut
            file.flush()
            os.fsync(file.fileno())
        self.finished[result.id] = result

    def remove(self) -> None:
        """Remove the journal of a run whose result is published."""
        self.path.unlink(missing_ok=True)


@contextmanager
def opened_journal(outputs: Path, key: str) -> Iterator[Journal]:
    """Hand out the first journal of a key that no other run holds. Raises: StorageError."""
    with claimed(outputs, f".verify-{key}") as path:
        yield Journal(path)
