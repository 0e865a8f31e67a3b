"""Results on disk: written in private, published by one rename, never half there.

::

    outputs/<subject>/<key>/        one result; a repetition of the same key is <key>-2, <key>-3, …
    outputs/<subject>/latest        a link to the newest, swapped atomically
    outputs/<name>                  a file that each run replaces, such as grades.json
    outputs/.partial-…/             being written; left behind only by a kill, removed by a later run

A key is the digest of all that a result depends on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lab.errors import StorageError

PARTIAL = ".partial-"
ORPHAN_AGE = 60.0  # seconds; younger ones may belong to a process that has yet to take its lock


def digest(material: Any) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of plain data in canonical JSON, or of bytes."""
    raw = material if isinstance(material, bytes) else _encode(write_json(material))
    return hashlib.sha256(raw).hexdigest()[:16]


def write_json(data: Any) -> str:
    """Return strict JSON in one canonical form (sorted keys, two spaces, a final newline)."""
    return json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def publishing(outputs: Path, subject: str, key: str) -> Iterator[Publication]:
    """Hand out a private folder; when the block ends without an exception, publish what lies in it.

    outputs: the store, made if need be. The folder appears as outputs/subject/key in one rename. On any
    exception nothing appears and the private folder is removed.

    Raises: StorageError where the store cannot be written, before the block starts wherever that can be known.
    """
    shelf = outputs / subject
    with storage_errors(shelf):
        shelf.mkdir(parents=True, exist_ok=True)
        if not os.access(shelf, os.W_OK):
            raise PermissionError(None, "it is read-only or belongs to another user", str(shelf))
    with _private_folder(outputs) as folder:
        publication = Publication(folder)
        yield publication
        with storage_errors(outputs):
            publication.path = _publish(folder, shelf, key)


@contextmanager
def _private_folder(outputs: Path) -> Iterator[Path]:
    """Hand out a folder to write in; nothing of it is left after the block but what was renamed away."""
    with storage_errors(outputs):
        _sweep(outputs)
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=outputs))
    lock = _lock_of(folder)
    try:
        with storage_errors(outputs):
            lock.acquire()
        yield folder
    finally:
        with suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def replace_files(outputs: Path, texts: Mapping[str, str]) -> None:
    """Replace files that lie in outputs itself, each by one rename, once all of them are on the disk.

    texts: what each holds, by its name. Two that do so at once do it one after the other, so that the files of one
    stand together. Raises: StorageError, after which the old ones are there.
    """
    with _private_folder(outputs) as folder, storage_errors(outputs):
        for name, text in texts.items():
            (folder / name).write_bytes(_encode(text))
            _sync(folder / name)
        with _held(outputs):
            for name in texts:
                (folder / name).replace(outputs / name)
            _sync(outputs)


def check_replaceable(outputs: Path, names: Iterable[str]) -> None:
    """Refuse, before the work, an outputs folder in which replace_files would fail. Raises: StorageError."""
    with storage_errors(outputs):
        outputs.mkdir(parents=True, exist_ok=True)
        for path in (outputs / name for name in names):
            if path.is_dir():
                raise IsADirectoryError(None, "it is a folder", str(path))


def check_writable(outputs: Path) -> None:
    """Refuse, before the work, an outputs folder that this user cannot write; nothing is made. Raises: StorageError."""
    with storage_errors(outputs):
        folder = next(path for path in (outputs.absolute(), *outputs.absolute().parents) if path.exists())
        if not folder.is_dir():
            raise NotADirectoryError(None, "it is no folder", str(folder))
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "it is read-only or belongs to another user", str(folder))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder against others that hold it; where the file system cannot, go on without."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Publication:
    """A result on its way. folder: where to write it. path: where it lies once published, else None."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None

    def write(self, name: str, text: str) -> Path:
        """Write a text file into the result, whatever a cell has put in its place. Raises: StorageError."""
        path = self.folder / name
        with storage_errors(path):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            with path.open("xb") as file:  # which follows no link and opens no pipe
                file.write(_encode(text))
        return path


def remove_result(path: Path) -> None:
    """Remove a published result in one rename, so that a kill leaves none that is half there. Raises: StorageError."""
    with _private_folder(path.parent.parent) as folder, storage_errors(path):
        path.rename(folder / path.name)


def point_latest(shelf: Path, name: str | None) -> None:
    """Point ``latest`` at another result of a shelf, or at none. Raises: StorageError."""
    with storage_errors(shelf):
        if name is None:
            (shelf / "latest").unlink(missing_ok=True)
        else:
            _swap_link(shelf / "latest", name)


def replace_file(path: Path, text: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file in one step: whoever reads it, or finds it after a crash, sees the old one or the new one.

    Raises: OSError.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(text if isinstance(text, bytes) else _encode(text))
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _encode(text: str) -> bytes:
    r"""Return UTF-8; a lone surrogate, which has none, becomes ``\udcff``, which in JSON stands for the same."""
    return text.encode("utf-8", "backslashreplace")


def _publish(folder: Path, shelf: Path, key: str) -> Path:
    """Rename the folder to the first free name for the key and point ``latest`` at it."""
    folder.chmod(0o755)  # mkdtemp's is 0o700
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent, name))
        _sync(Path(parent))
    number = 1
    while True:
        path = shelf / (key if number == 1 else f"{key}-{number}")
        try:
            folder.rename(path)  # fails where a result is: a rename never replaces a folder that has files
            break
        except OSError:
            if not path.exists():
                raise
            number += 1
    try:
        _sync(shelf)
        _swap_link(shelf / "latest", path.name)
    except OSError:
        path.rename(folder)  # whoever is told that it failed finds nothing
        raise
    return path


def _swap_link(link: Path, target: str) -> None:
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=link.parent.parent) as temporary:
        new = Path(temporary, link.name)
        new.symlink_to(target)
        new.replace(link)


def _lock_of(folder: Path) -> FileLock:
    """Return the lock that is held as long as a partial folder is being written."""
    return FileLock(f"{folder}.lock")


def _sweep(outputs: Path) -> None:
    """Remove what killed processes left: partial folders and locks that are old and that nobody holds."""
    folders = {path.with_name(path.name.removesuffix(".lock")) for path in outputs.glob(f"{PARTIAL}*")}
    for folder in folders:
        lock = _lock_of(folder)
        with suppress(Timeout, OSError, RecursionError):  # the latter: folders too deep to remove
            times = [path.lstat().st_mtime for path in (folder, Path(lock.lock_file)) if path.exists()]
            if times and time.time() - max(times) > ORPHAN_AGE:  # else whoever wrote there has just finished
                with lock.acquire(blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
                    Path(lock.lock_file).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk, so that a crash after the rename finds it whole."""
    mode = path.lstat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return  # a link or a pipe that a cell made: opening it would fail, or wait for ever
    with suppress(PermissionError):  # a file that a cell took the reading right from
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError that says who may not write where, or that the disk is full."""
    try:
        yield
    except (OSError, RecursionError) as error:
        where, why = getattr(error, "filename", None) or path, getattr(error, "strerror", None) or error
        who = f"user {os.getuid()}" if hasattr(os, "getuid") else "this user"
        # In a container that docker-compose.yml has made, the user is chosen outside.
        chosen = os.environ.get("LAB_COMPOSE")
        owner = f"write its owner into {chosen} (LAB_UID, LAB_GID)" if chosen else "give this user the folder (chown)"
        raise StorageError(
            f"Could not write {where} as {who}: {why}.",
            "Expected a folder that this user may write to, on a disk that has room.",
            f"Free some space, {owner}, or name another one.",
        ) from None
