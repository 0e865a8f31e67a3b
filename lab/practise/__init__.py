"""Exercises: what the learner has is judged, and what is wrong with it is told from its values.

What an exercise's file may import is named here, and what the command line and a notebook call. Needs no torch
until there is something to judge.
"""

from lab.practise.conditions import Conditions
from lab.practise.discover import discover_exercises, find_exercise
from lab.practise.exercise import Check, Exercise, Mistake
from lab.practise.exhibit import Exhibit
from lab.practise.hints import hint_steps
from lab.practise.judge import Judge, attempts_at, judge_attempts
from lab.practise.judgement import Judgement, Status
from lab.practise.notebook import check, hint, solution
from lab.practise.percent import exercises_as_percent
from lab.practise.sandbox import find_sandbox
from lab.practise.session import Session
from lab.practise.stub import attempt_path, prepare_workspace, reset_attempt
from lab.practise.trial import (
    AnswerError,
    Attempt,
    Input,
    Trial,
    Value,
    Values,
    describe,
    read_answer,
    read_number,
    read_value,
)

__all__ = [
    "AnswerError",
    "Attempt",
    "Check",
    "Conditions",
    "Exercise",
    "Exhibit",
    "Input",
    "Judge",
    "Judgement",
    "Mistake",
    "Session",
    "Status",
    "Trial",
    "Value",
    "Values",
    "attempt_path",
    "attempts_at",
    "check",
    "describe",
    "discover_exercises",
    "exercises_as_percent",
    "find_exercise",
    "find_sandbox",
    "hint",
    "hint_steps",
    "judge_attempts",
    "prepare_workspace",
    "read_answer",
    "read_number",
    "read_value",
    "reset_attempt",
    "solution",
]
