"""SGD, momentum and Adam.

Optimizers are compared by runs that differ in nothing else, so each of them
needs the very same start. A model that is trained is changed: the second run
goes on where the first has ended, and seems to be the better one, unless the
model was copied before.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import math
import random
from collections.abc import Callable
from copy import deepcopy
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
    read_value,
)


def three_optimizers(
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    lr: float,
    steps: int,
) -> dict[str, list[float]]:
    """Train from one start with three optimizers; return all the losses.

    The optimizers are torch.optim's: "sgd" is SGD with the learning rate lr,
    "momentum" the same with a momentum of 0.9, and "adam" is Adam with lr.
    Return a dict of these three names. Each has a list of as many numbers as
    there are steps: what the loss was before the first step, before the
    second, and so on. Every run starts from the parameters that the model has
    now.

    loss(model) is a scalar tensor, for this model and for copies of it. When
    your function returns, the model that was given has the parameters that it
    had, and no gradients.

    For loss = lambda model: model.bias.sum() ** 2, a bias of 4, lr = 0.125
    and three steps the losses are 16, 9 and 5.0625 for sgd, 16, 9 and 1.8225
    for momentum, and about 16, 15.016 and 14.064 for adam. While you are
    judged, the gradient is multiplied by a secret number on its way to the
    model.
    """
    optimizers: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
        "sgd": lambda p: torch.optim.SGD(p, lr=lr),
        "momentum": lambda p: torch.optim.SGD(p, lr=lr, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=lr),
    }
    losses: dict[str, list[float]] = {}
    for name, make in optimizers.items():
        trained = deepcopy(model)
        optimizer = make(trained.parameters())
        losses[name] = []
        for _ in range(steps):
            optimizer.zero_grad()
            now = loss(trained)
            losses[name].append(now.item())
            now.backward()
            optimizer.step()
    return losses


HINTS = (
    "What are the parameters of the model when the second run begins? And "
    "whose parameters does its optimizer hold?",
    "Look up copy.deepcopy, and torch.optim.Optimizer: the first argument is "
    "what it will change, once and for all.",
    "In each of the three runs: trained = ____(model), an optimizer of "
    "____.parameters(), and then the loop on that same copy.",
)

_Losses = dict[str, list[float]]
_Loss = Callable[[nn.Module], Tensor]
_NAMES = ("sgd", "momentum", "adam")


def _make(name: str, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr)
    momentum = 0.9 if name == "momentum" else 0
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def _run(
    name: str,
    model: nn.Module,
    loss: _Loss,
    lr: float,
    steps: int,
    *,
    held: nn.Module | None = None,
    clear: bool = True,
) -> list[float]:
    """Return the losses of one run.

    held: the model whose parameters the optimizer has, if it is another.
    """
    optimizer = _make(name, held or model, lr)
    losses = []
    for _ in range(steps):
        if clear:
            optimizer.zero_grad()
        now = loss(model)
        losses.append(now.item())
        now.backward()
        optimizer.step()
    return losses


def goes_on(model: nn.Module, *given: Any) -> _Losses:
    """Only sgd starts from the model that was given. momentum goes on where
    sgd has ended, adam where momentum has: their losses are {got[momentum]}
    and {got[adam]}.

    Another name for a model, also what copy.copy() returns, is no other
    model: its parameters are the same tensors. Give each run a deep copy.
    """
    return {name: _run(name, model, *given) for name in _NAMES}


def restored_from_itself(model: nn.Module, *given: Any) -> _Losses:
    """You loaded a state_dict back, and it restored nothing: momentum has the
    losses {got[momentum]}, as it goes on where sgd has ended.

    A state_dict holds no copies. Its tensors share their memory with the
    parameters, so training changes them too, and loading writes each one onto
    itself. Copy it deeply, before the first step.
    """
    start = model.state_dict()
    losses = {}
    for name in _NAMES:
        model.load_state_dict(start)
        losses[name] = _run(name, model, *given)
    return losses


def one_copy(model: nn.Module, *given: Any) -> _Losses:
    """The model that was given is as it was, but momentum goes on where sgd
    has ended, and adam where momentum has: their losses are {got[momentum]}
    and {got[adam]}. All three trained one copy, or the model itself, which
    you put back only at the end.

    Each run needs a copy of its own, or the start put back before it.
    """
    trained = deepcopy(model)
    return {name: _run(name, trained, *given) for name in _NAMES}


def put_back_once(model: nn.Module, *given: Any) -> _Losses:
    """You put the model back only at the end, and its gradients are left:
    momentum went on where sgd had ended, with {got[momentum]}. Put back the
    parameters after every run, and clear the gradients.
    """
    start = deepcopy(model.state_dict())
    losses = goes_on(model, *given)
    model.load_state_dict(start)
    return losses


def new_models(model: nn.Module, *given: Any) -> _Losses:
    """Your first loss is not that of the model that was given: you started
    from other parameters. Perhaps they are those of an nn.Linear that you
    made yourself: they are random, and each new one has others.

    Runs from different starts cannot be compared. Copy what was given.
    """
    losses = {}
    for name in _NAMES:
        trained = nn.Linear(1, 1).to(next(model.parameters()))
        losses[name] = _run(name, trained, *given)
    return losses


def other_parameters(model: nn.Module, *given: Any) -> _Losses:
    """Nothing moves: sgd has the losses {got[sgd]}. Unless you clear the
    gradients between backward() and step(), the optimizer holds the
    parameters of one model and the loss was computed with another.

    step() changes what the optimizer was made with, and skips parameters
    without a gradient. Make the optimizer after the copy, and of it.
    """
    return {
        name: _run(name, deepcopy(model), *given, held=model)
        for name in _NAMES
    }


def momentum_forgotten(model: nn.Module, *given: Any) -> _Losses:
    """momentum has the losses of sgd, {got[momentum]}, and they should be
    {want[momentum]}: it ran without momentum, which is 0 unless you say so.
    """
    names = {"sgd": "sgd", "momentum": "sgd", "adam": "adam"}
    return {
        name: _run(names[name], deepcopy(model), *given) for name in _NAMES
    }


def never_cleared(model: nn.Module, *given: Any) -> _Losses:
    """The first two losses of each run are right, and then sgd has {got[sgd]}
    where {want[sgd]} is expected: every step takes the sum of all the
    gradients so far.

    An optimizer does not clear what it has used. Adam shows it least, for it
    divides by the size of the gradients.
    """
    return {
        name: _run(name, deepcopy(model), *given, clear=False)
        for name in _NAMES
    }


def given_model_trained(model: nn.Module, *given: Any) -> _Losses:
    """All losses are right, but the model that was given is no longer what it
    was: one of the runs trained it.

    Whoever gave it to you would go on with a trained model. Put its
    parameters back after the last run too, or let each run have a copy.
    """
    start = deepcopy(model.state_dict())
    losses = {}
    for name in _NAMES:
        model.load_state_dict(start)
        losses[name] = _run(name, model, *given)
    return losses


def gradients_left(model: nn.Module, *given: Any) -> _Losses:
    """All losses are right and the model has its parameters again, but the
    gradients of a last step are still there.

    A state_dict has no gradients in it, so loading one does not clear them.
    The next backward() would add to them.
    """
    start = deepcopy(model.state_dict())
    losses = {}
    for name in _NAMES:
        losses[name] = _run(name, model, *given)
        model.load_state_dict(start)
    return losses


def after_the_step(
    model: nn.Module, loss: _Loss, lr: float, steps: int
) -> _Losses:
    """sgd has the losses {got[sgd]}, and they should be {want[sgd]}: yours
    were taken after the steps, so the one of the start is missing.

    With it, three curves that begin at one point show that the runs had the
    same start.
    """
    return {
        name: _run(name, deepcopy(model), loss, lr, steps + 1)[1:]
        for name in _NAMES
    }


def adam_by_default(
    model: nn.Module, loss: _Loss, lr: float, steps: int
) -> _Losses:
    """adam has the losses {got[adam]}, and with a learning rate of {lr} they
    are {want[adam]}: it ran with the 0.001 that it takes where none is given.
    """
    rates = {"sgd": lr, "momentum": lr, "adam": 0.001}
    return {
        name: _run(name, deepcopy(model), loss, rate, steps)
        for name, rate in rates.items()
    }


def first_step_of_adam(w: Tensor) -> Tensor:
    """0.25, the learning rate, although the gradient is 1000. Adam divides
    the gradient by its own size, so that after one step only its sign is
    left. lr says how far a parameter moves, and not by how much of the
    gradient.
    """
    before = w.item()
    optimizer = torch.optim.Adam([w], lr=0.25)
    (1000 * w).backward()
    optimizer.step()
    return before - w


def same_first_step(w: Tensor, b: Tensor) -> bool:
    """True. Momentum adds 0.9 times what it did before, and before the first
    step there is nothing. The second step is the first that differs.
    """
    plain = torch.optim.SGD([w], lr=0.25)
    heavy = torch.optim.SGD([b], lr=0.25, momentum=0.9)
    before = w.item(), b.item()
    (3 * w + 3 * b).backward()
    plain.step()
    heavy.step()
    return before[0] - w.item() == before[1] - b.item()


def draw(rng: random.Random) -> dict[str, Input]:
    """The targets lie in a zigzag below the line: no step makes the loss or a
    gradient of Adam's small beside the numbers that it is the difference of.
    """
    w, b = rng.randrange(-4, 5) / 4, rng.randrange(-4, 5) / 4
    x = [number / 2 for number in sorted(rng.sample(range(1, 7), 4))]
    below = [rng.randrange(8, 13) / 4, rng.randrange(18, 25) / 4] * 2
    return {
        "w": w,
        "b": b,
        "x": x,
        "y": [w * a + b - c for a, c in zip(x, below, strict=True)],
        "lr": rng.choice((1 / 32, 1 / 16)),
        "steps": rng.randrange(3, 5),
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    x, y = trial.tensor("x").reshape(-1, 1), trial.tensor("y").reshape(-1, 1)
    seen: list[float] = []

    def loss(model: nn.Module) -> Tensor:
        squares: Tensor = (trial.secret(model(x)) - y) ** 2
        seen.append(squares.mean().item())
        return squares.mean()

    model = nn.Linear(1, 1).to(x.device, x.dtype)
    with torch.no_grad():
        model.weight.fill_(trial.inputs["w"])
        model.bias.fill_(trial.inputs["b"])
    before, loads = deepcopy(model), list[set[str]]()
    model.register_load_state_dict_post_hook(  # copies have it as well
        lambda to, _: loads.append({_compare(m, before) for m in (to, model)})
    )
    start = loss(before).item()
    lr, steps = trial.inputs["lr"], int(trial.inputs["steps"])
    losses = attempt(model, loss, lr, steps)
    return {
        **_read(losses),
        "the model given": _compare(model, before),
        # Nothing is expected of these. They tell mistakes apart.
        "loaded in vain": {"changed"} in loads,
        "started elsewhere": seen[1:2] not in ([], [start]),
    }


def _read(losses: Any) -> dict[str, Value]:
    if not isinstance(losses, dict):
        forgotten = " Is there a return?" if losses is None else ""
        found = describe(losses)
        raise AnswerError(f"It returned {found}.{forgotten} Expected a dict.")
    if set(losses) != set(_NAMES):
        names = ", ".join(map(str, losses)) or "none"
        raise AnswerError(
            f"Names in the dict: {names}. Expected {', '.join(_NAMES)}."
        )
    return {name: read_value(losses[name]) for name in _NAMES}


def _compare(model: nn.Module, before: nn.Module) -> str:
    """Say what became of the model that was given."""
    old, new = list(before.parameters()), list(model.parameters())
    if not all(map(torch.equal, old, new)):
        return "changed"
    left = any(p.grad is not None and bool(p.grad.any()) for p in new)
    return "has gradients" if left else "as it was"


def expected(trial: Trial) -> Values:
    """The three updates, written out for the two numbers of a line."""
    values: dict[str, Value] = {}
    updates = zip(_NAMES, (_sgd, _heavy, _adam), strict=True)
    for name, update in updates:
        line = [trial.inputs["w"], trial.inputs["b"]]
        memories, losses = [[0.0, 0.0], [0.0, 0.0]], []
        for step in range(1, int(trial.inputs["steps"]) + 1):
            loss, slopes = _differentiate(line, trial)
            losses.append(loss)
            for i, (slope, memory) in enumerate(
                zip(slopes, memories, strict=True)
            ):
                line[i] -= trial.inputs["lr"] * update(slope, memory, step)
        values[name] = losses
    return {**values, "the model given": "as it was"}


def _differentiate(
    line: list[float], trial: Trial
) -> tuple[float, list[float]]:
    """Return the loss of w x + b and its slopes in w and b."""
    x, y = trial.inputs["x"], trial.inputs["y"]
    errors = [line[0] * a + line[1] - b for a, b in zip(x, y, strict=True)]
    share = trial.factor * 2 / len(x)
    in_w = sum(error * a for error, a in zip(errors, x, strict=True))
    loss = sum(error**2 for error in errors) / len(x)
    return loss, [share * in_w, share * sum(errors)]


def _sgd(slope: float, memory: list[float], step: int) -> float:
    return slope


def _heavy(slope: float, memory: list[float], step: int) -> float:
    memory[0] = 0.9 * memory[0] + slope
    return memory[0]


def _adam(slope: float, memory: list[float], step: int) -> float:
    memory[0] = 0.9 * memory[0] + 0.1 * slope
    memory[1] = 0.999 * memory[1] + 0.001 * slope**2
    mean, square = memory[0] / (1 - 0.9**step), memory[1] / (1 - 0.999**step)
    return mean / (math.sqrt(square) + 1e-8)


CHECK = Check(
    solution=three_optimizers,
    first={
        "w": 0.0,
        "b": 4.0,
        "x": [0.0],
        "y": [0.0],
        "lr": 0.125,
        "steps": 3,
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(restored_from_itself, hint=2),
        Mistake(goes_on, hint=1),
        Mistake(one_copy, hint=1),
        Mistake(put_back_once, hint=1),
        # Known by the facts alone: what it starts from is random.
        Mistake(new_models, hint=1, within=1e12),
        Mistake(other_parameters, hint=1),
        Mistake(momentum_forgotten, hint=2),
        Mistake(never_cleared, hint=3),
        Mistake(given_model_trained, hint=3),
        Mistake(gradients_left, hint=2),
        Mistake(after_the_step, hint=3),
        Mistake(adam_by_default, hint=2),
    ),
    # Every step rounds, and the next one starts from the rounded number.
    dtypes=("float64", "float32"),
    predictions=(first_step_of_adam, same_first_step),
)
