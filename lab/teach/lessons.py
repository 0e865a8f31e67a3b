"""The lessons there are, found by reading the folder: ``lessons/05_gradients/lesson.py`` is lesson 05."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.errors import UsageError, did_you_mean
from lab.lessons import LESSONS
from lab.parameters import Parameter, read_parameters
from lab.teach.cells import Cell, read_cells


@dataclass(frozen=True)
class Lesson:
    """One lesson's folder, named NN_subject."""

    folder: Path

    @property
    def name(self) -> str:
        """Such as 05_gradients."""
        return self.folder.name

    @property
    def number(self) -> str:
        """Such as 05."""
        return self.name.partition("_")[0]

    @property
    def source(self) -> Path:
        """The one source of the lesson's three forms."""
        return self.folder / "lesson.py"

    @cached_property
    def cells(self) -> list[Cell]:
        """Its cells in order."""
        return read_cells(self.source)

    @property
    def title(self) -> str:
        """The first heading."""
        headings = (cell.source for cell in self.cells if cell.markdown and cell.source.startswith("# "))
        return next(headings).splitlines()[0].removeprefix("# ")

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The annotated values of its parameters cell."""
        sources = (cell.source for cell in self.cells if "parameters" in cell.tags)
        return read_parameters(next(sources, ""), where=f"lesson {self.name}")


def discover_lessons(folder: Path = LESSONS) -> list[Lesson]:
    """Return the lessons of a folder in the order of their numbers."""
    return [Lesson(path.parent) for path in sorted(folder.glob("*/lesson.py")) if re.match(r"\d\d_", path.parent.name)]


def find_lesson(word: str, folder: Path = LESSONS) -> Lesson:
    """Return the lesson with this number or name; an empty word is the first. Raises: UsageError."""
    lessons = discover_lessons(folder)
    for lesson in lessons:
        subject = lesson.name.partition("_")[2]
        if word in ("", lesson.name, lesson.number, lesson.number.lstrip("0"), subject):
            return lesson
    names = [lesson.name for lesson in lessons]
    raise UsageError(
        f"There is no lesson {word!r}.",
        f"Lessons: {', '.join(names)}.",
        did_you_mean(word, names) or "Name one of them, or its number.",
    )
