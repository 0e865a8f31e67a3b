"""Backward twice.

backward() frees what the forward pass saved as soon as it has used it: that
is why a training step needs its memory only once. Keeping the graph holds on
to that memory, building it again costs another forward pass. Two losses that
share a trunk are best added first, then one backward() serves both.
"""

# A type checker cannot see that .grad is not None after backward().
# mypy: disable-error-code="no-untyped-call,operator,return-value,union-attr"

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from lab.practise import Attempt, Check, Mistake, Trial, Values, read_answer


def backward_twice(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Mend this code in two ways, once for x and once for y:

        loss = f(x)
        loss.backward()
        loss.backward()
        return x.grad

    The second backward() raises a RuntimeError. For x, keep the graph: call
    f(x) once and go through its graph twice. For y, build the graph again:
    call f(y) twice and go through each graph once. Keep no graph for longer
    than it is needed: the last backward() through it has to free it. Return
    x.grad, then y.grad; each is the sum of its two passes.

    f takes a scalar tensor and returns a scalar tensor. x and y are scalar
    tensors that require grad and whose .grad is None so far. For f(x) = x³,
    x = 2 and y = 3 the answer is 24 and 54. While you are judged, gradients
    reach x and y multiplied by a secret number.
    """
    kept = f(x)
    kept.backward(retain_graph=True)
    kept.backward()
    f(y).backward()
    f(y).backward()
    return x.grad, y.grad


HINTS = (
    "What did the forward pass put aside for backward(), and what is left of "
    "it once backward() has used it?",
    "Look up the argument retain_graph of torch.Tensor.backward. The second "
    "way needs no argument: a new call of f brings a new graph.",
    "For x: loss.backward(____=True), and once more without it. For y: a "
    "backward() on each of ____ results of f.",
)


def broken(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """A backward() still goes through a graph that an earlier one has freed:
    'Trying to backward through the graph a second time'.

    Whether a graph is kept is settled by the call before, not by the one that
    raises: the first pass frees what f saved unless it is told to retain it.
    retain_grad() does not help, it keeps a gradient and no graph.
    """
    loss = f(x)
    loss.backward()
    loss.backward()
    f(y).backward()
    f(y).backward()
    return x.grad, y.grad


def kept_both(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but you kept the graph for y as well: f(y)
    was called once, and two passes went through that one graph.

    The second mend keeps nothing. It lets the graph of y go and builds a new
    one for the second pass.
    """
    for leaf in (x, y):
        loss = f(leaf)
        loss.backward(retain_graph=True)
        loss.backward()
    return x.grad, y.grad


def built_both(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but you built two graphs for x as well: f(x)
    was called twice, and one pass went through each.

    The first mend pays for one forward pass only. It keeps the graph that
    f(x) built and goes through it again.
    """
    for leaf in (x, x, y, y):
        f(leaf).backward()
    return x.grad, y.grad


def exchanged(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both mends are right, each on the wrong tensor: you kept the graph of y
    and built that of x twice. Keep it for x, build again for y.
    """
    kept = f(y)
    kept.backward(retain_graph=True)
    kept.backward()
    f(x).backward()
    f(x).backward()
    return x.grad, y.grad


def kept_to_the_end(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but the graph of x is still there after its
    last pass: you retained it on the second backward() too.

    What f saved then stays in memory for as long as anything refers to the
    loss, such as a list of losses. The last pass has to free it.
    """
    kept = f(x)
    kept.backward(retain_graph=True)
    kept.backward(retain_graph=True)
    f(y).backward()
    f(y).backward()
    return x.grad, y.grad


def kept_everywhere(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, but no graph was ever freed: you retained it
    on every call, as the error message seems to advise.

    Only a pass that is followed by another through the same graph has to
    retain it. That is one of your four.
    """
    kept = f(x)
    kept.backward(retain_graph=True)
    kept.backward(retain_graph=True)
    f(y).backward(retain_graph=True)
    f(y).backward(retain_graph=True)
    return x.grad, y.grad


def one_pass(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Only one pass brought something: x.grad is {got[x.grad]}, the sum of
    two passes is {want[x.grad]}.

    Leaving the second backward() out, or catching what it raises, makes the
    error go away and the gradient with it. Let both passes happen.
    """
    f(x).backward()
    f(y).backward()
    return x.grad, y.grad


def doubled(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """The numbers are right, {got[x.grad]} and {got[y.grad]}, but a single
    pass brought each: something was doubled, or a loss named twice.

    As a computation that is the cheapest way. Here the code is to be mended,
    and it has two passes: one graph kept, one graph built again.
    """
    (2 * f(x)).backward()
    (2 * f(y)).backward()
    return x.grad, y.grad


def cleared_between(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """All passes went through, but x.grad is {got[x.grad]} and holds the last
    one only; the sum of both is {want[x.grad]}.

    You cleared .grad in between. Nothing needs to be zeroed here: the two
    passes are meant to add up.
    """
    kept = f(x)
    kept.backward(retain_graph=True)
    x.grad = None
    kept.backward()
    f(y).backward()
    y.grad = None
    f(y).backward()
    return x.grad, y.grad


def swapped(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Both gradients are right, in the wrong order: you returned y.grad
    first. The first has to be x.grad = {want[x.grad]}.
    """
    kept = f(x)
    kept.backward(retain_graph=True)
    kept.backward()
    f(y).backward()
    f(y).backward()
    return y.grad, x.grad


def finite_difference(
    f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """That is a finite difference, {got[x.grad]} at x = {x}: f was called
    beside x, and no backward pass went through any graph.

    The exercise is about the passes. Call backward() on what f returns.
    """
    h = 1e-3
    with torch.no_grad():
        return 2 * (f(x + h) - f(x)) / h, 2 * (f(y + h) - f(y)) / h


def second_pass(x: Tensor) -> Tensor | None:
    """It raises. x**2 saves x for its backward, and the first pass frees what
    was saved. The message names retain_graph=True; that is one way out.
    """
    loss = x**2
    loss.backward()
    loss.backward()
    return x.grad


def second_pass_of_a_sum(x: Tensor) -> Tensor | None:
    """No exception: adding saves nothing, so the first pass had nothing to
    free. Each pass brings 1 + 1, and they accumulate. Code that goes through
    a graph twice may run for months, until someone adds a product to it.
    """
    loss = x + x
    loss.backward()
    loss.backward()
    return x.grad


def draw(rng: random.Random) -> dict[str, float]:
    x = rng.randrange(6, 25) / 8
    y = x + rng.randrange(4, 13) / 8
    return {"x": x, "y": y, "w": rng.randrange(4, 17) / 8}


def observe(attempt: Attempt, trial: Trial) -> Values:
    """f is a spy: for every graph that it builds it notes where the graph
    starts and ends and how many passes went through it.

    Whose graph it is, x's or y's, is told by which of them is nearer.
    """
    x, y, w = trial.leaf("x"), trial.leaf("y"), trial.tensor("w")
    graphs: dict[str, list[tuple[Tensor, Tensor, list[Tensor]]]]
    graphs = {"x": [], "y": []}

    def f(argument: Tensor) -> Tensor:
        start, passes = argument * torch.ones_like(w), list[Tensor]()
        if start.requires_grad:
            start.register_hook(passes.append)
        output = w * start**3
        is_x = abs(argument - x) < abs(argument - y)
        graphs["x" if is_x else "y"].append((start, output, passes))
        return output

    seen = read_answer(attempt(f, x, y), "x.grad", "y.grad")
    for name, built in graphs.items():
        counts = [float(len(passes)) for _, _, passes in built]
        used = [graph for graph in built if graph[2]]
        freed = all(_is_freed(start, output) for start, output, _ in used)
        seen[f"passes through each graph of {name}"] = counts
        seen[f"graphs of {name} are freed"] = freed
    return seen


def _is_freed(start: Tensor, output: Tensor) -> bool:
    with suppress(RuntimeError):
        torch.autograd.grad(output, start)
        return False
    return True


def expected(trial: Trial) -> Values:
    x, y, w = (trial.inputs[name] for name in ("x", "y", "w"))
    return {
        "x.grad": trial.factor * 2 * w * 3 * x**2,
        "y.grad": trial.factor * 2 * w * 3 * y**2,
        "passes through each graph of x": [2.0],
        "graphs of x are freed": True,
        "passes through each graph of y": [1.0, 1.0],
        "graphs of y are freed": True,
    }


CHECK = Check(
    solution=backward_twice,
    first={"x": 2.0, "y": 3.0, "w": 1.0},
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(broken, hint=1),
        Mistake(kept_both, hint=2),
        Mistake(built_both, hint=2),
        Mistake(exchanged, hint=3),
        Mistake(kept_to_the_end, hint=3),
        Mistake(kept_everywhere, hint=3),
        Mistake(one_pass, hint=1),
        Mistake(doubled, hint=2),
        Mistake(cleared_between, hint=3),
        Mistake(swapped, hint=3),
        Mistake(finite_difference, hint=2, within=0.1),
    ),
    predictions=(second_pass, second_pass_of_a_sum),
)
