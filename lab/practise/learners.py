"""The learners in a folder, and what their files hold, read so that no file leads elsewhere or never ends.

::

    FOLDER/<learner>/05_…/ex01_….py               a workspace as 'lab exercises' makes it,
    FOLDER/<learner>/workspace/05_…/ex01_….py     or the folder that it lies in
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.errors import UsageError

SIZE_LIMIT = 200_000  # bytes; an answer takes a few lines


class Unreadable(Exception):
    """An attempt that is there and cannot be read; the message says why."""


@dataclass(frozen=True)
class Learner:
    """name: of the folder. home: the folder itself, links on the way to it resolved, and not further.

    workspace: where the folders of the lessons lie.
    """

    name: str
    home: Path
    workspace: Path


def discover_learners(folder: Path, lessons: Collection[str], *, besides: Path | None = None) -> list[Learner]:
    """Return the learners of a folder, sorted by name: one for each folder in it that is not hidden.

    lessons: names of the folders that a workspace holds. A learner without any has not started. besides: a folder
    that is no learner's, such as the outputs.

    Raises: UsageError where the folder cannot be read or none of the folders in it holds a workspace.
    """
    try:
        root, other = folder.resolve(), besides.resolve() if besides else None
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except (OSError, RuntimeError) as error:
        raise _no_folder(f"{folder} cannot be read as a folder: {getattr(error, 'strerror', error)}.") from None
    found = [_find(root / name, lessons) for name in names if root / name != other]
    if not any(_has_lesson(learner.workspace, lessons) for learner in found):
        if _has_lesson(root, lessons):
            raise _no_folder(f"{folder} is one learner's workspace.")
        raise _no_folder(f"None of the {len(found)} folders in {folder} holds a workspace.")
    return found


def _no_folder(happened: str) -> UsageError:
    return UsageError(
        happened,
        "Expected FOLDER/LEARNER/NN_subject/exNN_title.py, or the same with workspace/ above the lesson.",
        "Name the folder in which each learner has a folder.",
    )


def _find(home: Path, lessons: Collection[str]) -> Learner:
    below = home / "workspace"
    return Learner(home.name, home, below if _has_lesson(below, lessons) and not _has_lesson(home, lessons) else home)


def _has_lesson(workspace: Path, lessons: Collection[str]) -> bool:
    with suppress(OSError):  # a folder that may not be entered
        return any((workspace / lesson).is_dir() for lesson in lessons)
    return False


def read_attempt(path: Path, home: Path) -> bytes | None:
    """Return what a learner's file holds, None where there is no file. home: the folder that no link may lead out of.

    Raises: Unreadable.
    """
    try:
        if not path.resolve().is_relative_to(home):
            raise Unreadable("It is a link that leads out of the learner's folder.")
        # A pipe that nobody writes to would otherwise keep everyone waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError) as error:
        raise Unreadable(f"It cannot be read: {getattr(error, 'strerror', error)}.") from None
    try:
        return _read(descriptor)
    except OSError as error:
        raise Unreadable(f"It cannot be read: {error.strerror}.") from None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise Unreadable(f"It is {'a folder' if stat.S_ISDIR(mode) else 'no file but a device or a pipe'}.")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        text = file.read(SIZE_LIMIT + 1)
    if len(text) > SIZE_LIMIT:
        raise Unreadable(f"It has more than {SIZE_LIMIT:,} bytes.")
    return text
