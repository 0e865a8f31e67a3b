"""The lessons there are, found by reading the folder: ``lessons/05_gradients/lesson.py`` is lesson 05."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.lessons import LESSONS, find_lesson_folder, lesson_folders
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
    return [Lesson(path) for path in lesson_folders(folder)]


def find_lesson(word: str, folder: Path = LESSONS) -> Lesson:
    """Return the lesson with this number or name; an empty word is the first. Raises: UsageError."""
    return Lesson(find_lesson_folder(word, folder))
