"""Two readings of the same source, ours for the terminal and jupytext's for the notebook, see the same cells."""

from pathlib import Path

import jupytext
import pytest

from lab.teach.cells import Cell, read_cells
from lab.teach.lessons import discover_lessons

SOURCE = """\
# %% [markdown]
# # A title
#
# * a point
#   that goes on

# %% tags=["parameters"]
x: float = 2.0  # help

# %%
def f(t):
    return t  # %% is no header here


print(f(x))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "lesson.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_cells_are_read_with_kind_tags_and_line(source: Path) -> None:
    assert read_cells(source) == [
        Cell(True, (), "# A title\n\n* a point\n  that goes on", 2),
        Cell(False, ("parameters",), "x: float = 2.0  # help", 8),
        Cell(False, (), "def f(t):\n    return t  # %% is no header here\n\n\nprint(f(x))", 11),
    ]


def test_the_line_of_a_cell_is_where_its_source_starts(source: Path) -> None:
    lines = SOURCE.splitlines()
    assert all(lines[c.line - 1].removeprefix("# ") == c.source.splitlines()[0] for c in read_cells(source))


@pytest.mark.parametrize("lesson", discover_lessons(), ids=lambda lesson: lesson.name)
def test_jupytext_reads_the_same_cells(lesson) -> None:
    theirs = jupytext.read(lesson.source, fmt="py:percent").cells
    ours = read_cells(lesson.source)
    assert [(c.cell_type == "markdown", c.source, tuple(c.metadata.get("tags", ()))) for c in theirs] == [
        (c.markdown, c.source, c.tags) for c in ours
    ]
    assert ours
