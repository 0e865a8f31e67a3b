"""An exercise: what can be told about it without torch, and the check that judges it.

Both lie in one file, exercises/ex01_two_partials.py; lab.practise.discover reads the first from its text and
loads the second. The file's name is the exercise's id and names the function that the learner writes.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.device import DTYPES
from lab.practise.trial import Attempt, Input, Trial, Values

# The first is the lesson's own point, the others are drawn.
TRIALS = 6
# Exact in every dtype, far from 1 and from the 2 and 3 that a doubled or tripled gradient shows.
FACTORS = (-2.5, -1.5, -0.5, 0.25, 1.5, 2.5, 3.5)


@dataclass(frozen=True)
class Exercise:
    """What the file says about itself.

    title: the first line of its docstring. meaning: the rest of it, what this means for training, told to
    whoever has solved it. hints: the three that are written; the fourth is the solution. source: the file's text.
    """

    path: Path
    title: str
    meaning: str
    hints: tuple[str, ...]
    source: str

    @property
    def id(self) -> str:
        """The name of the file: ``ex01_two_partials``."""
        return self.path.stem

    @property
    def number(self) -> str:
        """Its number in its lesson: ``ex01``."""
        return self.path.stem.partition("_")[0]

    @property
    def function(self) -> str:
        """The name of the function that the learner writes: ``two_partials``."""
        return self.path.stem.partition("_")[2]

    @property
    def lesson(self) -> str:
        """The name of the lesson's folder: ``05_gradients``."""
        return self.path.parent.parent.name

    @property
    def lesson_number(self) -> str:
        """The number of its lesson: ``05``."""
        return self.lesson.partition("_")[0]


@dataclass(frozen=True)
class Mistake:
    """A labelled wrong answer. Its docstring is the diagnosis.

    The diagnosis may name a trial's inputs, ``{x}``, its ``{factor}``, and what was observed and expected
    there, ``{got[dz/dx]}`` and ``{want[dz/dx]}``. function: the answer as a learner would write it. hint: the
    step, 1 to 3, where its author's hints start. within: how far, relatively, another version of the same
    mistake may lie from it; 0 asks for the same numbers.
    """

    function: Attempt
    hint: int
    within: float = 0.0

    @property
    def diagnosis(self) -> str:
        """The docstring as one paragraph, its fields not filled in."""
        return " ".join((inspect.getdoc(self.function) or "").split())


@dataclass(frozen=True)
class Check:
    """How an exercise is judged.

    solution: the reference. first: the inputs of the lesson, tried without a secret. draw: random inputs,
    numbers that every dtype of the exercise holds exactly. observe: calls an attempt on a trial and returns what
    it did; it runs in the attempt's process, so nothing that it says is believed but numbers and facts. expected:
    what a right attempt would have done, in closed form and float64; it runs in the judge. mistakes: the labelled
    wrong answers, told apart in this order. dtypes: names of those the exercise can be judged in. predictions:
    functions of inputs that surprise, each with the reason as its docstring: what does it return?
    """

    solution: Attempt
    first: Mapping[str, Input]
    draw: Callable[[random.Random], Mapping[str, Input]]
    observe: Callable[[Attempt, Trial], Values]
    expected: Callable[[Trial], Values]
    mistakes: tuple[Mistake, ...]
    dtypes: tuple[str, ...] = DTYPES
    predictions: tuple[Callable[..., Any], ...] = ()


def draw_trials(check: Check, *, seed: str, dtype: str, device: str) -> list[Trial]:
    """Return the trials of a judgement: the lesson's point, then random inputs with random secret factors."""
    rng = random.Random(seed)
    trials = [Trial(check.first, 1.0, dtype, device)]
    while len(trials) < TRIALS:
        inputs, factor = check.draw(rng), rng.choice(FACTORS)
        if all(inputs != trial.inputs for trial in trials):  # a diagnosis speaks of another point than the lesson's
            trials.append(Trial(inputs, factor, dtype, device))
    return trials
