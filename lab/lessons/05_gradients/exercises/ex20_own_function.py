"""Your own Function.

What PyTorch cannot differentiate, or should not, gets a backward of its own:
kernels written by hand, and operations such as rounding, whose derivative of
0 would stop all training. Networks whose weights have few bits are trained
through a straight-through estimator, which lets the gradient pass.
"""

# Function's own methods take *args, and its apply is untyped.
# mypy: disable-error-code="misc,no-any-return,no-untyped-call,override"

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Values,
    describe,
    read_value,
)


def own_function() -> tuple[type[Function], type[Function]]:
    """Return two classes that you write: Scale, then Round.

    Both are subclasses of torch.autograd.Function with the static methods
    forward and backward. Scale.apply(x, k) is k·x, for a tensor x of any
    shape and a plain number k, and has the true gradient. Round.apply(x) is
    x.round(), and has a straight-through estimator in place of a gradient: it
    hands on to x what arrives at its result, as if it did nothing. Neither
    changes x, and each may be applied several times, with another k, before
    backward() runs. Return the classes themselves. While you are judged,
    gradients reach x multiplied by a secret number.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return ctx.k * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


HINTS = (
    "backward is handed dL/dy and has to say how L changes with each "
    "argument of forward. How many returns is that, and what is there to say "
    "of a plain number?",
    "Look up torch.autograd.Function, and its ctx: the object that carries "
    "what forward knows to the backward of the same call.",
    "Scale: in forward, ctx.____ = k; in backward, two returns, ctx.____ "
    "times what came in, and ____. Round: what came in.",
)


def one_return() -> tuple[type[Function], type[Function]]:
    """Scale's backward does not return as many gradients as its forward takes
    arguments, and PyTorch refuses it.

    There is one return for each argument of forward, in their order, also for
    what has no gradient. forward takes x and k.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return ctx.k * cotangent

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def gradient_for_a_number() -> tuple[type[Function], type[Function]]:
    """Scale's backward returned a gradient for k, and k is a plain number:
    nothing can take it.

    The returns stand in the order of forward's arguments, first x, then k.
    What has no gradient has a return all the same.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.save_for_backward(x)
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, Tensor]:
            (x,) = ctx.saved_tensors
            return ctx.k * cotangent, (x * cotangent).sum()

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def returned_the_number() -> tuple[type[Function], type[Function]]:
    """A backward returned a plain number. A gradient is a tensor of the shape
    of x.

    k is only how much y changes with x. What arrives in backward says how
    much L changes with y. The chain rule needs both.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[float, None]:
            return ctx.k, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def scale_forgot_the_chain() -> tuple[type[Function], type[Function]]:
    """The gradient through Scale is {got[dL/dx of Scale]} whatever follows
    it: what arrived in its backward is not in it.

    backward does not return dy/dx. It is handed dL/dy and returns dL/dx.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return torch.full_like(cotangent, ctx.k), None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def round_forgot_the_chain() -> tuple[type[Function], type[Function]]:
    """The gradient through Round is {got[dL/dx of Round]} whatever follows
    it: what arrived in its backward is not in it.

    That Round passes for y = x makes dy/dx = 1. backward returns dL/dx.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return ctx.k * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return torch.ones_like(cotangent)

    return Scale, Round


def both_forgot_the_chain() -> tuple[type[Function], type[Function]]:
    """Both gradients are the same whatever follows: what arrived in backward
    is in neither {got[dL/dx of Scale]} nor {got[dL/dx of Round]}.

    backward does not return dy/dx. It is handed dL/dy and returns dL/dx.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return torch.full_like(cotangent, ctx.k), None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return torch.ones_like(cotangent)

    return Scale, Round


def gradient_of_k() -> tuple[type[Function], type[Function]]:
    """The gradient through Scale is {got[dL/dx of Scale]}, in which x = {x}
    is a factor: that is how L changes with k, entry by entry, not with x.

    y = k·x has a derivative for each of the two. Which one contains which?
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.save_for_backward(x)
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            (x,) = ctx.saved_tensors
            return x * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def forgot_k() -> tuple[type[Function], type[Function]]:
    """The gradient through Scale, {got[dL/dx of Scale]}, is what arrived at
    y: your backward hands it on as if k = {k} were 1.

    backward knows only what forward left for it. Leave it k.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def one_k_for_all() -> tuple[type[Function], type[Function]]:
    """One Scale is right. Two in a row, by k = {k} and then by m = {m}, both
    used the last number: {got[dL/dx of two Scales]}, not
    {want[dL/dx of two Scales]}.

    You kept k where all calls share it, on the class or outside of it. Each
    call has an object of its own to keep it on.
    """

    class Scale(Function):
        k = 1.0

        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            Scale.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return Scale.k * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def true_derivative() -> tuple[type[Function], type[Function]]:
    """The gradient through Round is 0. That is the true one, for round() is
    made of steps, and it is of no use: whatever lies below learns nothing.

    A straight-through estimator takes the liberty to say otherwise. In
    backward it behaves as if y were x.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return ctx.k * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return torch.zeros_like(cotangent)

    return Scale, Round


def rounded_the_gradient() -> tuple[type[Function], type[Function]]:
    """The gradient through Round is {got[dL/dx of Round]}, in whole numbers:
    you rounded what arrived.

    Rounding is what forward does. Backward is to behave as if nothing had
    been done.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return ctx.k * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent.round()

    return Scale, Round


def returned_nothing() -> tuple[type[Function], type[Function]]:
    """No gradient came through Round: its backward returned None, or has no
    return.

    None is for an argument that has no gradient. To let a gradient pass is
    to return it.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return ctx.k * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> None:
            pass

    return Scale, Round


def changed_x() -> tuple[type[Function], type[Function]]:
    """Scale changed x itself: it is {got[x after Scale]} now and was {x}.

    forward is not recorded, so PyTorch does not notice, and whoever saved x
    for a gradient of its own would compute with the wrong one. Make a new
    tensor.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            ctx.k = k
            return x.mul_(k)

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
            return ctx.k * cotangent, None

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx: Any, cotangent: Tensor) -> Tensor:
            return cotangent

    return Scale, Round


def no_backward() -> tuple[type[Function], type[Function]]:
    """Scale has a forward and no backward. What happens in forward is not
    recorded, so autograd cannot find the derivative there by itself.

    Write backward too, for both classes.
    """

    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: float) -> Tensor:
            return k * x

    class Round(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.round()

    return Scale, Round


def rounding_learns(x: Tensor) -> Tensor:
    """round() is made of steps. It is flat wherever it has a derivative, and
    PyTorch says 0: a gradient that ends there trains nothing.
    """
    (3 * x.round()).sum().backward()
    return x.grad.sum()  # type: ignore[union-attr]


def past_the_rounding(x: Tensor) -> Tensor:
    """y has the values of x.round(). But the difference was detached, so only
    the first x leads back, and the 3 arrives as it is: a straight-through
    estimator without a class.
    """
    y = x + (x.round() - x).detach()
    (3 * y).sum().backward()
    return x.grad[0]  # type: ignore[index]


def draw(rng: random.Random) -> dict[str, Input]:
    n = rng.randrange(2, 5)
    k, m = rng.sample([0.25, 0.75, 1.25, 1.5, 1.75, 2.5, 3.5], 2)
    # No whole numbers: rounding is to change x, and to change the weights.
    x = [rng.randrange(3) + rng.choice((3, 5, 7)) / 8 for _ in range(n)]
    v = [rng.randrange(3) + rng.choice((3, 5, 7)) / 8 for _ in range(n)]
    return {"x": x, "v": v, "k": k, "m": m}


def observe(attempt: Attempt, trial: Trial) -> Values:
    scale, rounded = _read_classes(attempt())
    k, m = trial.inputs["k"], trial.inputs["m"]

    def two_scales(x: Tensor) -> Tensor:
        return scale.apply(scale.apply(x, k), m)

    return {
        **_differentiate("Scale", lambda x: scale.apply(x, k), trial),
        **_differentiate("two Scales", two_scales, trial),
        **_differentiate("Round", rounded.apply, trial),
    }


def _read_classes(answer: Any) -> tuple[type[Function], type[Function]]:
    """Read the answer. Raises: AnswerError where these are no two classes."""
    classes = tuple(answer) if isinstance(answer, list | tuple) else (answer,)
    names = [
        part.__name__
        if isinstance(part, type) and issubclass(part, Function)
        else describe(part)
        for part in classes
    ]
    if len(names) != 2 or not all(isinstance(part, type) for part in classes):
        raise AnswerError(
            f"It returned {', '.join(names)}. Expected two classes, Scale "
            "and Round, themselves: no objects of them, no apply."
        )
    for part in classes:
        if not issubclass(part, Function):
            raise AnswerError(
                f"{part.__name__} is not a subclass of "
                "torch.autograd.Function. Expected two that are."
            )
    return classes[0], classes[1]


def _differentiate(
    name: str, f: Callable[[Tensor], Tensor], trial: Trial
) -> Values:
    """Apply f to x, weight the result with v, and differentiate."""
    x = _leaf(trial)
    # The weights require grad, so that the sum is tracked whatever f does.
    v = trial.tensor("v").requires_grad_()
    y = f(x)
    if not isinstance(y, Tensor):
        raise AnswerError(f"{name} gave {describe(y)}. Expected a tensor.")
    try:
        (v * y).sum().backward()
    except (RuntimeError, NotImplementedError) as error:
        raise _without_name(name, error) from error
    return {
        f"y of {name}": read_value(y),
        f"dL/dx of {name}": read_value(x.grad),
        f"x after {name}": read_value(x),
    }


def _leaf(trial: Trial) -> Tensor:
    """Return x as trial.leaf() does, but bear a backward that returns None:
    PyTorch hands the None on to the hook.
    """
    x = trial.tensor("x").requires_grad_()
    x.register_hook(lambda g: g if g is None else g * trial.factor)
    return x


def _without_name(name: str, error: Exception) -> Exception:
    """Tell what PyTorch says of a backward, whatever the class is called.

    A missing backward is a NotImplementedError, by which the judge knows a
    stub, and the other messages begin with the name of the learner's class.
    """
    found = re.search(r"returned an? (.*)|You must (.*)", str(error))
    if found is None:
        return error
    said = found[1] or f"has to {found[2]}"
    return AnswerError(f"Backward of {name}: {said}")


def expected(trial: Trial) -> Values:
    inputs: Mapping[str, Any] = trial.inputs
    x, v, k, m = (inputs[name] for name in "xvkm")
    values = {
        "Scale": ([k * e for e in x], k),
        "two Scales": ([m * (k * e) for e in x], k * m),
        "Round": ([float(round(e)) for e in x], 1.0),
    }
    wanted: dict[str, Any] = {}
    for name, (y, slope) in values.items():
        wanted[f"y of {name}"] = y
        wanted[f"dL/dx of {name}"] = [trial.factor * slope * w for w in v]
        wanted[f"x after {name}"] = x
    return wanted


CHECK = Check(
    solution=own_function,
    first={"x": [0.375, 1.625], "v": [2.625, 0.625], "k": 2.5, "m": 1.5},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(one_return, hint=1),
        Mistake(gradient_for_a_number, hint=1),
        Mistake(returned_the_number, hint=1),
        Mistake(scale_forgot_the_chain, hint=1),
        Mistake(round_forgot_the_chain, hint=3),
        Mistake(both_forgot_the_chain, hint=1),
        Mistake(gradient_of_k, hint=1),
        Mistake(forgot_k, hint=2),
        Mistake(one_k_for_all, hint=2),
        Mistake(true_derivative, hint=3),
        Mistake(rounded_the_gradient, hint=3),
        Mistake(returned_nothing, hint=3),
        Mistake(changed_x, hint=3),
        Mistake(no_backward, hint=1),
    ),
    predictions=(rounding_learns, past_the_rounding),
)
