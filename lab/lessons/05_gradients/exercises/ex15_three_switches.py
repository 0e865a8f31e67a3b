"""Three switches.

inference_mode() is for what no graph will ever see, such as serving a trained
network. no_grad() is for tensors that a later graph may use, such as cached
features. detach() is for a value that is taken out of a graph which is still
to be gone back through, such as a loss for the log.
"""

# mypy: disable-error-code="no-untyped-call,operator"

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Mistake,
    Trial,
    Value,
    Values,
    describe,
    read_number,
)


def three_switches(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """Return f(x) as a tensor that does not require grad, by the right switch
    for the case.

    The switches, from the one that spares the most to the one that spares the
    least: torch.inference_mode(), torch.no_grad(), and detach() on what f
    returns. Take the first that serves the case. case is one of six words:

        "score"    of a validation set: it is compared with a number, no more
        "serve"    a trained network: the answer is sent away as numbers
        "features" of a frozen network: a tracked layer is trained on them
        "teacher"  its answers multiply a student's loss, which is tracked
        "log"      f returns the loss, and the caller, who has kept that
                   tensor, goes backward through it afterwards
        "weight"   the value scales another loss as a constant, and the
                   caller goes backward through the tensor that f made, too

    Call f once, with x as it is. f takes a scalar tensor, returns one, and
    uses tracked weights of its own. x is a scalar tensor that requires grad.
    Afterwards recording is on as before.
    """
    if case in ("score", "serve"):
        with torch.inference_mode():
            return f(x)
    if case in ("features", "teacher"):
        with torch.no_grad():
            return f(x)
    return f(x).detach()


HINTS = (
    "What happens to the result in each case: is it ever saved by a graph, "
    "and is the graph of f itself still to be gone through?",
    "Look up torch.inference_mode and torch.no_grad: what may be done with a "
    "tensor after it was made under each of them?",
    "Two cases under torch.____(), two under torch.____(), and for the last "
    "two f is recorded and its result is ____.",
)


def score_no_grad(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "score" you chose no_grad(), which works. But a comparison with a
    number is no graph, so a switch that spares more serves as well: one that
    keeps no count of versions either.
    """
    with torch.no_grad():
        return f(x)


def score_detach(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "score" you chose detach(): the result is right, but f was recorded
    for nothing, as nobody ever goes backward through it.

    Detaching afterwards spares nothing while f runs.
    """
    return f(x).detach()


def serve_no_grad(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "serve" you chose no_grad(), which works. But what is sent away as
    numbers will never be part of a graph, so a switch that spares more serves
    as well.
    """
    if case == "score":
        with torch.inference_mode():
            return f(x)
    with torch.no_grad():
        return f(x)


def serve_detach(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "serve" you chose detach(): the result is right, but every request
    builds a graph that nobody goes backward through.
    """
    if case == "score":
        with torch.inference_mode():
            return f(x)
    return f(x).detach()


def features_inference(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "features" you chose inference_mode(). The tracked layer that came
    afterwards ended in: {got[features, then]}.

    A product saves its factors for backward, and a tensor made under that
    switch may not be saved.
    """
    if case in ("log", "weight"):
        return f(x).detach()
    with torch.inference_mode():
        return f(x)


def features_detach(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "features" you chose detach(): the result is right, but f was
    recorded for nothing. The network is frozen, so nobody goes backward
    through it; only the layer is trained.
    """
    if case in ("score", "serve"):
        with torch.inference_mode():
            return f(x)
    return f(x).detach()


def teacher_inference(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "teacher" you chose inference_mode(). The student's tracked loss
    ended in: {got[teacher, then]}.

    A product saves its factors for backward, and a tensor made under that
    switch may not be saved.
    """
    if case == "features":
        with torch.no_grad():
            return f(x)
    if case in ("log", "weight"):
        return f(x).detach()
    with torch.inference_mode():
        return f(x)


def teacher_detach(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "teacher" you chose detach(): the result is right, but f was
    recorded for nothing. It is the student that is trained, and nobody goes
    backward through the teacher.
    """
    if case in ("score", "serve"):
        with torch.inference_mode():
            return f(x)
    if case == "features":
        with torch.no_grad():
            return f(x)
    return f(x).detach()


def log_no_grad(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "log" you chose no_grad(). The value is right, but the caller's
    backward() through the same loss ended in: {got[log, then]}.

    The graph of f is still needed there.
    """
    if case in ("score", "serve"):
        with torch.inference_mode():
            return f(x)
    with torch.no_grad():
        return f(x)


def log_inference(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "log" you chose inference_mode(). The value is right, but nothing
    was recorded, and the caller's backward() through the same loss ended in:
    {got[log, then]}.

    The graph of f is still needed there.
    """
    if case in ("features", "teacher"):
        with torch.no_grad():
            return f(x)
    with torch.inference_mode():
        return f(x)


def weight_no_grad(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "weight" you chose no_grad(). As a constant the value is right, but
    the caller's backward() ended in: {got[weight, then]}.

    The tensor that f made has a second use there, and needs its graph.
    """
    if case in ("score", "serve"):
        with torch.inference_mode():
            return f(x)
    if case == "log":
        return f(x).detach()
    with torch.no_grad():
        return f(x)


def weight_inference(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """For "weight" you chose inference_mode(). That ended in:
    {got[weight, then]}.

    Such a constant may not be saved by the other loss, and the tensor that f
    made has a second use, for which it needs its graph.
    """
    if case in ("features", "teacher"):
        with torch.no_grad():
            return f(x)
    if case == "log":
        return f(x).detach()
    with torch.inference_mode():
        return f(x)


def detached_before(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """Your switch is right in the first four cases. For "log" you cut x off
    before f: it was recorded through its own weights, but in the caller's
    backward() x got nothing.

    f wants x as it is. Take the value out of the graph afterwards.
    """
    if case in ("score", "serve"):
        with torch.inference_mode():
            return f(x)
    if case in ("features", "teacher"):
        with torch.no_grad():
            return f(x)
    return f(x.detach()).detach()


def off_for_good(
    f: Callable[[Tensor], Tensor], x: Tensor, case: str
) -> Tensor:
    """Recording is still off after your function: set_grad_enabled(False)
    holds until someone switches it on again.

    Use the switches as with blocks, which put back what was before.
    """
    if case in ("score", "serve"):
        with torch.inference_mode():
            return f(x)
    if case in ("features", "teacher"):
        torch.set_grad_enabled(False)
        return f(x)
    return f(x).detach()


def inference_then_used(x: Tensor) -> Tensor:
    """It raises. The product has to save its factors for backward, and y,
    made under inference_mode(), refuses: nobody counts the versions of y, so
    a later edit of it would go unnoticed.
    """
    with torch.inference_mode():
        y = x**2
    return x * y


def inference_then_added(x: Tensor) -> bool:
    """True. A sum saves nothing, so it does not mind where y was made. That
    is why the mistake may stay hidden until a product comes along.
    """
    with torch.inference_mode():
        y = x**2
    return (x + y).requires_grad


def used_after_no_grad(x: Tensor) -> bool:
    """False. Nothing was recorded while y was made, so to what comes later y
    is a constant, although recording is on again.
    """
    with torch.no_grad():
        y = x**2
    return (2 * y).requires_grad


_SWITCHES = {
    "score": "inference_mode",
    "serve": "inference_mode",
    "features": "no_grad",
    "teacher": "no_grad",
    "log": "detach",
    "weight": "detach",
}


def draw(rng: random.Random) -> dict[str, float]:
    return {"x": rng.randrange(6, 25) / 8, "w": rng.randrange(6, 25) / 8}


def observe(attempt: Attempt, trial: Trial) -> Values:
    """Try the cases in turn, up to the first that is served badly: that one
    is told.
    """
    seen: dict[str, Value] = {}
    for case, switch in _SWITCHES.items():
        # Whatever a case leaves switched off, the next one begins afresh.
        with torch.inference_mode(False):
            seen |= _observe_case(attempt, trial, case)
        if seen[f"{case}, the switch"] != switch:
            break
    return seen


def _observe_case(attempt: Attempt, trial: Trial, case: str) -> Values:
    """f is a spy: it keeps what it made, and that shows what was recorded."""
    x, w = trial.leaf("x"), trial.tensor("w").requires_grad_()
    made: list[Tensor] = []

    def f(x: Tensor) -> Tensor:
        made.append(w * x**2)
        return made[-1]

    result = attempt(f, x, case)
    if not isinstance(result, Tensor) or len(made) != 1:
        raise AnswerError(
            f'For "{case}" it returned {describe(result)} and called f '
            f"{len(made)} times. Expected the tensor that one call brings."
        )
    if result.requires_grad:
        raise AnswerError(
            f'For "{case}" the result requires grad. Expected one that does '
            "not: take one of the three switches."
        )
    recording = torch.is_grad_enabled()
    seen: dict[str, Value] = {
        f"{case}, the switch": _switch(made[0].requires_grad, result),
        f"{case}, f(x)": read_number(result),
        f"{case}, recording is on afterwards": recording,
    }
    if case not in ("score", "serve"):
        seen[f"{case}, then"] = _then(case, result, made[0], x, trial)
    return seen


def _switch(recorded: bool, result: Tensor) -> str:
    """Name a switch by what it leaves behind."""
    if recorded:
        return "detach"
    return "inference_mode" if result.is_inference() else "no_grad"


def _then(
    case: str, result: Tensor, made: Tensor, x: Tensor, trial: Trial
) -> Value:
    """Do what the case says happens next; return the gradient it brings, or
    what was raised instead.
    """
    try:
        with torch.inference_mode(False):
            if case != "log":
                layer = trial.leaf("w")
                (layer * result).backward()
            if case in ("features", "teacher"):
                return read_number(layer.grad)
            made.backward()
            return read_number(x.grad)
    except RuntimeError as error:
        sentence = str(error).partition(". ")[0].partition("\n")[0]
        return f"RuntimeError: {sentence}"


def expected(trial: Trial) -> Values:
    x, w = trial.inputs["x"], trial.inputs["w"]
    value, slope = w * x**2, w * 2 * x
    wanted: dict[str, Value] = {}
    for case, switch in _SWITCHES.items():
        wanted[f"{case}, the switch"] = switch
        wanted[f"{case}, f(x)"] = value
        wanted[f"{case}, recording is on afterwards"] = True
        if switch != "inference_mode":
            gradient = value if switch == "no_grad" else slope
            wanted[f"{case}, then"] = trial.factor * gradient
    return wanted


CHECK = Check(
    solution=three_switches,
    first={"x": 2.0, "w": 3.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(score_no_grad, hint=2),
        Mistake(score_detach, hint=1),
        Mistake(serve_no_grad, hint=2),
        Mistake(serve_detach, hint=1),
        Mistake(features_inference, hint=2),
        Mistake(features_detach, hint=1),
        Mistake(teacher_inference, hint=2),
        Mistake(teacher_detach, hint=1),
        Mistake(log_no_grad, hint=1),
        Mistake(log_inference, hint=1),
        Mistake(weight_no_grad, hint=1),
        Mistake(weight_inference, hint=1),
        Mistake(detached_before, hint=3),
        Mistake(off_for_good, hint=3),
    ),
    predictions=(
        inference_then_used,
        inference_then_added,
        used_after_no_grad,
    ),
)
