"""The lessons: content only, a folder each, found by reading this one."""

import re
from pathlib import Path

from lab.errors import UsageError, did_you_mean

LESSONS = Path(__file__).resolve().parent


def lesson_folders(folder: Path = LESSONS) -> list[Path]:
    """Return the folders of the lessons, such as 05_gradients, in order."""
    return [
        path.parent
        for path in sorted(folder.glob("*/lesson.py"))
        if re.match(r"\d\d_", path.parent.name)
    ]


def find_lesson_folder(word: str, folder: Path = LESSONS) -> Path:
    """Return the folder of the lesson with this number or name.

    An empty word is the first. Raises: UsageError.
    """
    folders = lesson_folders(folder)
    for found in folders:
        number, _, subject = found.name.partition("_")
        if word in ("", found.name, number, number.lstrip("0"), subject):
            return found
    names = [found.name for found in folders]
    raise UsageError(
        f"There is no lesson {word!r}.",
        f"Lessons: {', '.join(names)}.",
        did_you_mean(word, names) or "Name one of them, or its number.",
    )
