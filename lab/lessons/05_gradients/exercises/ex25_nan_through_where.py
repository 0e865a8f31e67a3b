"""Bonus: NaN through torch.where.

A masked loss can look healthy and still have a NaN for a gradient, and one
NaN in a gradient is in every weight after one step. It comes from the branch
that was not chosen. Logarithms, square roots, norms and divisions at 0 are
where it happens.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
import random
from typing import Any

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
    read_value,
)


def nan_through_where(x: Tensor, floor: float) -> Tensor:
    """Return log(x) where x is above 0, and floor elsewhere, entry by entry.

    x, of shape (n,), requires grad. The gradient of the result is 1/x where x
    is above 0, and 0 elsewhere. Mend this, whose result is right and whose
    gradient is NaN where x is 0:

        return torch.where(x > 0, x.log(), floor)

    x may be as small as 5e-8. A NaN that comes back from what is computed
    later must still arrive at x: do not filter gradients. At x = [2., 0.] and
    floor = -4. the result is [0.6931…, -4.] and the gradient [0.5, 0.]. While
    you are judged, gradients reach x multiplied by a secret number.
    """
    safe = torch.where(x > 0, x, 1.0)
    return torch.where(x > 0, safe.log(), floor)


HINTS = (
    "Which of its two branches does torch.where compute? And what is the "
    "derivative of log at 0, multiplied by the 0 that where sends back?",
    "Look up the double where: torch.where before the function as well, so "
    "that the function never meets a number that it cannot take.",
    "safe = torch.where(x > 0, x, ____), and then the line as it was, with "
    "____ for x inside the logarithm",
)


def as_it_was(x: Tensor, floor: float) -> Tensor:
    """The values are right, and the gradient is {got[gradient]}: log was
    still computed where x is 0.

    Its derivative there is 1/0. What is masked afterwards sends a gradient of
    0 back to it, and 0 · ∞ is NaN. The mask has to come before the logarithm,
    so that log never sees the 0.
    """
    return torch.where(x > 0, x.log(), floor)


def inside_only(x: Tensor, floor: float) -> Tensor:
    """The gradient is right now, but where x is not above 0 the value is log
    of what you put in there: {got[value]} where {want[value]} is asked for.

    The mask before the logarithm keeps it safe. Another one after it has to
    choose.
    """
    return torch.where(x > 0, x, 1.0).log()


def small_number_added(x: Tensor, floor: float) -> Tensor:
    """No NaN any more, but every value is off: log(x + eps) is not log(x).

    At x = {x} you have {got[value]} and not {want[value]}. What is close at 2
    is far off where x is as small as eps. Leave alone what is above 0.
    """
    return torch.where(x > 0, (x + 1e-6).log(), floor)


def clamped_too_high(x: Tensor, floor: float) -> Tensor:
    """No NaN any more, but x is clamped where it is small and above 0 as
    well: the value is {got[value]}, the gradient {got[gradient]}.

    Everything below the bound has the gradient 0 then. Only what is not above
    0 is to be replaced.
    """
    return torch.where(x > 0, x.clamp(min=1e-6).log(), floor)


def clamped_to_the_floor(x: Tensor, floor: float) -> Tensor:
    """You cut the result off at {floor}: a small x has the value {floor} too,
    where its logarithm is lower, and no gradient.

    The floor is for what has no logarithm, where x is not above 0:
    {want[value]} is asked for.
    """
    return x.clamp(min=math.exp(floor)).log()


def result_clamped(x: Tensor, floor: float) -> Tensor:
    """The result is cut off at {floor}, which is another thing than masking:
    {got[value]} where {want[value]} is asked for.

    A small x has a logarithm below {floor}. And log was still computed where
    x is not above 0, so the gradient there is {got[gradient]}.
    """
    return x.log().nan_to_num(floor).clamp(min=floor)


def times_the_mask(x: Tensor, floor: float) -> Tensor:
    """A product with a mask does not mask: 0 · (-∞) is NaN, and the values
    are {got[value]}.

    torch.where chooses and does not multiply. But its backward pass does, so
    log must not see a 0 in the first place.
    """
    mask = (x > 0).to(x.dtype)
    return mask * x.log() + (1 - mask) * floor


def filtered_by_a_hook(x: Tensor, floor: float) -> Tensor:
    """The numbers are right, but your hook on x also hides a NaN that comes
    from somewhere else.

    A NaN is a message: something was computed that has no value. Do not
    silence it where it arrives, avoid it where it is made.
    """
    x.register_hook(lambda gradient: gradient.nan_to_num(0.0))
    return torch.where(x > 0, x.log(), floor)


def filtered_on_the_way(x: Tensor, floor: float) -> Tensor:
    """The numbers are right, but a NaN that comes back from what is computed
    later is hidden as well: your hook filters it.

    A NaN is a message: something was computed that has no value. Do not
    silence it on its way, avoid it where it is made.
    """
    copy = x.clone()
    copy.register_hook(lambda gradient: gradient.nan_to_num(0.0))
    return torch.where(copy > 0, copy.log(), floor)


def detached(x: Tensor, floor: float) -> Tensor:
    """The values are right, and x has no gradient: the graph was cut.

    Where x is above 0 its gradient is 1/x. Only the other entries are to be
    kept from the logarithm.
    """
    return torch.where(x > 0, x.detach().log(), floor)


def hand_formula(x: Tensor, floor: float) -> Tensor:
    """You wrote into x.grad yourself, and the result has no graph: nothing
    that comes from later can reach x.

    A loss is computed from your result, and its gradient has to go on through
    it. Return a result whose graph leads back to x, and let backward() do the
    rest.
    """
    value = torch.where(x > 0, x.detach().log(), floor)
    x.grad = torch.where(x > 0, 1 / x.detach(), 0.0)
    return value


def literal(x: Tensor, floor: float) -> Tensor:
    """Typed in: the values of the example, without a graph. Compute them from
    x.
    """
    return torch.tensor([math.log(2.0), floor])


def masked_value_is_finite(x: Tensor) -> bool:
    """torch.where has chosen the -4 where x is 0, and nothing of the -∞ can
    be seen in the result.
    """
    value = torch.where(x > 0, x.log(), -4.0)
    return bool(value.isfinite().all())


def masked_gradient_is_finite(x: Tensor) -> bool:
    """The branch that was not chosen gets a gradient of 0, and log multiplies
    it by 1/x: 0 · ∞ is NaN where x is 0.
    """
    value = torch.where(x > 0, x.log(), -4.0)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return bool(gradient.isfinite().all())


# About 6e-8: an eps or a clamp that is seldom noticed is too large for it.
_TINY = 2.0**-24


def draw(rng: random.Random) -> dict[str, list[float] | float]:
    above = [rng.randrange(9, 33) / 8 for _ in range(rng.randrange(1, 4))]
    x = [*above, 0.0, _TINY, -rng.randrange(1, 9) / 8]
    rng.shuffle(x)
    return {"x": x, "floor": -rng.randrange(4, 17) / 2}


def observe(attempt: Attempt, trial: Trial) -> Values:
    x = trial.leaf("x")
    value = attempt(x, float(trial.tensor("floor")))
    if not (isinstance(value, Tensor) and value.shape == x.shape):
        raise AnswerError(
            f"It returned {describe(value)}. Expected a tensor with the "
            f"{len(x)} entries of x."
        )
    if value.requires_grad:
        # A NaN from later on, then the gradient itself.
        spoilt = torch.full_like(x, math.nan)
        value.backward(spoilt, retain_graph=True)
        later, x.grad = x.grad, None
        value.backward(torch.ones_like(x))
    else:
        later = x.grad
    gradient = read_value(x.grad)
    return {
        "value": read_value(value),
        "gradient": gradient,
        "NaNs from later arrive": _nans_where_positive(later, x),
        "NaNs from elsewhere arrive": _nans_from_elsewhere(x),
    }


def _nans_where_positive(gradient: Tensor | None, x: Tensor) -> bool:
    if gradient is None or gradient.shape != x.shape:
        return False
    return bool(gradient[x.detach() > 0].isnan().all())


def _nans_from_elsewhere(x: Tensor) -> bool:
    (gradient,) = torch.autograd.grad((x * math.nan).sum(), x)
    return bool(gradient.isnan().all())


def expected(trial: Trial) -> Values:
    x: Any = trial.inputs["x"]
    floor: Any = trial.inputs["floor"]
    return {
        "value": [math.log(n) if n > 0 else floor for n in x],
        "gradient": [trial.factor / n if n > 0 else 0.0 for n in x],
        "NaNs from later arrive": True,
        "NaNs from elsewhere arrive": True,
    }


CHECK = Check(
    solution=nan_through_where,
    first={"x": [2.0, 0.0, _TINY, -1.0], "floor": -4.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(as_it_was, hint=1),
        Mistake(inside_only, hint=3),
        Mistake(small_number_added, hint=2),
        Mistake(clamped_too_high, hint=2),
        Mistake(clamped_to_the_floor, hint=2),
        Mistake(result_clamped, hint=2),
        Mistake(times_the_mask, hint=2),
        Mistake(filtered_by_a_hook, hint=1),
        Mistake(filtered_on_the_way, hint=1),
        Mistake(detached, hint=1),
        Mistake(hand_formula, hint=1),
        Mistake(literal, hint=1),
    ),
    # In float16 the gradient at the smallest x is too large for a number.
    dtypes=("float64", "float32", "bfloat16"),
    predictions=(masked_value_is_finite, masked_gradient_is_finite),
)
