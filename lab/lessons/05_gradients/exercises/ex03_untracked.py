"""Compute without recording.

Validation, plotting and the optimiser's own update need values, not
gradients. Under no_grad() nothing is recorded, so nothing is kept for a
backward() that will never come: that saves memory and time, and keeps an
update of the weights out of the graph.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Mistake,
    Trial,
    Values,
    describe,
    read_number,
)


def untracked(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return f(x), with nothing recorded while it is computed.

    f takes x, a scalar tensor that requires grad, and may use tracked tensors
    of its own. Afterwards everything is as it was before, also where f
    raises: x still requires grad, and recording is on again, or still off if
    it was off before. The result may be used in later computations that are
    tracked.
    """
    with torch.no_grad():
        return f(x)


HINTS = (
    "What is recorded while f runs? Does that depend on x alone, or also on "
    "tensors that only f knows?",
    "Look up torch.no_grad: a context manager that stops recording and "
    "afterwards puts back what was before.",
    "with torch.____(): and in it the call of f, whose result you return.",
)


def plain(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f was recorded as always: its result is tracked. Something has to
    switch recording off while f runs.
    """
    return f(x)


def detach_after(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The result is untracked, but f was recorded: it was cut loose when the
    graph had been built.

    Detaching the result afterwards saves no memory while f runs. Switch
    recording off before you call f.
    """
    return f(x).detach()


def detach_before(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """You cut x off, but f has tracked tensors of its own, and through them
    it was recorded all the same.

    detach() and .data speak for one tensor, as weights show in any network.
    Switch recording off for all of them.
    """
    return f(x.detach())


def detach_around(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Detached before and after, and still f was recorded in between, through
    tracked tensors of its own.

    detach() speaks for one tensor. Switch recording off for all of them.
    """
    return f(x.detach()).detach()


def requires_grad_off(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """x no longer requires grad after your function: you switched the
    caller's own tensor off for good.

    And f was recorded all the same, through tracked tensors of its own. Leave
    x alone and switch recording off.
    """
    x.requires_grad_(False)
    return f(x)


def requires_grad_off_on(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Switching x off and on again is not enough: f was recorded through
    tracked tensors of its own.

    And where f raises, x stays switched off. Leave x alone and switch
    recording off.
    """
    x.requires_grad_(False)
    result = f(x)
    x.requires_grad_(True)
    return result


def off_for_good(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Recording is still off after your function: from here on nothing in the
    program would have a gradient.

    set_grad_enabled(False) holds until someone switches it on again. A with
    block does that by itself.
    """
    torch.set_grad_enabled(False)
    return f(x)


def off_then_on(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """You switch recording on afterwards, even where the caller had it off,
    and not at all where f raises.

    Afterwards it has to be as it was before, whatever happens. That is what a
    with block is for.
    """
    torch.set_grad_enabled(False)
    result = f(x)
    torch.set_grad_enabled(True)
    return result


def not_after_an_exception(
    f: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """All is well until f raises: then the line that puts recording back is
    never reached, and it stays off.

    A with block puts it back on every way out.
    """
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    result = f(x)
    torch.set_grad_enabled(before)
    return result


def on_even_where_it_was_off(
    f: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """You switch recording on afterwards even where the caller had it off.

    Called inside a no_grad() of the caller, your function ends it. Put back
    what was before; a with block does.
    """
    torch.set_grad_enabled(False)
    try:
        return f(x)
    finally:
        torch.set_grad_enabled(True)


def inference(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Nothing was recorded, but the result may not be saved for a backward
    pass: inference_mode() makes it so.

    A tracked product with it raises 'Inference tensors cannot be saved for
    backward'. One made under no_grad() is an ordinary tensor.
    """
    with torch.inference_mode():
        return f(x)


def exception_swallowed(
    f: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor | None:
    """Where f raises, the caller has to learn of it, and you caught the
    exception. Let it pass.
    """
    try:
        with torch.no_grad():
            return f(x)
    except Exception:
        return None


def forgot_return(f: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """f ran unrecorded, but its result is lost: your function returned None.
    Return what f returns.
    """
    with torch.no_grad():
        f(x)


def what_came_of_it(x: Tensor) -> bool:
    """y was computed while nothing was recorded, whatever x is."""
    with torch.no_grad():
        y = x**2
    return y.requires_grad


def used_afterwards(x: Tensor) -> bool:
    """Recording is on again, and x tracks as before: the product is recorded.
    In it, y counts as a constant.
    """
    with torch.no_grad():
        y = x**2
    return (x * y).requires_grad


def draw(rng: random.Random) -> dict[str, float]:
    return {"x": rng.randrange(6, 25) / 8, "w": rng.randrange(6, 25) / 8}


def observe(attempt: Attempt, trial: Trial) -> Values:
    return {
        **_as_usual(attempt, trial),
        **_inside_no_grad(attempt, trial),
        **_raising(attempt, trial),
    }


def _as_usual(attempt: Attempt, trial: Trial) -> Values:
    """f is a spy. It computes with x, and with a tracked w of its own, and
    looks what is recorded of each.
    """
    x, w = trial.leaf("x"), trial.leaf("w")
    x_recorded = w_recorded = False

    def f(x: Tensor) -> Tensor:
        nonlocal x_recorded, w_recorded
        square = x**2
        product = w * square
        x_recorded |= square.requires_grad
        w_recorded |= product.requires_grad
        return product

    with torch.enable_grad():
        result = attempt(f, x)
        if not isinstance(result, Tensor):
            found = describe(result)
            raise AnswerError(
                f"It returned {found}. Expected what f returns."
            )
        return {
            "f(x)": read_number(result),
            "what f does with x is recorded": x_recorded,
            "what f does with its own tensors is recorded": w_recorded,
            "the result requires grad": result.requires_grad,
            "x still requires grad": x.requires_grad,
            "recording is on again": torch.is_grad_enabled(),
            "the result can be used in a graph": _usable(result, trial),
        }


def _usable(result: Tensor, trial: Trial) -> bool:
    with suppress(RuntimeError), torch.enable_grad():
        return (trial.leaf("w") * result).requires_grad
    return False


def _inside_no_grad(attempt: Attempt, trial: Trial) -> Values:
    x = trial.leaf("x")
    with torch.no_grad():
        attempt(lambda x: x**2, x)
        recording = torch.is_grad_enabled()
    return {"inside no_grad, recording is still off": not recording}


def _raising(attempt: Attempt, trial: Trial) -> Values:
    x = trial.leaf("x")

    def f(x: Tensor) -> Tensor:
        raise ArithmeticError("f raises")

    raised = True
    with torch.enable_grad():
        with suppress(ArithmeticError):
            attempt(f, x)
            raised = False
        recording = torch.is_grad_enabled()
    return {
        "an exception of f passes through": raised,
        "after an exception, recording is on again": recording,
        "after an exception, x still requires grad": x.requires_grad,
    }


def expected(trial: Trial) -> Values:
    return {
        "f(x)": trial.inputs["w"] * trial.inputs["x"] ** 2,
        "what f does with x is recorded": False,
        "what f does with its own tensors is recorded": False,
        "the result requires grad": False,
        "x still requires grad": True,
        "recording is on again": True,
        "the result can be used in a graph": True,
        "inside no_grad, recording is still off": True,
        "an exception of f passes through": True,
        "after an exception, recording is on again": True,
        "after an exception, x still requires grad": True,
    }


CHECK = Check(
    solution=untracked,
    first={"x": 2.0, "w": 3.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(plain, hint=1),
        Mistake(detach_after, hint=2),
        Mistake(detach_before, hint=1),
        Mistake(detach_around, hint=1),
        Mistake(requires_grad_off, hint=1),
        Mistake(requires_grad_off_on, hint=1),
        Mistake(off_for_good, hint=2),
        Mistake(off_then_on, hint=2),
        Mistake(not_after_an_exception, hint=2),
        Mistake(on_even_where_it_was_off, hint=2),
        Mistake(inference, hint=2),
        Mistake(exception_swallowed, hint=3),
        Mistake(forgot_return, hint=3),
    ),
    predictions=(what_came_of_it, used_afterwards),
)
