"""Read a loss curve.

Two numbers an epoch are what one sees of a training, and for weeks all that
one sees. The last of them alone says little: whether a run is still on its
way, swings or has begun to learn its own samples by heart shows only beside
what came before, and beside the loss on data that it is not trained on.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lab.practise import (
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Value,
    Values,
    read_answer,
    read_number,
)


def read_a_loss_curve(
    train: list[float], validation: list[float]
) -> tuple[str, int]:
    """Say in a word what happened in a training, and which epoch to keep.

    train and validation hold one loss for each epoch, of at least four; the
    epochs are counted from 0. A loss can be inf or nan: where a number became
    too large, and in validation also where an epoch was not evaluated. At
    least one validation loss is finite.

    The word is the first of these that holds:

        "diverging"       the last train loss is inf, nan or larger than the
                          first
        "overfitting"     the last validation loss is more than 1.25 times the
                          smallest
        "still learning"  the last train loss is less than 0.75 times the one
                          two epochs before it
        "converged"       none of these

    The epoch is that of the smallest validation loss, the first of them if
    there are several. nan counts as no number: it is not the smallest. Leave
    both lists as they are.

    For train = [64, 16, 4, 1] and validation = [26, 2, 2, 5] return
    ("overfitting", 1), and with validation = [65, 17, 5, 2] it would be
    ("still learning", 3).
    """
    measured = [loss for loss in validation if not math.isnan(loss)]
    smallest = min(measured)
    epoch = validation.index(smallest)
    if not math.isfinite(train[-1]) or train[-1] > train[0]:
        return "diverging", epoch
    if validation[-1] > 1.25 * smallest:
        return "overfitting", epoch
    if train[-1] < 0.75 * train[-3]:
        return "still learning", epoch
    return "converged", epoch


HINTS = (
    "Which of the losses does each of the four words compare, and what do "
    "the comparisons say when one of them is nan, or all are inf?",
    "Look up math.isnan and math.isfinite: every comparison with nan is "
    "False, also that with itself, so min() and < cannot be trusted with it.",
    "First the smallest of the losses that are not ____, then the words from "
    "the top, each with a ____ of its own.",
)


_Losses = list[float]
_Said = tuple[str, int]


def _keep(validation: list[float]) -> tuple[float, int]:
    """Return the smallest loss and its epoch, for mistakes in the word."""
    smallest = min(loss for loss in validation if not math.isnan(loss))
    return smallest, validation.index(smallest)


def _name(
    train: list[float],
    last: float,
    smallest: float,
    *,
    margin: float = 1.25,
    diverging: bool = True,
) -> str:
    """Return the word, for mistakes in the epoch or in the first rule."""
    if diverging and not train[-1] <= train[0] < math.inf:
        return "diverging"
    if last > margin * smallest:
        return "overfitting"
    return "still learning" if train[-1] < 0.75 * train[-3] else "converged"


def nan_slips_through(train: _Losses, validation: _Losses) -> _Said:
    """A run that ends in nan is {got[nan at the end]} to you: its last loss,
    nan, is not larger than the first, but it is not smaller either.

    Every comparison with nan is False, even that with nan, so a run that has
    broken down falls through all of them. Ask whether the loss is a finite
    number at all.
    """
    smallest, epoch = _keep(validation)
    if train[-1] > train[0]:
        return "diverging", epoch
    return _name(train, validation[-1], smallest, diverging=False), epoch


def inf_slips_through(train: _Losses, validation: _Losses) -> _Said:
    """A run whose train losses are all inf is {got[inf throughout]} to you:
    inf is not larger than inf.

    A loss that overflows in the first epoch has diverged as well. Besides the
    comparison with the first loss, ask whether the last one is finite.
    """
    smallest, epoch = _keep(validation)
    if not train[-1] <= train[0]:
        return "diverging", epoch
    return _name(train, validation[-1], smallest, diverging=False), epoch


def nan_is_the_first(train: _Losses, validation: _Losses) -> _Said:
    """Where the first epoch was not evaluated, you say {got[nan at first]}
    and not {want[nan at first]}. The losses of train and validation are
    {nan at first}.

    min(), like a loop with <, keeps what it began with until something is
    smaller, and nothing is smaller than nan. Leave nan out before you look
    for the smallest.
    """
    smallest = min(validation)
    epoch = validation.index(smallest)
    return _name(train, validation[-1], smallest), epoch


def nan_is_the_smallest(train: _Losses, validation: _Losses) -> _Said:
    """With nan in the validation losses you keep the epoch of the nan:
    {got[nan at the end]} where a run ends in it, {got[nan at first]} where it
    stands first.

    argmin and min of a tensor let nan win over every number, so that nobody
    misses it. Leave it out before you look for the smallest.
    """
    losses = torch.tensor(validation, dtype=torch.float64)
    smallest, epoch = losses.min(dim=0)
    word = _name(train, validation[-1], smallest.item())
    return word, int(epoch.item())


def kept_by_train(train: _Losses, validation: _Losses) -> _Said:
    """You keep the epoch of the smallest train loss: for the run that
    overfits you say {got[overfitting]} and not {want[overfitting]}.

    The train loss goes on falling while a model learns its samples by heart.
    What it is worth elsewhere shows in the validation loss.
    """
    smallest, _ = _keep(validation)
    _, epoch = _keep(train)
    return _name(train, validation[-1], smallest), epoch


def last_of_equals(train: _Losses, validation: _Losses) -> _Said:
    """Where two epochs have the smallest validation loss you keep the later
    one: you say {got[overfitting]} and not {want[overfitting]}.

    With <= in a loop, the later of two equal losses wins. Asked for is the
    first.
    """
    epoch, smallest = 0, math.inf
    for i, loss in enumerate(validation):
        if loss <= smallest:
            epoch, smallest = i, loss
    return _name(train, validation[-1], smallest), epoch


def kept_the_last(train: _Losses, validation: _Losses) -> _Said:
    """You keep the last epoch, whatever the run was: for the one that
    overfits you say {got[overfitting]} and not {want[overfitting]}.

    That is what is left when nobody saves anything in between. The best
    parameters on the way may be long gone by then.
    """
    smallest, _ = _keep(validation)
    return _name(train, validation[-1], smallest), len(validation) - 1


def any_rise(train: _Losses, validation: _Losses) -> _Said:
    """A run that swings is {got[swinging]} to you, and should be
    {want[swinging]}. The losses of train and validation are {swinging}: the
    last of train is above the one before it, and far below the first.

    Steps that overshoot can make a curve zigzag on its way down, and noise
    does. Compare the end with the beginning.
    """
    smallest, epoch = _keep(validation)
    if any(not later <= loss for loss, later in pairwise(train)):
        return "diverging", epoch
    return _name(train, validation[-1], smallest), epoch


def smallest_rise(train: _Losses, validation: _Losses) -> _Said:
    """A run that settled is {got[settled]} to you, and should be
    {want[settled]}. The losses of train and validation are {settled}: the
    last of validation is above the smallest, but by less than a quarter.

    Validation losses go up and down a little by themselves. The rule asks for
    more than 1.25 times the smallest.
    """
    smallest, epoch = _keep(validation)
    return _name(train, validation[-1], smallest, margin=1), epoch


def other_order(train: _Losses, validation: _Losses) -> _Said:
    """The run that overfits is {got[overfitting]} to you, and should be
    {want[overfitting]}: both rules hold there, and you asked for "still
    learning" first.

    What such a run still learns is its own samples. Of several words that
    hold, the first in the list counts.
    """
    smallest, epoch = _keep(validation)
    if train[-1] <= train[0] and train[-1] < 0.75 * train[-3]:
        return "still learning", epoch
    return _name(train, validation[-1], smallest), epoch


def nan_before(falling: Tensor) -> float:
    """nan. min() begins with the first number and takes another where that is
    smaller. Nothing is smaller than nan.
    """
    _, validation = falling.tolist()
    return min([math.nan, *validation])


def nan_behind(falling: Tensor) -> float:
    """The last validation loss: now nan is compared with it, and is not
    smaller. What min() makes of nan depends on where the nan stands.
    """
    _, validation = falling.tolist()
    return min([*validation, math.nan])


def broken_down(falling: Tensor) -> bool:
    """False, and so is loss <= train[0]. A loop that stops where a loss is
    larger than the first one runs on for ever on nan.
    """
    train, _ = falling.tolist()
    loss = math.nan
    return loss > train[0]


def _descend(
    factor: float, start: float, epochs: int, *, best: float, floor: float
) -> list[Input]:
    """Return losses along gradient descent on w², where w is multiplied by
    the same factor, 1 - 2 lr, in every step.

    The loss is floor + (w - best)², in other data than those of the training
    where best is not 0. It is rounded to 1/64, so that float32 holds it.
    """
    path = (start * factor**epoch for epoch in range(epochs))
    return [round(64 * (floor + (w - best) ** 2)) / 64 for w in path]


def draw(rng: random.Random) -> dict[str, Input]:
    """One run of each kind in every trial, in an order of its own."""
    unmeasured = _draw_past_the_best(rng, train=2.0, validation=1.0)
    unmeasured[1][0] = "nan"
    runs: list[tuple[str, Input]] = [
        ("falling", _draw_falling(rng)),
        ("settled", _draw_past_the_best(rng, train=2.0, validation=20.0)),
        ("overfitting", _draw_past_the_best(rng, train=0.0, validation=1.0)),
        ("nan at first", unmeasured),
        ("swinging", _draw_swinging(rng)),
        ("growing", _draw_growing(rng)),
        ("nan at the end", _draw_broken(rng)),
        ("inf throughout", _draw_overflown(rng)),
    ]
    edges = [3.0 * rng.randrange(2, 9), 4.0 * rng.randrange(2, 9)]
    return {**dict(rng.sample(runs, len(runs))), "edges": edges}


def _draw_falling(rng: random.Random) -> Input:
    """w shrinks by an eighth in every epoch, its loss by less than 1/4."""
    start, epochs = rng.randrange(6, 10), rng.randrange(5, 8)
    floor = rng.randrange(1, 5)
    return [
        _descend(7 / 8, start, epochs, best=0, floor=0),
        _descend(7 / 8, start, epochs, best=0, floor=floor),
    ]


def _draw_past_the_best(
    rng: random.Random, *, train: float, validation: float
) -> list[list[Input]]:
    """w passes the best point of the validation data, half-way between the
    places of two epochs, so that both have the smallest loss.
    """
    passed = rng.randrange(1, 3)
    epochs = passed + rng.randrange(5, 7)
    before = rng.choice((2.0, 2.5, 3.0))
    start, best = before * 2**passed, before * 3 / 4
    floor = validation + rng.randrange(3)
    return [
        _descend(1 / 2, start, epochs, best=0, floor=train),
        _descend(1 / 2, start, epochs, best=best, floor=floor),
    ]


def _draw_swinging(rng: random.Random) -> Input:
    """w comes from both sides in turn, and the train loss was taken of a part
    of the samples, whose best point is on one of them.
    """
    start, epochs = rng.randrange(4, 6), rng.choice((7, 9))
    train, validation = rng.randrange(8, 13), rng.randrange(1, 5)
    return [
        _descend(-3 / 4, start, epochs, best=-2, floor=train),
        _descend(-3 / 4, start, epochs, best=0, floor=validation),
    ]


def _draw_growing(rng: random.Random) -> Input:
    start, epochs = rng.randrange(2, 6) / 2, rng.randrange(4, 7)
    best = start * rng.choice((0, 2, -3 / 2))
    return [
        _descend(-3 / 2, start, epochs, best=0, floor=1),
        _descend(-3 / 2, start, epochs, best=best, floor=2),
    ]


def _draw_broken(rng: random.Random) -> Input:
    start, epochs = rng.randrange(1, 5), rng.randrange(2, 4)
    train = _descend(-4, start, epochs, best=0, floor=1)
    validation = _descend(-4, start, epochs, best=-3 * start, floor=2)
    return [[*train, "inf", "nan"], [*validation, "inf", "nan"]]


def _draw_overflown(rng: random.Random) -> Input:
    """Losses too large for the dtype of the training from the first on."""
    _, validation = _draw_past_the_best(rng, train=0.0, validation=20.0)
    return [["inf"] * len(validation), validation]


def _add_edges(trial: Trial) -> dict[str, Any]:
    """Return the runs that were drawn; and by their losses those on an edge
    of a rule or a little beside it, with a peak, or with inf at the end.
    """
    runs = dict(trial.inputs)
    last, best = runs.pop("edges")
    flat = (2 * last, last, last, last, best)
    rows = [(*flat[:2], peak, *flat[3:]) for peak in (4 * last, "inf")]
    rows.append((*flat[:3], "inf", best))
    for off in (-1 / 16, 0.0, 1 / 16):
        rows.append((last + off, *flat[1:]))
        rows.append((*flat[:1], last / 0.75 + off, *flat[2:]))
        rows.append((*flat[:4], 1.25 * best + off))
    for *train, end in rows:
        run = [train, [2 * best, best, best, end]]
        runs[f"{run[0]} and {run[1]}"] = run
    return runs


def observe(attempt: Attempt, trial: Trial) -> Values:
    said, kept, wanted = dict[str, Any](), True, expected(trial)
    for name, run in _add_edges(trial).items():
        losses = [_read_losses(part) for part in run]
        before = [list(part) for part in losses]
        answer = read_answer(attempt(*losses), "word", "epoch", read=_read)
        said[name] = list(answer.values())
        kept = kept and losses == before
    # An edge is worth telling where there is nothing larger to tell.
    if any(said[run] != wanted[run] for run in said if run in trial.inputs):
        said |= {run: None for run in said if run not in trial.inputs}
    # Who overlooks nan may have thought of inf or not: it is told next.
    if said["nan at the end"][0] != "diverging":
        said["inf throughout"][0] = "not looked at"
    return said | {"both lists are as they were": kept}


def _read_losses(losses: list[float | str]) -> list[float]:
    """Return losses as numbers: a trial's inputs have words for nan and inf,
    for nan would not be equal to itself. Each nan is an object of its own, so
    that `in` does not find it.
    """
    return [float(loss) for loss in losses]


def _read(part: object) -> Value:
    return part if isinstance(part, str) else read_number(part)


def expected(trial: Trial) -> Values:
    """The rules, on numbers alone: nan and inf are words in the inputs."""
    values: dict[str, Value] = {"both lists are as they were": True}
    for name, (train, validation) in _add_edges(trial).items():
        smallest = min(float(loss) for loss in validation if loss != "nan")
        epoch = validation.index(smallest)
        if train[-1] in ("inf", "nan") or train[-1] > train[0]:
            word = "diverging"
        elif float(validation[-1]) > 1.25 * smallest:
            word = "overfitting"
        elif train[-1] < 0.75 * train[-3]:
            word = "still learning"
        else:
            word = "converged"
        values[name] = [word, float(epoch)]
    return values


CHECK = Check(
    solution=read_a_loss_curve,
    first={
        "overfitting": [[64.0, 16.0, 4.0, 1.0], [26.0, 2.0, 2.0, 5.0]],
        "falling": [[64.0, 49.0, 37.5, 28.75], [65.0, 50.0, 38.5, 29.75]],
        "settled": [[18.0, 3.0, 2.75, 2.5], [16.0, 10.0, 10.0, 11.5]],
        "nan at first": [[18.0, 3.0, 2.75, 2.5], ["nan", 1.0, 2.0, 3.0]],
        "swinging": [[49.0, 9.0, 20.0, 8.0, 18.0], [9.0, 6.0, 5.0, 4.0, 3.0]],
        "growing": [[2.0, 3.0, 6.0, 12.0], [6.0, 15.0, 2.0, 34.0]],
        "nan at the end": [[2.0, 9.0, "inf", "nan"], [8.0, 3.0, 9.0, "nan"]],
        "inf throughout": [["inf"] * 4, [24.0, 20.0, 20.0, 21.0]],
        "edges": [12.0, 8.0],
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(nan_slips_through, hint=2),
        Mistake(inf_slips_through, hint=2),
        Mistake(nan_is_the_first, hint=2),
        Mistake(nan_is_the_smallest, hint=2),
        Mistake(kept_by_train, hint=1),
        Mistake(last_of_equals, hint=3),
        Mistake(kept_the_last, hint=1),
        Mistake(any_rise, hint=1),
        Mistake(smallest_rise, hint=1),
        Mistake(other_order, hint=3),
    ),
    # No tensor takes part. Losses of sixteen bits and more do not fit into a
    # shorter dtype, and a trial's numbers have to.
    dtypes=("float64", "float32"),
    predictions=(nan_before, nan_behind, broken_down),
)
