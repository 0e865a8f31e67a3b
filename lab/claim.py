"""Names in a store that one process at a time has: of a run that it is at, of a journal that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from lab.store import storage_errors


@contextmanager
def held_alone(outputs: Path, name: str) -> Iterator[bool]:
    """Hold a name as long as the block runs, and say whether no other process does. Raises: StorageError."""
    with storage_errors(outputs):
        outputs.mkdir(parents=True, exist_ok=True)
        lock = FileLock(outputs / f".{name}.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
    try:
        yield True
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def claimed(outputs: Path, name: str) -> Iterator[Path]:
    """Hand out the first of outputs/name-1.jsonl, name-2.jsonl, … that no other process has. Raises: StorageError."""
    with storage_errors(outputs):
        outputs.mkdir(parents=True, exist_ok=True)
        path, lock = _first_free(outputs, name)
    try:
        yield path
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _first_free(outputs: Path, name: str) -> tuple[Path, FileLock]:
    for number in count(1):
        path = outputs / f"{name}-{number}.jsonl"
        lock = FileLock(f"{path}.lock")
        with suppress(Timeout):
            lock.acquire(blocking=False)
            return path, lock
    raise AssertionError  # numbers do not end
