"""Memory budget.

A deep network runs out of memory not for its weights but for what each layer
keeps for backward(). Keeping only some results and running the layers between
them once more costs about a third more time, and lets a model train that
would not fit.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

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


def memory_budget(
    blocks: list[Callable[[Tensor], Tensor]], x: Tensor
) -> Tensor:
    """Apply the blocks to x, one after another, on half of the memory.

    Each block takes a tensor and returns one of the same shape, (n,), and has
    tracked weights of its own. x is a leaf that requires grad. The result,
    and the gradients that a later backward() brings to x and to the weights,
    are those of this loop:

        for block in blocks:
            x = block(x)
        return x

    The loop keeps three tensors for each block until backward() has used
    them: two from inside it and its result. Keep at most half as many at any
    time, from the first block to the end of the backward pass. You may run a
    block again when backward() needs what it computed, but no block runs more
    than twice.
    """
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False)
    return x


HINTS = (
    "What does backward() need of a block? Which of it has to be kept, and "
    "which could be computed again from something that is kept?",
    "Look up torch.utils.checkpoint.checkpoint: it keeps what goes into a "
    "function, and runs the function once more in the backward pass.",
    "in the loop, x = checkpoint(____, ____, use_reentrant=False) takes the "
    "place of the call",
)


def plain(blocks: list[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """All is kept: {got[tensors kept]} tensors at once, three for each of the
    {depth} blocks.

    The result and its gradients are right. Something has to be forgotten in
    the forward pass and computed again in the backward pass.
    """
    for block in blocks:
        x = block(x)
    return x


def all_in_one(blocks: list[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """Hardly anything is kept in the forward pass, but in the backward pass
    you hold {got[tensors kept]} tensors at once.

    One checkpoint around everything runs all {depth} blocks again before the
    first of them is through with its backward pass. What is recomputed takes
    memory too: do it piece by piece.
    """

    def run(x: Tensor) -> Tensor:
        for block in blocks:
            x = block(x)
        return x

    result: Tensor = checkpoint(run, x, use_reentrant=False)
    return result


def in_two_halves(
    blocks: list[Callable[[Tensor], Tensor]], x: Tensor
) -> Tensor:
    """The pieces are too large: you hold {got[tensors kept]} tensors at once,
    and half of what the loop keeps would be half of three for each of the
    {depth} blocks.

    While one piece is recomputed, all of it is there. Smaller pieces keep
    more results between them and recompute less at a time.
    """

    def run(x: Tensor, half: list[Callable[[Tensor], Tensor]]) -> Tensor:
        for block in half:
            x = block(x)
        return x

    middle = len(blocks) // 2
    x = checkpoint(run, x, blocks[:middle], use_reentrant=False)
    y: Tensor = checkpoint(run, x, blocks[middle:], use_reentrant=False)
    return y


def every_other(
    blocks: list[Callable[[Tensor], Tensor]], x: Tensor
) -> Tensor:
    """Too much is kept: {got[tensors kept]} tensors at once, and allowed is
    half of three for each of the {depth} blocks.

    Some blocks still keep all that they compute. Let each of them forget.
    """
    for first, second in zip(blocks[::2], blocks[1::2], strict=False):
        x = second(checkpoint(first, x, use_reentrant=False))
    return blocks[-1](x)


def nested(blocks: list[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """The memory is small, but blocks ran {got[most runs]} times where two
    are allowed.

    A checkpoint inside a checkpoint is recomputed by both: once for the outer
    one, and once more for its own. One level is enough here.
    """

    def run(x: Tensor) -> Tensor:
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return x

    result: Tensor = checkpoint(run, x, use_reentrant=False)
    return result


def no_grad(blocks: list[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """Nothing is kept, and no gradient can come back: the result does not
    require grad.

    no_grad() and detach() forget for good. What is forgotten here has to be
    computed again.
    """
    with torch.no_grad():
        for block in blocks:
            x = block(x)
    return x


def detached(blocks: list[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """x got no gradient: the graph was cut between the blocks, and only the
    last one is left of it.

    detach() forgets what came before for good. Here it has to be computed
    again.
    """
    for block in blocks:
        x = block(x.detach())
    return x


def forgot_return(
    blocks: list[Callable[[Tensor], Tensor]], x: Tensor
) -> None:
    """It returned None: the blocks ran, and their result is lost. Return
    it.
    """
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False)


def runs_of_the_forward_pass(x: Tensor) -> int:
    """backward() needs a value from inside the function, and nothing inside
    it was kept. So it ran once forward and once more in the backward pass.
    """
    runs: list[None] = []

    def block(x: Tensor) -> Tensor:
        runs.append(None)
        return (x**2).relu()

    checkpoint(block, x, use_reentrant=False).sum().backward()
    return len(runs)


# Odd, so that one of two halves is more than half.
_DEPTH = 9


def draw(rng: random.Random) -> dict[str, list[float] | float]:
    above = [rng.randrange(2, 17) / 8 for _ in range(rng.randrange(1, 4))]
    return {
        "x": [*above, -rng.randrange(12, 17) / 8],
        "w": [rng.choice((0.125, 0.25, 0.5)) for _ in range(_DEPTH)],
        "v": [rng.choice((0.5, 1.0)) for _ in range(_DEPTH)],
        "depth": float(_DEPTH),
    }


class _Network:
    """Blocks of two layers, x + relu(v · relu(w · x + 1/8)), that count their
    runs and watch how many of their tensors are in memory at once.
    """

    def __init__(self, w: Tensor, v: Tensor) -> None:
        self.w = [w_i.clone().requires_grad_() for w_i in w]
        self.v = v
        self.runs = [0] * len(w)
        self.watched: list[StorageWeakRef] = []
        self.most = 0

    def blocks(self) -> list[Callable[[Tensor], Tensor]]:
        return [self._block(i) for i in range(len(self.runs))]

    def _block(self, i: int) -> Callable[[Tensor], Tensor]:
        def block(x: Tensor) -> Tensor:
            self.runs[i] += 1
            inner = self._watch((self.w[i] * x + 0.125).relu())
            outer = self._watch((self.v[i] * inner).relu())
            return self._watch(x + outer)

        return block

    def _watch(self, tensor: Tensor) -> Tensor:
        """Count what is still there: a saved tensor keeps its storage."""
        self.watched = [ref for ref in self.watched if not ref.expired()]
        self.watched.append(StorageWeakRef(tensor.untyped_storage()))
        self.most = max(self.most, len(self.watched))
        return tensor

    def kept(self) -> int:
        """Return how many tensors there were at once. A block that never ran
        again kept all of its own, be it as copies.
        """
        return max(self.most, 3 * self.runs.count(1))


def observe(attempt: Attempt, trial: Trial) -> Values:
    network = _Network(trial.tensor("w"), trial.tensor("v"))
    x = trial.leaf("x")
    result = attempt(network.blocks(), x)
    if not isinstance(result, Tensor):
        found = describe(result)
        raise AnswerError(f"It returned {found}. Expected a tensor.")
    if result.requires_grad:
        result.sum().backward()
    kept = network.kept()
    return {
        "result": read_value(result),
        "x.grad": read_value(x.grad),
        "gradients of the weights": [read_value(w.grad) for w in network.w],
        "more than half is kept": kept > 3 * len(network.runs) / 2,
        "a block runs more than twice": max(network.runs) > 2,
        # For the diagnosis alone.
        "tensors kept": str(kept),
        "most runs": str(max(network.runs)),
    }


def expected(trial: Trial) -> Values:
    """Where x is negative, a block changes nothing: w · x + 1/8 is too."""
    x: Any = trial.inputs["x"]
    w: Any = trial.inputs["w"]
    v: Any = trial.inputs["v"]
    growth = [1 + a * b for a, b in zip(w, v, strict=True)]
    above, totals = [number for number in x if number > 0], []
    for i, factor in enumerate(growth):
        totals.append(sum(above))
        above = [number * factor + v[i] / 8 for number in above]
    below = [number for number in x if number <= 0]
    slope = math.prod(growth)
    return {
        "result": above + below,
        "x.grad": [trial.factor * (slope if n > 0 else 1.0) for n in x],
        "gradients of the weights": [
            v[i] * totals[i] * math.prod(growth[i + 1 :])
            for i in range(len(w))
        ],
        "more than half is kept": False,
        "a block runs more than twice": False,
    }


CHECK = Check(
    solution=memory_budget,
    first={
        "x": [1.0, -1.5],
        "w": [0.5] * _DEPTH,
        "v": [1.0] * _DEPTH,
        "depth": float(_DEPTH),
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(plain, hint=1),
        Mistake(all_in_one, hint=3),
        Mistake(in_two_halves, hint=3),
        Mistake(every_other, hint=3),
        Mistake(nested, hint=3),
        Mistake(no_grad, hint=1),
        Mistake(detached, hint=1),
        Mistake(forgot_return, hint=3),
    ),
    predictions=(runs_of_the_forward_pass,),
)
