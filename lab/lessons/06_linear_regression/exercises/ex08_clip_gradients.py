"""Gradient clipping.

One bad batch can bring a gradient a thousand times as long as the others, and
a single step along it throws the weights far away. Clipping by the norm takes
that step in the same direction, but no further than a limit. The norm before
clipping is worth a line in the log: it shows how often the limit was needed.
"""

# A type checker cannot see that .grad is not None after backward(), and holds
# a float to the power of 0.5 for anything.
# mypy: disable-error-code="no-any-return,index,misc"

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Value,
    Values,
    describe,
    read_number,
    read_value,
)


def clip_gradients(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[nn.Module], Tensor],
    limit: float,
) -> float | Tensor:
    """Take one training step with clipped gradients; return their norm.

    loss(model) is a scalar tensor. Clear the gradients, which hold what the
    last step has left; go backward through the loss; clip; and call
    optimizer.step() once. The gradients of all parameters count as one long
    vector. Where its norm, the root of the sum of all squares, is above
    limit, every gradient is multiplied by one and the same number, so that
    the norm becomes limit. Otherwise they stay as they are.

    Return the norm as it was before clipping, as a float or a scalar tensor.
    One parameter has no part in the loss; after clearing and backward() its
    .grad may be None. What .grad holds after the step is left to you.

    The gradients 12, [6, -6] and [[6, -6, 6], [2, -6, 6]] have the norm 20.
    With limit 5 each entry is divided by 4, with limit 32 they stay as they
    are, and 20 is returned both times. While you are judged, what is
    differentiated through the loss is multiplied by a secret number.
    """
    optimizer.zero_grad()
    loss(model).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    return norm


HINTS = (
    "When is the gradient there that the step is going to use, and how long "
    "is it if all parameters are taken together?",
    "Look up torch.nn.utils.clip_grad_norm_: which tensors it wants, what it "
    "changes in place and what it returns.",
    "after backward(), before step(): norm = nn.utils.____(model.____(), …)",
)

# What all of these functions are given.
_Loss = Callable[[nn.Module], Tensor]
_Optimizer = torch.optim.Optimizer


def each_on_its_own(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """You clipped each parameter by its own norm: at the step, scale.grad was
    {got[scale.grad]} and not {want[scale.grad]}.

    Then a long gradient of one parameter becomes as short as that of another,
    and the step points in another direction. One norm of all of them, one
    number to multiply all of them by.
    """
    optimizer.zero_grad()
    loss(model).backward()
    for parameter in model.parameters():
        norm = nn.utils.clip_grad_norm_(parameter, limit)
    optimizer.step()
    return norm


def by_value(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> float:
    """You clipped each entry to the range from -{limit} to {limit}: bias.grad
    was {got[bias.grad]} and not {want[bias.grad]}.

    That is clipping by value, and it bends the direction: long entries are
    cut, short ones stay. Clipping by the norm multiplies all by one number.
    """
    optimizer.zero_grad()
    loss(model).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    squares = sum(float((gradient**2).sum()) for gradient in gradients)
    nn.utils.clip_grad_value_(model.parameters(), limit)
    optimizer.step()
    return squares**0.5


def after_the_step(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """The norm is right, {got[norm]}, but the step went along the whole
    gradient: scale.grad was {got[scale.grad]} then, and not
    {want[scale.grad]}.

    Unless nothing was clipped at all, it was clipped after the step, when the
    weights had moved. Clipping has to change .grad before step() reads it.
    """
    optimizer.zero_grad()
    loss(model).backward()
    optimizer.step()
    return nn.utils.clip_grad_norm_(model.parameters(), limit)


def before_backward(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """You got a norm of {got[norm]}: when it was computed the gradients had
    been cleared, and backward() had not yet brought new ones.

    So nothing was clipped, and the step went along the whole gradient.
    """
    optimizer.zero_grad()
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    loss(model).backward()
    optimizer.step()
    return norm


def before_clearing(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """The norm {got[norm]} is that of the gradients that the last step had
    left, each entry {before}. They were clipped, and then cleared.

    The new gradients come with backward(), and those the step used whole.
    """
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.zero_grad()
    loss(model).backward()
    optimizer.step()
    return norm


def cleared_too_early(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """You got a norm of {got[norm]}, and no parameter moved: the gradients
    were cleared between backward() and the clipping.

    What is to be cleared is what the last step has left. Clear it before
    backward() brings the new ones.
    """
    loss(model).backward()
    optimizer.zero_grad()
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    return norm


def never_cleared(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """The norm is {got[norm]} and not {want[norm]}: it is that of a sum. Each
    entry held {before} from the last step, and backward() added to it.

    Clear the gradients first. Even the parameter that has no part in the loss
    was moved.
    """
    loss(model).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    return norm


def scaled_up(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """With limit {loose} nothing was to be clipped, for the norm is
    {want[norm]}. But scale.grad became {got[scale.grad below the limit]}
    where it should have stayed {want[scale.grad below the limit]}.

    You multiplied by limit / norm, and that is above 1 where the norm itself,
    not its square, is below the limit. Then a step near the minimum jumps
    away from it. Multiply only where the norm is above the limit.
    """
    optimizer.zero_grad()
    loss(model).backward()
    norm = nn.utils.get_total_norm(
        [p.grad for p in model.parameters() if p.grad is not None]
    )
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= limit / norm
    optimizer.step()
    return norm


def without_the_root(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """You got {got[norm]}, the sum of all squares. The norm is its root,
    {want[norm]}.

    The limit is a length, not a square: compared with the sum of squares,
    gradients are clipped far too often and far too much.
    """
    optimizer.zero_grad()
    loss(model).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([(gradient**2).sum() for gradient in gradients]).sum()
    for gradient in gradients:
        gradient *= (limit / norm).clamp(max=1)
    optimizer.step()
    return norm


def norm_after_clipping(
    model: nn.Module, optimizer: _Optimizer, loss: _Loss, limit: float
) -> Tensor:
    """The step is right, but {got[norm]} is the norm after clipping, the
    limit itself. Before, it was {want[norm]}.

    In a log the norm after clipping never tells that anything was clipped.
    clip_grad_norm_() returns the one from before.
    """
    optimizer.zero_grad()
    loss(model).backward()
    nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    return nn.utils.get_total_norm(
        [p.grad for p in model.parameters() if p.grad is not None]
    )


def what_clipping_returns(scale: Tensor) -> Tensor:
    """The norm before clipping: the gradient of scale² is 2 · scale. After
    clipping the norm is 1, and nobody returns that.
    """
    (scale**2).backward()
    return nn.utils.clip_grad_norm_([scale], 1.0)


def ratio_after_clipping(bias: Tensor) -> Tensor:
    """It is the ratio of the two entries before: both were multiplied by the
    same number, so the direction stays. Clipping by value would have made
    both of them 1.
    """
    weights = torch.ones(2, requires_grad=True)
    (weights * bias.detach()).sum().backward()
    nn.utils.clip_grad_norm_([weights], 1.0)
    return weights.grad[0] / weights.grad[1]


_NAMES = ("weight", "bias", "scale")  # the parameters that the loss uses


def draw(rng: random.Random) -> dict[str, Input]:
    """Every norm is above 3 whatever the factor, and every limit below that.

    With a factor of 1, what is loose lies between the norm and its square,
    and what is close a little below the norm.
    """

    def slope() -> float:
        return rng.choice((-1.0, 1.0)) * rng.randrange(5, 13)

    def start() -> float:
        return rng.randrange(4, 17) / 4

    slopes = [slope() for _ in range(9)]
    norm = sum(entry**2 for entry in slopes) ** 0.5
    return {
        "d_weight": [slopes[:3], slopes[3:6]],
        "d_bias": slopes[6:8],
        "d_scale": slopes[8],
        "weight": [[start() for _ in range(3)] for _ in range(2)],
        "bias": [float(entry) for entry in rng.sample((1, 2, 4), 2)],
        "scale": start(),
        "spare": [start() for _ in range(2)],
        "before": rng.choice((2.0, 3.0, 4.0)),
        "lr": rng.choice((1 / 16, 1 / 8)),
        "limit": rng.choice((1.0, 1.5, 2.0)),
        "loose": float(round(norm * rng.choice((1.25, 1.5, 2.0)))),
        "close": float(int(norm * 7 / 8)),
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    """A step with gradients far above the limit, below and just above it."""
    limits = _limits(trial)
    seen = {where: _step(attempt, trial, limits[where]) for where in limits}
    if _each_is_clipped(seen[""], trial):
        # It does not matter which came back, or what was made of them.
        for values in seen.values():
            values["norm"] = "one of many"
    return _join(seen)


def _limits(trial: Trial) -> dict[str, float]:
    """Return the limits, by where the norm lies; two follow the factor."""
    return {
        "": trial.inputs["limit"],
        " below the limit": trial.inputs["loose"] * abs(trial.factor),
        " just above the limit": trial.inputs["close"] * abs(trial.factor),
    }


def _join(steps: dict[str, dict[str, Value]]) -> dict[str, Value]:
    """Leave out where long steps led to: there, rounding is too coarse."""
    return {
        f"{name}{where}": value
        for where, values in steps.items()
        for name, value in values.items()
        if not where or name not in (*_NAMES, "spare")
    }


def _step(attempt: Attempt, trial: Trial, limit: float) -> dict[str, Value]:
    """A hook of the optimizer notes the gradients that it stepped along."""
    model = nn.Module()
    for name in (*_NAMES, "spare"):
        model.register_parameter(name, nn.Parameter(trial.tensor(name)))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, trial.inputs["before"])
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.inputs["lr"])
    used: list[dict[str, Value]] = []

    def watch(*_: object) -> None:
        named = {name: model.get_parameter(name) for name in _NAMES}
        used.append({f"{n}.grad": _gradient(p) for n, p in named.items()})

    def loss(model: nn.Module) -> Tensor:
        terms = [
            (trial.tensor(f"d_{name}") * model.get_parameter(name)).sum()
            for name in _NAMES
        ]
        return trial.secret(torch.stack(terms).sum())

    # Behind the step: a closure or a hook may clip in the course of it.
    optimizer.register_step_post_hook(watch)
    norm = read_number(result := attempt(model, optimizer, loss, limit))
    if not isinstance(norm, float):
        forgotten = " Is there a return?" if result is None else ""
        found = describe(result)
        raise AnswerError(f"It returned {found}.{forgotten} Expected a norm.")
    if not used:
        raise AnswerError("It did not call optimizer.step(). Expected one.")
    parameters = model.named_parameters()
    return {
        "norm": norm,
        **used[0],
        **{name: read_value(tensor.detach()) for name, tensor in parameters},
        "steps": float(len(used)),
    }


def _each_is_clipped(above: dict[str, Value], trial: Trial) -> bool:
    """Say whether each gradient has the norm that it gets on its own."""
    slopes = [torch.tensor(trial.inputs[f"d_{name}"]) for name in _NAMES]
    found = [torch.tensor(above[f"{name}.grad"]) for name in _NAMES]
    whole = torch.stack([slope.norm() for slope in slopes])
    alone = (abs(trial.factor) * whole).clamp(max=trial.inputs["limit"])
    norms = torch.stack([gradient.norm() for gradient in found])
    return torch.allclose(norms, alone, rtol=0.02)


def _gradient(parameter: Tensor) -> Value:
    """Return the gradient; none is as good as zeros for the step."""
    gradient = parameter.grad
    return read_value(
        torch.zeros_like(parameter) if gradient is None else gradient
    )


def expected(trial: Trial) -> Values:
    limits = _limits(trial).items()
    return _join({where: _expected(trial, limit) for where, limit in limits})


def _expected(trial: Trial, limit: float) -> dict[str, Value]:
    """A gradient is the secret factor times the d_… of its parameter."""
    of = trial.inputs
    entries = [*of["d_weight"][0], *of["d_weight"][1], *of["d_bias"]]
    squares = sum(entry**2 for entry in (*entries, of["d_scale"]))
    norm = abs(trial.factor) * squares**0.5
    ratio = trial.factor * min(1.0, limit / norm)
    values: dict[str, Value] = {"norm": norm}
    for name in _NAMES:
        values[f"{name}.grad"] = _add(0, of[f"d_{name}"], ratio)
        values[name] = _add(of[name], of[f"d_{name}"], -of["lr"] * ratio)
    return values | {"spare": of["spare"], "steps": 1.0}


def _add(start: Any, slope: Any, ratio: float) -> Any:
    """Return start + ratio · slope, both numbers or lists of the same shape,
    or start 0.
    """
    if not isinstance(slope, list):
        return start + ratio * slope
    starts = start or [0] * len(slope)
    return [_add(s, d, ratio) for s, d in zip(starts, slope, strict=True)]


CHECK = Check(
    solution=clip_gradients,
    first={
        "d_weight": [[6.0, -6.0, 6.0], [2.0, -6.0, 6.0]],
        "d_bias": [6.0, -6.0],
        "d_scale": 12.0,
        "weight": [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]],
        "bias": [4.0, 2.0],
        "scale": 3.0,
        "spare": [1.0, 2.0],
        "before": 2.0,
        "lr": 0.0625,
        "limit": 5.0,
        "loose": 32.0,
        "close": 17.0,
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(each_on_its_own, hint=1),
        Mistake(by_value, hint=2),
        Mistake(after_the_step, hint=1),
        Mistake(before_backward, hint=1),
        Mistake(before_clearing, hint=1),
        Mistake(cleared_too_early, hint=1),
        Mistake(never_cleared, hint=3),
        Mistake(scaled_up, hint=2),
        Mistake(without_the_root, hint=2),
        Mistake(norm_after_clipping, hint=2),
    ),
    # Not float64: clip_grad_norm_ divides by the norm + 1e-6, a formula that
    # is written out need not. Both are right, and only there do they differ
    # by more than rounding: 1e-6 of a norm above 3 is 6 u of float32.
    dtypes=("float32", "bfloat16", "float16"),
    predictions=(what_clipping_returns, ratio_after_clipping),
)
