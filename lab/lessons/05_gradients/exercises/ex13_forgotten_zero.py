"""The forgotten zero.

Without zero_grad() nothing fails and nothing is printed: every step walks
along the sum of all the gradients so far, which is momentum without any
friction. The loss swings and does not settle, and one looks for the fault in
the learning rate or the data.
"""

# mypy: disable-error-code="no-untyped-call,operator,arg-type,union-attr"

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
    Values,
    describe,
    read_number,
    read_value,
)


def forgotten_zero(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """Mend this loop, which runs past the minimum of f and never settles:

        path = []
        for _ in range(steps):
            f(w).backward()
            with torch.no_grad():
                w -= lr * w.grad
            path.append(w.item())
        return path

    Each step is to subtract lr times the gradient of f at the present w and
    nothing else. Return the path: where w is after the first step, after the
    second, and so on. The tensor w that was given has to move itself.

    w is a scalar tensor that requires grad. Its .grad is not None: another
    loss has left something there, which must not play a part. f takes a
    scalar tensor and returns one. For f(w) = w², w = 4, lr = 0.25 and three
    steps the path is 2, 1 and 0.5. While you are judged, what is
    differentiated through f is multiplied by a secret number.
    """
    path = []
    for _ in range(steps):
        w.grad = None
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
    return path


HINTS = (
    "What is stored in w.grad when the second backward() begins? And when "
    "the first one does?",
    "Look up zero_grad in torch.optim.Optimizer: what it does to a .grad, "
    "and where in a training loop it stands.",
    "w.grad = ____, or w.grad.____(), as the first thing in each step.",
)


def never_cleared(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """Already the first step leads to {got[path]} and not to {want[path]}:
    w.grad held {before} from before, and backward() added to it.

    Nothing in this loop ever clears w.grad, so each step walks along the sum
    of all the gradients so far.
    """
    path = []
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
    return path


def cleared_last(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """The first step goes wrong, the others do not add to it: you clear
    w.grad at the end of each step, and it held {before} when the loop began.

    Nobody knows what a .grad holds before a loop. Clear it before backward()
    and not after the update.
    """
    path = []
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
        w.grad.zero_()
    return path


def cleared_once(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """The first step is right, and from the second on the gradients add up:
    {got[path]} where {want[path]} is expected.

    You cleared w.grad once, before the loop. Every backward() adds to what
    the one before has left.
    """
    path = []
    w.grad = None
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
    return path


def cleared_too_early(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """w does not move at all, the path is {got[path]}: you cleared w.grad
    between backward() and the update, so what is subtracted is 0.

    Clear it before backward() fills it.
    """
    path = []
    for _ in range(steps):
        f(w).backward()
        w.grad.zero_()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
    return path


def cleared_w(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """You set w itself to 0 in each step, and with it all that was learnt.

    It is w.grad that still holds the old gradients. Clear that one.
    """
    path = []
    for _ in range(steps):
        with torch.no_grad():
            w.zero_()
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
    return path


def smaller_steps(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """You divide what has piled up by the number of passes: a step along the
    mean of all the gradients so far, taken at other places than the present.

    It calms the loop and hides the fault. Clear w.grad instead.
    """
    path = []
    w.grad = None
    for step in range(1, steps + 1):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad / step
        path.append(w.item())
    return path


def same_tensor(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[Tensor]:
    """The path is {got[path]}: the same number every time, where w is at the
    end. You put the tensor itself into the list, again and again.

    w is changed in place, so every entry shows its last value; a detach() of
    it does too. Put the number there, or a copy.
    """
    path = []
    for _ in range(steps):
        w.grad = None
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w)
    return path


def noted_before(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """The loop is mended, but the path starts at {w}, where w was given, and
    lacks the place that it ends at: you note w before its update.
    """
    path = []
    for _ in range(steps):
        path.append(w.item())
        w.grad = None
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return path


def losses(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """The loop is mended, but you return what f is at each step. The path
    asked for is where w is: {want[path]}.
    """
    path = []
    for _ in range(steps):
        w.grad = None
        loss = f(w)
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(loss.item())
    return path


def a_copy_moved(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """The path is right, but a copy went along it: the w that you were given
    is still at {got[w at the end]}.

    The broken loop moves w itself. Keep that.
    """
    path = []
    w = w.detach().clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
    return path


def finite_difference(
    f: Callable[[Tensor], Tensor], w: Tensor, lr: float, steps: int
) -> list[float]:
    """Those slopes are finite differences, two values of f divided by a small
    step. They led along {got[path]}.

    There is nothing to clear, but it misses the secret {factor} that a
    derivative through f is multiplied by. Keep backward() and clear w.grad.
    """
    path, h = [], 1e-3
    with torch.no_grad():
        for _ in range(steps):
            w -= lr * (f(w + h) - f(w)) / h
            path.append(w.item())
    return path


def third_step(w: Tensor) -> Tensor:
    """The broken loop. Its steps subtract a quarter of the first gradient,
    then of the first two, then of all three: w goes to w/2, to -w/4 and to
    -7w/8, past the minimum at 0 and on. With zeroing it would have gone to
    w/2, w/4 and w/8.
    """
    for _ in range(3):
        (w**2).backward()
        with torch.no_grad():
            w -= 0.25 * w.grad
    return w


def what_is_stored(w: Tensor) -> Tensor | None:
    """The sum of three gradients, each taken at the same w: 2w + 2w + 2w.
    Three batches and one update do this on purpose.
    """
    for _ in range(3):
        (w**2).backward()
    return w.grad


def draw(rng: random.Random) -> dict[str, float]:
    target = rng.randrange(8, 25) / 8
    return {
        "w": target + rng.randrange(8, 33) / 8,
        "target": target,
        "lr": rng.choice((1 / 16, 1 / 8)),
        "steps": rng.randrange(3, 5),
        "before": rng.randrange(16, 41) / 8,
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    w, target = trial.tensor("w").requires_grad_(), trial.tensor("target")
    w.grad = trial.tensor("before")

    def f(w: Tensor) -> Tensor:
        return trial.secret((w - target) ** 2)

    steps = int(trial.inputs["steps"])
    path = attempt(f, w, trial.inputs["lr"], steps)
    if not isinstance(path, list | tuple | Tensor):
        found = describe(path)
        raise AnswerError(f"It returned {found}. Expected a list, the path.")
    return {"path": read_value(path), "w at the end": read_number(w)}


def expected(trial: Trial) -> Values:
    """Each step brings w nearer to the target by the same ratio."""
    w, target, lr = (trial.inputs[name] for name in ("w", "target", "lr"))
    ratio = 1 - lr * trial.factor * 2
    steps = range(1, int(trial.inputs["steps"]) + 1)
    path = [target + (w - target) * ratio**step for step in steps]
    return {"path": path, "w at the end": path[-1]}


CHECK = Check(
    solution=forgotten_zero,
    first={"w": 4.0, "target": 0.0, "lr": 0.25, "steps": 3, "before": 3.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(never_cleared, hint=1),
        Mistake(cleared_last, hint=1),
        Mistake(cleared_once, hint=1),
        Mistake(cleared_too_early, hint=2),
        Mistake(cleared_w, hint=2),
        Mistake(smaller_steps, hint=1),
        Mistake(same_tensor, hint=3),
        Mistake(noted_before, hint=3),
        Mistake(losses, hint=3),
        Mistake(a_copy_moved, hint=3),
        Mistake(finite_difference, hint=2, within=0.01),
    ),
    # Every step rounds, and the next one starts from the rounded number.
    dtypes=("float64", "float32"),
    predictions=(third_step, what_is_stored),
)
