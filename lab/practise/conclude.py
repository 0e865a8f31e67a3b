"""From what was observed of an attempt to a judgement: compared with what is wanted, the mistake named."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.practise.exercise import Check, Exercise
from lab.practise.judgement import Judgement, Status
from lab.practise.trial import Reply, Trial


@dataclass(frozen=True)
class Observed:
    """An attempt that was tried. file: what to call its file."""

    exercise: Exercise
    check: Check
    trials: list[Trial]
    reply: Reply
    file: str


def begin_judgement(exercise: Exercise, status: Status, diagnosis: str, seed: int, output: str = "") -> Judgement:
    """Return a judgement that compares nothing, with the first hint."""
    return Judgement(exercise.id, exercise.title, status, diagnosis, seed, hint=exercise.hints[0], output=output)


def conclude(observed: Observed, seed: int) -> Judgement:
    """Compare what was observed with what is wanted, and name the mistake."""
    # It imports torch, which nobody waits for who has not started.
    from lab.practise.diagnose import compare_observations, diagnose, is_right

    exercise, content, trials, reply = observed.exercise, observed.check, observed.trials, observed.reply
    if reply.observations is None:
        return begin_judgement(exercise, Status.WRONG, reply.failure, seed, output=reply.output)
    raised = reply.observations[0].raised
    # torch raises the same kind, such as for an operation that a dtype does not have.
    if raised and raised.own and raised.type == NotImplementedError.__name__:
        next_step = f"It raises {raised.type}. Replace that."
        return begin_judgement(exercise, Status.NOT_STARTED, next_step, seed, output=reply.output)
    comparisons = compare_observations(content, trials, reply.observations)
    if is_right(content, trials, reply.observations):
        judgement = begin_judgement(exercise, Status.SOLVED, "", seed, output=reply.output)
        return replace(judgement, hint="", meaning=exercise.meaning, comparisons=comparisons)
    found = diagnose(content, trials, reply.observations, observed.file)
    judgement = begin_judgement(exercise, Status.WRONG, found.text, seed, output=reply.output)
    hint = exercise.hints[found.hint - 1]
    return replace(judgement, mistake=found.mistake, hint=hint, step=found.hint, comparisons=comparisons)
