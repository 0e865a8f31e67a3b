"""Wrong shapes that broadcast silently.

nn.Linear predicts a column, and targets read from a file are mostly flat.
Their difference is a matrix of every prediction with every target, so the
loss pulls every prediction towards the mean of all targets: training runs,
the loss falls, and what was learnt is a flat line. Look at shapes before you
subtract.
"""

# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import random
import warnings

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
    read_value,
)


def silent_broadcast(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mend this loss, with which every training ends at a flat line:

        prediction = model(x)
        return ((prediction - y) ** 2).mean()

    Nothing raises, whatever the shapes are. x has N samples, of shape (N, 1).
    The prediction comes in shape (N, 1) or (N,), and so does y; the two need
    not be alike. Return the mean of the N squared errors in all four cases,
    as a scalar tensor that the caller can go backward from. N may be 1.

    Where y does not hold exactly one target for each sample, let an exception
    such as ValueError be raised. That holds for N + 1 targets, for two
    targets a sample, and also for one target and N samples.

    For the predictions 3, 5 and 7 and the targets 2, 3 and 6 the loss is 2.
    While you are judged, the gradient is multiplied by a secret number on its
    way from the prediction to the model.
    """
    prediction = model(x)
    return ((prediction - y.reshape(prediction.shape)) ** 2).mean()


HINTS = (
    "What is the shape of the difference, and how many errors is the mean "
    "taken of?",
    "Look up broadcasting semantics: which sizes two shapes may have to be "
    "combined. Then torch.Tensor.reshape, and when it raises.",
    "Bring the targets into the shape of what they are compared with, "
    "y.____(prediction.____): that raises where their numbers differ.",
)


def broadcast(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """With a prediction of (N, 1) and targets of (N,) the loss is {got[loss
    of (N, 1) and (N,)]}, and the mean of the N squared errors is {want[loss
    of (N, 1) and (N,)]}.

    The difference has shape (N, N): every prediction minus every target. A
    size of 1 and a missing one are stretched to fit, and nothing raises.
    """
    prediction = model(x)
    return ((prediction - y) ** 2).mean()


def mse_loss_alone(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """nn.MSELoss has warned of the two shapes and then done what you had
    before: the loss is {got[loss of (N, 1) and (N,)]} instead of {want[loss
    of (N, 1) and (N,)]}.

    It broadcasts like any difference. The loss function is not what is
    broken; the shapes that it is given are.
    """
    return nn.functional.mse_loss(model(x), y)


def counted_only(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mismatches are refused, but with N targets in another shape than
    the prediction the loss is still {got[loss of (N, 1) and (N,)]} and not
    {want[loss of (N, 1) and (N,)]}.

    As many numbers in two shapes still broadcast. After counting, bring both
    into one shape.
    """
    prediction = model(x)
    if prediction.numel() != y.numel():
        raise ValueError("another number of targets than of samples")
    return ((prediction - y) ** 2).mean()


def only_equal_shapes(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """You refuse a prediction of shape (N, 1) and targets of shape (N,).

    They belong together: N samples, and one target for each. What has to be
    refused is another number of targets, not another way to hold them.
    """
    prediction = model(x)
    if prediction.shape != y.shape:
        raise ValueError("another shape of targets than of predictions")
    return ((prediction - y) ** 2).mean()


def prediction_alone(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Right for targets of shape (N,). For those of (N, 1) the loss is
    {got[loss of (N, 1) and (N, 1)]} instead of {want[loss of (N, 1) and (N,
    1)]}: you turned the prediction alone, by a transpose or another shape.

    The difference is a matrix again, the other way round. The target's shape
    is not known beforehand either.
    """
    return ((model(x).reshape(-1) - y) ** 2).mean()


def target_into_column(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Right for a prediction of shape (N, 1). For one of (N,) the loss is
    {got[loss of (N,) and (N,)]} instead of {want[loss of (N,) and (N,)]}: you
    made a column of the target, whatever the prediction is.

    A row minus a column is a matrix too. Both have to come into one shape.
    """
    return ((model(x) - y.reshape(-1, 1)) ** 2).mean()


def unsqueezed(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Right for a prediction of (N, 1) and targets of (N,) alone. Where both
    are (N, 1) the loss is {got[loss of (N, 1) and (N, 1)]} instead of
    {want[loss of (N, 1) and (N, 1)]}: another dimension was added, whatever
    there was.

    unsqueeze(1) and y[:, None] make (N, 1, 1) of (N, 1), and that broadcasts
    as well. Both shapes have to become known ones.
    """
    return ((model(x) - y.unsqueeze(1)) ** 2).mean()


def unchecked(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Right wherever the numbers of samples and targets agree. But these give
    a loss and have to be refused: {got[mismatches that give a loss]}.

    A shape of (1,) is stretched to (N,) as silently as before. Flattening or
    squeezing does not count: compare the numbers before you subtract.
    """
    prediction, target = model(x).reshape(-1), y.reshape(-1)
    return ((prediction - target) ** 2).mean()


def squeezed(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Right for many samples, but you refuse a single one with its single
    target. The last batch of an epoch may well have one sample.

    squeeze() takes away every dimension of size 1: of shape (1, 1) it makes
    () and not (1,). Say which shape you want.
    """
    prediction, target = model(x).squeeze(), y.reshape(-1)
    if prediction.shape != target.shape:
        raise ValueError("another number of targets than of samples")
    return ((prediction - target) ** 2).mean()


def expanded(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The targets cannot be expanded to the shape of the prediction: expand()
    repeats along sizes of 1, as broadcasting does, and never moves N numbers
    to another dimension.

    Where it can, it does what is to be refused: it makes N targets of one.
    reshape() keeps the numbers that there are.
    """
    prediction = model(x)
    return ((prediction - y.expand_as(prediction)) ** 2).mean()


def summed(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The shapes are mended, but the loss is {got[loss of (N, 1) and (N,)]}
    and not {want[loss of (N, 1) and (N,)]}: that is the sum of the squared
    errors.

    A sum grows with the batch, and its gradients too. Asked for is the mean.
    """
    prediction = model(x)
    return ((prediction - y.reshape(prediction.shape)) ** 2).sum()


def detached(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The loss is right, {got[loss of (N, 1) and (N,)]}, but no gradient of
    it reaches the model: it was computed from plain numbers, or from a
    prediction without its history.

    detach(), tolist(), item() and no_grad() cut the graph. reshape() keeps
    it.
    """
    prediction = model(x).detach()
    return ((prediction - y.reshape(prediction.shape)) ** 2).mean()


def shape_of_the_difference(x: Tensor, y: Tensor) -> list[int]:
    """Shapes are laid over each other from the right: (N,) counts as (1, N).
    Then each 1 is stretched, here in both directions. What comes out is the
    difference of every number in x and every number in y.
    """
    difference = x - y
    return list(difference.shape)


def every_prediction_is_right(y: Tensor) -> bool:
    """False. Each prediction is compared with the targets of all the others
    as well. This loss is smaller where all predictions are the mean of y, so
    that is where training goes.
    """
    prediction = y.reshape(-1, 1)
    loss = ((prediction - y) ** 2).mean()
    return bool(loss == 0)


def draw(rng: random.Random) -> dict[str, Input]:
    """Numbers of few bits: a prediction is exact in every dtype, so that the
    errors, all of one sign, are too.
    """
    w, b = rng.choice((1.0, 1.5, 2.0)), rng.randrange(1, 5) / 2
    x = rng.sample(range(1, 7), rng.randrange(3, 6))
    return {
        "w": w,
        "b": b,
        "x": [[float(distance)] for distance in x],
        "y": [w * distance + b - rng.randrange(1, 4) / 2 for distance in x],
    }


class _Line(nn.Module):
    """w x + b in one of two shapes, with the secret behind it."""

    def __init__(self, trial: Trial, shape: _Shape) -> None:
        super().__init__()
        self.w = nn.Parameter(trial.tensor("w"))
        self.b = nn.Parameter(trial.tensor("b"))
        self.trial, self.shape = trial, shape

    def forward(self, x: Tensor) -> Tensor:
        return self.trial.secret((self.w * x + self.b).reshape(self.shape))


# By how they are told: the shapes of a prediction and of what is learnt from.
_Shape = tuple[int, ...]
_Shapes = tuple[_Shape, _Shape]
_COLUMN, _FLAT = (-1, 1), (-1,)
_CASES: dict[str, _Shapes] = {
    "(N, 1) and (N,)": (_COLUMN, _FLAT),
    "(N,) and (N, 1)": (_FLAT, _COLUMN),
    "(N, 1) and (N, 1)": (_COLUMN, _COLUMN),
    "(N,) and (N,)": (_FLAT, _FLAT),
}


def observe(attempt: Attempt, trial: Trial) -> Values:
    x, y = trial.tensor("x"), trial.tensor("y")
    seen: dict[str, Value] = {}
    warned, gradients = [], []
    for case, shapes in _CASES.items():
        # PyTorch warns in the attempt's process; a mistake tells it better.
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            loss, gradient = _go_backward(attempt, trial, shapes, x, y)
        warned.append(any("target size" in str(w.message) for w in found))
        seen[f"loss of {case}"] = loss
        gradients.append(gradient)
    seen["[dL/dw, dL/db], four times"] = gradients
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        seen["losses of one sample"] = [
            _go_backward(attempt, trial, shapes, x[:1], y[:1])[0]
            for shapes in _CASES.values()
        ]
        seen |= _refuse(attempt, trial, x, y)
    # It tells nn.MSELoss from a difference that was written out.
    return seen | {"warned of both that differ": warned[0] and warned[1]}


def _go_backward(
    attempt: Attempt, trial: Trial, shapes: _Shapes, x: Tensor, y: Tensor
) -> tuple[Value, Value]:
    """Return a loss and what a pass backward from it brings."""
    model = _Line(trial, shapes[0])
    try:
        loss = attempt(model, x.clone(), y.reshape(shapes[1]).clone())
    except (ValueError, AssertionError):
        return "refused", None
    if not isinstance(loss, Tensor):
        forgotten = " Is there a return?" if loss is None else ""
        found = describe(loss)
        raise AnswerError(
            f"It returned {found}.{forgotten} Expected a scalar tensor."
        )
    if loss.requires_grad and loss.numel() == 1:
        loss.backward()
    w, b = read_value(model.w.grad), read_value(model.b.grad)
    return read_value(loss), None if w is None is b else [w, b]


def _refuse(
    attempt: Attempt, trial: Trial, x: Tensor, y: Tensor
) -> dict[str, Value]:
    """Return what was given a loss, or refused by a slip of the pen.

    The rest, which is refused by who counts only in part, is looked at where
    there is nothing larger to tell.
    """
    twice = torch.stack((y, y), dim=1)
    mismatches = {
        "N + 1 targets": (x, torch.cat((y, y[:1]))),
        "N - 1 targets": (x, y[1:]),
        "1 target for N samples": (x, y[:1]),
        "N targets for 1 sample": (x[:1], y),
        "2 targets a sample": (x, twice),
    }
    rest = {
        "2 targets for each of 2 samples": (x[:2], twice[:2]),
        "2 targets for 1 sample": (x[:1], twice[:1]),
        "3 targets a sample": (x, torch.stack((y, y, y), dim=1)),
    }
    cases, slips = list(_CASES.values()), set[str]()
    passed = _pass(attempt, trial, mismatches, cases[:2], slips)
    if not passed:
        rest |= mismatches
        passed = _pass(attempt, trial, rest, cases, slips)
    return {
        "mismatches that give a loss": sorted(passed) or "none",
        "exceptions by a slip": sorted(slips) or "none",
    }


def _pass(
    attempt: Attempt,
    trial: Trial,
    mismatches: dict[str, tuple[Tensor, Tensor]],
    cases: list[_Shapes],
    slips: set[str],
) -> set[str]:
    """Return the names of the mismatches that give a loss; note slips."""
    passed = set()
    for name, (x, y) in mismatches.items():
        for predicted, wanted in cases:
            target = y if y.dim() == 2 else y.reshape(wanted)
            try:
                attempt(_Line(trial, predicted), x.clone(), target.clone())
                passed.add(name)
            except (NameError, AttributeError) as error:
                slips.add(type(error).__name__)
            except Exception:
                continue
    return passed


def expected(trial: Trial) -> Values:
    w, b, y = (trial.inputs[name] for name in ("w", "b", "y"))
    x = [distance for (distance,) in trial.inputs["x"]]
    errors = [w * a + b - c for a, c in zip(x, y, strict=True)]
    slopes = [trial.factor * 2 * error / len(x) for error in errors]
    loss = sum(error**2 for error in errors) / len(x)
    dw = sum(slope * a for slope, a in zip(slopes, x, strict=True))
    return {
        **{f"loss of {case}": loss for case in _CASES},
        "[dL/dw, dL/db], four times": [[dw, sum(slopes)] for _ in _CASES],
        "losses of one sample": [errors[0] ** 2 for _ in _CASES],
        "mismatches that give a loss": "none",
        "exceptions by a slip": "none",
    }


CHECK = Check(
    solution=silent_broadcast,
    first={
        "w": 2.0,
        "b": 1.0,
        "x": [[1.0], [2.0], [3.0]],
        "y": [2.0, 3.0, 6.0],
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(broadcast, hint=1),
        Mistake(mse_loss_alone, hint=1),
        Mistake(counted_only, hint=1),
        Mistake(only_equal_shapes, hint=2),
        Mistake(prediction_alone, hint=3),
        Mistake(target_into_column, hint=3),
        Mistake(unsqueezed, hint=3),
        Mistake(unchecked, hint=3),
        Mistake(squeezed, hint=3),
        Mistake(expanded, hint=2),
        Mistake(summed, hint=3),
        Mistake(detached, hint=2),
    ),
    predictions=(shape_of_the_difference, every_prediction_is_right),
)
