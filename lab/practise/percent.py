"""A lesson's exercises as a percent-format script, from which their notebook is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lab.practise.discover import discover_exercises
from lab.practise.exercise import Exercise
from lab.practise.stub import derive_stub

_HEAD = """\
# %% [markdown]
# # Exercises of lesson {lesson}
#
# Replace `raise NotImplementedError` in a cell, run it, then run the cell
# below it: it judges what you wrote on random numbers. Stuck? Type
# `hint("{lesson}/ex01")` in a new cell; once it is solved,
# `solution("{lesson}/ex01")`.

# %% tags=["parameters"]
solutions: bool = False  # judge the reference solutions in place of your cells
device: str = "cpu"  # auto, or a name that `lab doctor` shows
dtype: str = "float32"  # one of float64, float32, bfloat16, float16
seed: int = 0  # of the numbers that answers are tried on

# %%
from functools import partial

from lab.practise import check, hint, solution

judge = partial(check, solutions=solutions, device=device, dtype=dtype, seed=seed)
"""

_EXERCISE = """
# %% [markdown]
# ## {number}. {title}

# %%
{stub}
# %%
judge("{lesson}/{id}", {function})
"""


def exercises_as_percent(lesson_folder: Path) -> str:
    """Return the script for a lesson's exercises, or nothing where it has none."""
    exercises = discover_exercises(lesson_folder)
    if not exercises:
        return ""
    return "".join(_parts(lesson_folder.name.partition("_")[0], exercises))


def _parts(lesson: str, exercises: list[Exercise]) -> Iterator[str]:
    yield _HEAD.format(lesson=lesson)
    for number, exercise in enumerate(exercises, 1):
        # The stub without the docstring of its file, which speaks of the file.
        stub = derive_stub(exercise).split('"""\n\n', 1)[1]
        names = {"lesson": lesson, "id": exercise.id, "function": exercise.function}
        yield _EXERCISE.format(number=number, title=exercise.title, stub=stub, **names)
