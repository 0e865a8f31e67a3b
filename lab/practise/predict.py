"""Predict first: code that surprises, what the learner thinks that it returns, what it returns, and why."""

from __future__ import annotations

import ast
import inspect
import json
import math
import random
import re
import socket
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.practise.discover import execute_source
from lab.practise.exercise import Exercise
from lab.practise.trial import Input, Trial, Value, numbers_in, read_value, shape_of, show
from lab.warm import Warm, read_line

RAISES = "error"  # what to answer where the code raises
_NEAR = 1e-3  # relatively: nobody is asked for seven digits


@dataclass(frozen=True)
class Question:
    """One piece of code. inputs: what it is run on. truth: what it returns there, or RAISES. reason: why."""

    name: str
    code: str
    inputs: Mapping[str, Input]
    truth: Value
    reason: str

    def is_answered_by(self, said: Value) -> bool:
        """Say whether a prediction is right: numbers nearly, all else exactly."""
        if shape_of(self.truth) is None or shape_of(said) != shape_of(self.truth):
            return type(said) is type(self.truth) and said == self.truth
        pairs = zip(numbers_in(said), numbers_in(self.truth), strict=True)
        return all(
            math.isclose(a, b, rel_tol=_NEAR, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b)) for a, b in pairs
        )


def has_questions(exercise: Exercise) -> bool:
    """Say by its text whether an exercise has code to predict."""
    return any(
        keyword.arg == "predictions"
        for node in ast.walk(ast.parse(exercise.source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    )


def ask_questions(exercise: Exercise, seed: int) -> list[Question]:
    """Return the questions of an exercise, run in a process of their own. Raises: OSError where there is none."""
    with Warm("torch") as warm:
        with warm.fork(
            f"{__name__}:answer_questions", path=str(exercise.path), source=exercise.source, seed=seed
        ) as fork:
            answer = read_line(fork)
        assert answer, warm.complaint
    return [Question(**question) for question in json.loads(answer)]


def answer_questions(connection: socket.socket, path: str, source: str, seed: int) -> None:
    """Run every question of an exercise and answer with all of them. For a fork of a warm process."""
    check = execute_source(source, Path(path))["CHECK"]
    rng, functions = random.Random(seed), ast.parse(source)
    code = {node.name: node for node in functions.body if isinstance(node, ast.FunctionDef)}
    questions = []
    for function in check.predictions:
        trial = Trial(check.draw(rng), 1.0, "float32", "cpu")
        names = list(inspect.signature(function).parameters)
        reason = " ".join((inspect.getdoc(function) or "").split())
        shown = _body(source, code[function.__name__])
        inputs = {name: trial.inputs[name] for name in names}
        questions.append(Question(function.__name__, shown, inputs, _run(function, trial, names), reason))
    connection.sendall(json.dumps([asdict(question) for question in questions]).encode() + b"\n")


def _run(function: Any, trial: Trial, names: list[str]) -> Value:
    with warnings.catch_warnings(action="ignore"):
        try:
            return read_value(function(*(trial.tensor(name).requires_grad_() for name in names)))
        except Exception:
            return RAISES


def _body(source: str, function: ast.FunctionDef) -> str:
    first, last = function.body[1], function.body[-1]
    lines = source.splitlines()[first.lineno - 1 : last.end_lineno]
    return textwrap.dedent("\n".join(re.sub(r"\s*# (type: ignore|noqa).*", "", line) for line in lines))


_WORDS: Mapping[str, Value] = {
    **dict.fromkeys(("error", "raises"), RAISES),
    **dict.fromkeys(("true", "yes"), True),
    **dict.fromkeys(("false", "no"), False),
    **{word: float(word) for word in ("nan", "inf", "-inf")},
    "none": None,
}


def read_prediction(text: str) -> Value:
    """Read what was typed: a number, a list of them, True, False, None or an error. Raises: ValueError."""
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        value = ast.literal_eval(text.strip())
    except (SyntaxError, MemoryError, RecursionError):
        raise ValueError(text) from None
    return read_value(value)


def tell_truth(question: Question, said: Value) -> str:
    """Say what it returns, beside what was said, and why."""
    truth = "it raises an error" if question.truth == RAISES else f"it returns {show(question.truth)}"
    if question.is_answered_by(said):
        return f"Right: {truth}. {question.reason}"
    return f"You said {show(said)}; {truth}. {question.reason}"
