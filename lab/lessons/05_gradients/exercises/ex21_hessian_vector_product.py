"""Second derivative and Hessian-vector product.

The Hessian says how the gradient changes from place to place: it is what
Newton's method divides by and what makes a valley narrow. A network with a
million parameters has a Hessian of 10¹² numbers, which nobody can store. Its
product with one vector costs two backward passes, at any size.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,union-attr,return-value"

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
    read_answer,
    read_value,
)


def hessian_vector_product(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradient of f at x, and Hv: the Hessian of f at x times v.

    f takes x and returns a scalar. x, of shape (n,), is a leaf that requires
    grad, its .grad is None; v has the same shape and requires none. Both
    results have the shape (n,). The Hessian H holds the second derivatives:
    H[i, j] is that by x[i] and x[j]. Hv says how the gradient changes per
    step along v, and where n is 1 and v is [1.], it is the second derivative.

    Do not work through H row by row: two passes are enough for any n.

    For f(x) = (x**3).sum() + x.sum() ** 2, x = [1., 2.] and v = [1., 0.] the
    gradient is [9., 18.] and Hv is [8., 2.]. While you are judged, the
    derivative of f is multiplied by a secret number, and the second one by
    its square.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    (product,) = torch.autograd.grad(gradient, x, v)
    return gradient, product


HINTS = (
    "The gradient is a function of x too. Was anything recorded while it was "
    "computed, so that it can be differentiated in its turn?",
    "Look up create_graph in torch.autograd.grad, which records the backward "
    "pass itself, and grad_outputs, which gives each entry its weight.",
    "(gradient,) = torch.autograd.grad(f(x), x, ____=True), then once more, "
    "of gradient and weighted by ____",
)


def no_graph(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """What you differentiate has no graph: 'element 0 of tensors does not
    require grad'.

    A backward pass is not recorded unless you ask for it, so the gradient has
    none; and detach() or .data, of x or of the gradient, cuts one off.
    retain_graph=True is something else: it keeps the graph of f, for another
    pass through f.
    """
    (gradient,) = torch.autograd.grad(f(x), x, retain_graph=True)
    (product,) = torch.autograd.grad(gradient, x, v)
    return gradient, product


def made_to_require_grad(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Nothing leads from what you differentiate back to x: 'appears to not
    have been used in the graph'.

    A tensor made to require grad afterwards is a new leaf, and so is a
    detached copy of x. A graph cannot be added later: the first pass has to
    record one while it runs, from x itself.
    """
    (gradient,) = torch.autograd.grad(f(x), x)
    gradient.requires_grad_()
    (product,) = torch.autograd.grad(gradient, x, v)
    return gradient, product


def accumulated(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Your Hv is {got[Hv]}, which is gradient + Hv: both passes added up in
    x.grad.

    The first left {want[gradient]} there. Clear x.grad in between, or use
    torch.autograd.grad(), which leaves .grad alone.
    """
    f(x).backward(create_graph=True)
    gradient = x.grad.clone()
    gradient.backward(v)
    return gradient, x.grad


def shared_grad(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Both are {got[Hv]}, which is gradient + Hv: x.grad is one tensor, and
    the second pass added to it in place.

    A second name for it shows the sum as well. Use torch.autograd.grad(),
    which leaves .grad alone, or set x.grad to None in between.
    """
    f(x).backward(create_graph=True)
    gradient = x.grad
    gradient.backward(v)
    return gradient, x.grad


def forgot_v(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Your Hv is {got[Hv]}: that is H times a vector of ones, the sum of each
    row of H.

    gradient.sum() weighs every entry of the gradient with 1. At v = {v} the
    weights are those of v, and Hv is {want[Hv]}.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    (product,) = torch.autograd.grad(gradient.sum(), x)
    return gradient, product


def v_afterwards(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Your Hv is {got[Hv]}: you multiplied by v when the second pass was
    over, and by then the entries of the gradient had been added up.

    v = {v} has to weigh the entries of the gradient before they are
    differentiated. Only for a diagonal H is it the same.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    (product,) = torch.autograd.grad(gradient.sum(), x)
    return gradient, product * v


def slope_along_v(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Your Hv is {got[Hv]}: that is gradient times v, still a first
    derivative.

    The gradient at v's weights is what has to be differentiated once more.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    return gradient, gradient * v


def curvature_along_v(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Your second result is one number, {got[Hv]}: vᵀHv, the second
    derivative of f along v.

    Asked for is Hv, one number for each entry of x: {want[Hv]}.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    (product,) = torch.autograd.grad(gradient, x, v)
    return gradient, v @ product


def swapped(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Both are right, in the wrong order: the gradient, {want[gradient]},
    comes first.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    (product,) = torch.autograd.grad(gradient, x, v)
    return product, gradient


def row_by_row(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """The numbers are right, but you ran a backward pass for each row of H,
    as torch.autograd.functional.hessian() also does.

    x has {n} entries here, and a network has millions. Hv needs no H: let v
    weigh the gradient's entries, and one more pass gives the product.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    rows = [
        torch.autograd.grad(entry, x, retain_graph=True)[0]
        for entry in gradient
    ]
    return gradient, torch.stack(rows) @ v


def whole_hessian(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Your second result is the whole Hessian, {got[Hv]}. Asked for is its
    product with v, {want[Hv]}.

    And that product needs no H at all: one more pass gives it.
    """
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    rows = [
        torch.autograd.grad(entry, x, retain_graph=True)[0]
        for entry in gradient
    ]
    return gradient, torch.stack(rows)


def literal(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Right at x = [1, 2], v = [1, 0] and nowhere else: the numbers of the
    example are typed in.

    Let autograd differentiate f, whatever f, x and v are.
    """
    return torch.tensor([9.0, 18.0]), torch.tensor([8.0, 2.0])


def hand_formula(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """The right formulas for the f of the example, but the f that you are
    given was not differentiated.

    Its derivative is multiplied by a secret number, here {factor}, so the
    gradient at x = {x} is {want[gradient]} and not {got[gradient]}. Call f
    and let autograd go through it.
    """
    gradient = 3 * x**2 + 2 * x.sum()
    return gradient, 6 * x * v + 2 * v.sum()


def finite_difference(
    f: Callable[[Tensor], Tensor], x: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Your Hv is {got[Hv]}, the difference of two gradients divided by a
    small step: near it where the secret number is 1, but never exact.

    Rounding grows as the step shrinks. The gradient is an ordinary tensor,
    and autograd can differentiate it in its turn, if the first pass records
    it.
    """
    h = 1e-3
    (gradient,) = torch.autograd.grad(f(x), x)
    moved = x + h * v
    (there,) = torch.autograd.grad(f(moved), moved)
    return gradient, (there - gradient) / h


def gradient_of_a_square(x: Tensor) -> bool:
    """Without create_graph the pass leaves numbers behind and no graph, even
    though 2x depends on x. PyTorch records a backward pass only where it is
    told to.
    """
    (gradient,) = torch.autograd.grad((x**2).sum(), x)
    return gradient.requires_grad


def gradient_of_a_line(x: Tensor) -> Tensor:
    """It raises. The gradient of 3x is 3 whatever x is: even a recorded pass
    finds nothing in it that leads back to x. The second derivative is 0, but
    autograd reports that no path is there.
    """
    (gradient,) = torch.autograd.grad((3 * x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    return second


def draw(rng: random.Random) -> dict[str, list[float] | float]:
    n = rng.randrange(4, 7)
    x = [rng.randrange(2, 17) / 8 for _ in range(n)]
    v = [rng.choice((0.25, 0.5, 1.5, 2.0, 3.0)) for _ in range(n)]
    return {"x": x, "v": v, "n": float(n)}


def observe(attempt: Attempt, trial: Trial) -> Values:
    """f is a spy: its hook counts how often a pass goes through it."""
    passes = 0

    def count(gradient: Tensor) -> None:
        nonlocal passes
        passes += 1

    def f(x: Tensor) -> Tensor:
        x = trial.secret(x)
        if x.requires_grad:
            x.register_hook(count)
        return (x**3).sum() + x.sum() ** 2

    x, v = trial.tensor("x").requires_grad_(), trial.tensor("v")
    answer = attempt(f, x, v)
    if isinstance(answer, Tensor) and answer.ndim != 2:
        found = describe(answer)
        raise AnswerError(f"It returned {found}. Expected gradient and Hv.")
    return {
        **read_answer(answer, "gradient", "Hv", read=read_value),
        # Two do it, and whoever computes the gradient apart needs three or
        # four. Row by row it is one for each of at least four entries, and
        # those for the gradient.
        "H was worked through row by row": passes > 4,
    }


def expected(trial: Trial) -> Values:
    x, v = trial.inputs["x"], trial.inputs["v"]
    assert isinstance(x, list)
    assert isinstance(v, list)
    first, second = trial.factor, trial.factor**2
    return {
        "gradient": [first * (3 * a**2 + 2 * sum(x)) for a in x],
        "Hv": [
            second * (6 * a * b + 2 * sum(v))
            for a, b in zip(x, v, strict=True)
        ],
        "H was worked through row by row": False,
    }


CHECK = Check(
    solution=hessian_vector_product,
    first={"x": [1.0, 2.0], "v": [1.0, 0.0], "n": 2.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(no_graph, hint=1),
        Mistake(made_to_require_grad, hint=1),
        Mistake(accumulated, hint=2),
        Mistake(shared_grad, hint=2),
        Mistake(forgot_v, hint=2),
        Mistake(v_afterwards, hint=3),
        Mistake(slope_along_v, hint=1),
        Mistake(curvature_along_v, hint=3),
        Mistake(swapped, hint=3),
        Mistake(row_by_row, hint=2),
        Mistake(whole_hessian, hint=3),
        Mistake(literal, hint=1),
        Mistake(hand_formula, hint=1),
        Mistake(finite_difference, hint=1, within=0.1),
    ),
    predictions=(gradient_of_a_square, gradient_of_a_line),
)
