"""Evaluate without a trace.

A validation loss is measured in the middle of training, and training has to
go on as if nobody had looked. Dropout that stays on makes the number a matter
of chance, statistics that move let the validation data into the model, and a
model that is left in eval mode trains on without its dropout.
"""

# What nn.Module returns and holds has the type Any.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

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


def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> float | Tensor:
    """Return the mean squared error of model(x) against y, without a trace.

    x has shape (n, 2), y and model(x) have shape (n, 1). Somewhere inside the
    model there are a BatchNorm1d and a Dropout. Return a float, or a scalar
    tensor that does not require grad.

    While the model runs, all of its modules are in eval mode, and recording
    is switched off. Afterwards everything is as it was before: each module is
    in the mode that it had, also where a single one inside a model in
    training mode had been put in eval mode; x, y, the parameters, whether
    they require grad, their .grad, the running statistics, the random state
    and recording itself are untouched. All of that holds where the model
    raises, too: its exception reaches the caller.

    Where the model predicts 2 and 1 and y is 1 and 3, the result is 2.5.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            return nn.functional.mse_loss(model(x), y).item()
    finally:
        for module, mode in modes:
            module.training = mode


HINTS = (
    "What does your function change that the next training step would "
    "notice? And which of it has to be put back even if the model raises?",
    "Look up torch.nn.Module.eval and its attribute training, which every "
    "module has of its own; torch.no_grad; and what finally is for.",
    "modes = [(module, module.____) for module in model.____()] before "
    "anything is switched; then try: … finally: each module.____ = ____",
)


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The model ran as it does in training: recorded, with dropout on, and
    its running mean moved from {want[running mean]} to {got[running mean]}.

    So the number depends on chance, and the model has learnt from data that
    was meant to test it. Evaluation needs two switches: one for the modules,
    one for recording.
    """
    return nn.functional.mse_loss(model(x), y)


def no_grad_only(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Nothing was recorded, but dropout was on, so the number depends on
    chance, and the running mean moved from {want[running mean]} to
    {got[running mean]}.

    Recording and the mode are two switches that know nothing of each other:
    no_grad() and inference_mode() leave dropout and BatchNorm as they are.
    """
    with torch.no_grad():
        return nn.functional.mse_loss(model(x), y).item()


def eval_only(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The number is right, {got[mean squared error]}, but the model was
    recorded. Whether the modes come back was not looked at yet.

    eval() tells the modules how to behave; recording is a switch of its own.
    detach() and item() come when the graph has been built, and the graph is
    what takes the memory. Switch recording off before the model is called.
    """
    model.eval()
    return nn.functional.mse_loss(model(x), y).item()


def never_back(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The number is right, {got[mean squared error]}, but a model that came
    in training mode is left in eval mode.

    Training goes on without an error, with dropout off and running statistics
    that no longer move. Put the modes back.
    """
    model.eval()
    with torch.no_grad():
        return nn.functional.mse_loss(model(x), y).item()


def train_always(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """A model that came in eval mode is in training mode afterwards, and so
    is a single module that had been put in eval mode, body.norm.

    train() switches everything on, whatever it was before, in finally too.
    Remember the mode of each module first, then put back those.
    """
    model.eval()
    with torch.no_grad():
        error = nn.functional.mse_loss(model(x), y).item()
    model.train()
    return error


def one_mode_for_all(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The mode of the model came back, but body.norm, which alone had been in
    eval mode, is in training mode now. A frozen BatchNorm would move again.

    model.training is the mode of the outermost module, and train(mode) gives
    that one to all the modules inside. Each has a mode of its own.
    """
    before = model.training
    model.eval()
    try:
        with torch.no_grad():
            return nn.functional.mse_loss(model(x), y).item()
    finally:
        model.train(before)


def not_after_an_exception(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """All is well until the model raises: then the lines that put the modes
    back are not reached, and in training mode afterwards: {got[in
    training mode after an exception]}.

    Out of memory, or interrupted in a notebook, one would train on in eval
    mode. Put the modes back on every way out.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.no_grad():
        error = nn.functional.mse_loss(model(x), y).item()
    for module, mode in modes:
        module.training = mode
    return error


def recorded_in_eval_mode(x: Tensor) -> bool:
    """True. eval() changes how Dropout, BatchNorm and their like compute, and
    nothing else. The weights require grad as before, so a graph is built.
    """
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1))
    model.eval()
    return model(x.detach()).requires_grad


def largest_after_dropout(p: Tensor) -> Tensor:
    """It is 1 / (1 - p). In training mode an entry becomes 0 with probability
    p, and what is left is scaled up, so that the mean stays what it was. In
    eval mode ones stay ones.
    """
    dropout = nn.Dropout(p.item())
    return dropout(torch.ones(1000)).max()


# Added to the variance under the root; with it, the root is a power of two.
_EPS = 0.25
_ALL_BUT_NORM = "all but body.norm"
_WITH_NORM_OFF = f"in training mode, where {_ALL_BUT_NORM} had been"
_LATER = "not looked at"
_MODES = {
    "in training mode, where all had been": "all",
    "in training mode, where none had been": "none",
    _WITH_NORM_OFF: _ALL_BUT_NORM,
}


def draw(rng: random.Random) -> dict[str, Input]:
    """Each column of x lies to one side of its running mean, which therefore
    moves in training mode.
    """
    columns = [0, 1]
    mean = [rng.randrange(-4, 5) / 2 for _ in columns]
    root = [rng.choice((1.0, 2.0, 4.0)) for _ in columns]
    side = [rng.choice((-0.5, 0.5)) * r for r in root]
    rows = range(rng.randrange(3, 6))
    return {
        "x": [
            [mean[c] + side[c] * rng.randrange(1, 5) for c in columns]
            for _ in rows
        ],
        "y": [[rng.randrange(-8, 9) / 2] for _ in rows],
        "mean": mean,
        "variance": [r**2 - _EPS for r in root],
        "scale": [rng.choice((0.5, 1.0, 2.0)) for _ in columns],
        "shift": [rng.randrange(-4, 5) / 4 for _ in columns],
        "slope": [[rng.choice((-2.0, -1.0, 1.0, 2.0)) for _ in columns]],
        "intercept": [rng.randrange(-4, 5) / 2],
        "p": rng.choice((0.5, 0.75)),
    }


class _Model(nn.Module):
    """BatchNorm1d and Dropout in a body, Linear as a head; and a spy, which
    is shown the model in each forward pass, and whether it is recorded.
    """

    def __init__(
        self, trial: Trial, spy: Callable[[nn.Module, bool], None]
    ) -> None:
        super().__init__()
        x = trial.tensor("x")
        norm = nn.BatchNorm1d(2, eps=_EPS, device=x.device, dtype=x.dtype)
        norm.weight = nn.Parameter(trial.tensor("scale"))
        norm.bias = nn.Parameter(trial.tensor("shift"))
        norm.running_mean = trial.tensor("mean")
        norm.running_var = trial.tensor("variance")
        dropout = nn.Dropout(trial.inputs["p"])
        self.body = nn.Sequential(OrderedDict(norm=norm, dropout=dropout))
        self.head = nn.Linear(2, 1, device="meta")
        self.head.weight = nn.Parameter(trial.tensor("slope"))
        self.head.bias = nn.Parameter(trial.tensor("intercept"))
        for parameter in self.parameters():
            parameter.grad = torch.ones_like(parameter)
        self.spy = spy
        self.raises = False

    def begin(self, *, norm: bool = False, rest: bool = True) -> None:
        """Put the norm and all the rest in training mode, or in eval mode."""
        self.train(rest)
        self.body[0].train(norm)
        self.requires_grad_()
        self.body[0].bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        self.spy(self, hidden.requires_grad)
        if self.raises:
            raise ArithmeticError("the model raises")
        return self.head(hidden)


def observe(attempt: Attempt, trial: Trial) -> Values:
    """The model comes four times: in training mode, in eval mode, in training
    mode but for its norm, and once more so, to raise.

    A label is about one thing: the modes count where the model was not
    recorded, and an exception where the modes came back without one.
    """
    on: set[str] = set()
    recording, recorded = set[bool](), set[bool]()

    def spy(model: nn.Module, is_recorded: bool) -> None:
        on.update(n for n, m in _modules(model).items() if m.training)
        recording.add(torch.is_grad_enabled())
        recorded.add(is_recorded)

    model, x, y = _Model(trial, spy), trial.tensor("x"), trial.tensor("y")
    before = x.clone(), y.clone()
    # Dropout draws, and so may an attempt; nobody else is to notice.
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        model.begin(norm=True)
        seen = _as_usual(attempt, model, x, y)
        if "body.dropout" in on:
            seen["mean squared error"] = "a matter of chance"
        model.begin(rest=False)
        with torch.no_grad():
            attempt(model, x, y)
            seen["recording is on inside a no_grad of the caller"] = (
                torch.is_grad_enabled()
            )
        seen["in training mode, where none had been"] = _in_training(model)
        model.begin()
        with torch.enable_grad():
            attempt(model, x, y)
        seen[_WITH_NORM_OFF] = _in_training(model)
        model.begin()
        raising = _raising(attempt, model, x, y)
    if any(seen[name] != mode for name, mode in _MODES.items()):
        raising = dict.fromkeys(raising, _LATER)
    seen |= raising
    if True in recorded:
        later = (*_MODES, *raising, "the result requires grad")
        seen |= dict.fromkeys(later, _LATER)
    kept = all(map(torch.equal, (x, y), before))
    traced = x.requires_grad or y.requires_grad
    return seen | {
        "x and y are as before": kept and not traced,
        "the model runs": bool(recorded),
        "in training mode while the model runs": _tell(on, model),
        "recording is on while the model runs": True in recording,
        "the model is recorded": True in recorded,
    }


def _as_usual(
    attempt: Attempt, model: _Model, x: Tensor, y: Tensor
) -> dict[str, Value]:
    parameters = list(model.parameters())
    before = [p.detach().clone() for p in parameters]
    state = torch.get_rng_state()
    with torch.enable_grad():
        result = attempt(model, x, y)
        recording = torch.is_grad_enabled()
    number, norm = read_number(result), model.body[0]
    if not isinstance(number, float):
        forgotten = " Is there a return?" if result is None else ""
        raise AnswerError(
            f"It returned {describe(result)}.{forgotten} Expected a number."
        )
    return {
        "mean squared error": number,
        "the result requires grad": getattr(result, "requires_grad", False),
        "running mean": read_value(norm.running_mean),
        "running variance": read_value(norm.running_var),
        "batches counted": read_number(norm.num_batches_tracked),
        "parameters are as before": all(map(torch.equal, parameters, before)),
        "their .grad is as before": all(map(_is_one, parameters)),
        "requiring grad afterwards": _requiring_grad(model),
        "random state is as before": state.equal(torch.get_rng_state()),
        "recording is on afterwards": recording,
        "in training mode, where all had been": _in_training(model),
    }


def _raising(
    attempt: Attempt, model: _Model, x: Tensor, y: Tensor
) -> dict[str, Value]:
    model.raises = raised = True
    with torch.enable_grad():
        with suppress(ArithmeticError):
            attempt(model, x, y)
            raised = False
        recording = torch.is_grad_enabled()
    return {
        "an exception of the model passes through": raised,
        "in training mode after an exception": _in_training(model),
        "requiring grad after an exception": _requiring_grad(model),
        "recording is on after an exception": recording,
    }


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    return {name or "model": m for name, m in model.named_modules()}


def _in_training(model: nn.Module) -> str:
    modules = _modules(model).items()
    return _tell({name for name, m in modules if m.training}, model)


def _tell(on: set[str], model: nn.Module) -> str:
    """Name those of a model's modules that are on, or those that are not."""
    off = [name for name in _modules(model) if name not in on]
    return ("all" + " but " * bool(off) + ", ".join(off)) if on else "none"


def _requiring_grad(model: nn.Module) -> str:
    parameters = model.named_parameters()
    return ", ".join(n for n, p in parameters if p.requires_grad) or "none"


def _is_one(parameter: Tensor) -> bool:
    gradient = parameter.grad
    return gradient is not None and bool((gradient == 1).all())


def expected(trial: Trial) -> Values:
    """BatchNorm in eval mode subtracts the running mean, divides by the root
    of the running variance, scales and shifts.
    """
    of = trial.inputs
    roots = [(variance + _EPS) ** 0.5 for variance in of["variance"]]
    squares = []
    for row, (y,) in zip(of["x"], of["y"], strict=True):
        z = [(row[c] - of["mean"][c]) / roots[c] for c in (0, 1)]
        hidden = [z[c] * of["scale"][c] + of["shift"][c] for c in (0, 1)]
        output = sum(hidden[c] * of["slope"][0][c] for c in (0, 1))
        squares.append((output + of["intercept"][0] - y) ** 2)
    requiring_grad = "body.norm.weight, head.weight, head.bias"
    return {
        "mean squared error": sum(squares) / len(squares),
        "the result requires grad": False,
        "running mean": of["mean"],
        "running variance": of["variance"],
        "batches counted": 0.0,
        "parameters are as before": True,
        "their .grad is as before": True,
        "requiring grad afterwards": requiring_grad,
        "random state is as before": True,
        "recording is on afterwards": True,
        "recording is on inside a no_grad of the caller": False,
        **_MODES,
        "an exception of the model passes through": True,
        "in training mode after an exception": _ALL_BUT_NORM,
        "requiring grad after an exception": requiring_grad,
        "recording is on after an exception": True,
        "x and y are as before": True,
        "the model runs": True,
        "in training mode while the model runs": "none",
        "recording is on while the model runs": False,
        "the model is recorded": False,
    }


CHECK = Check(
    solution=evaluate,
    first={
        "x": [[3.0, 2.0], [4.0, 0.0]],
        "y": [[1.0], [3.0]],
        "mean": [2.0, 4.0],
        "variance": [0.75, 3.75],
        "scale": [1.0, 1.0],
        "shift": [0.0, 1.0],
        "slope": [[1.0, 2.0]],
        "intercept": [1.0],
        "p": 0.5,
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(plain, hint=1),
        Mistake(no_grad_only, hint=2),
        Mistake(eval_only, hint=2),
        Mistake(never_back, hint=1),
        Mistake(train_always, hint=1),
        Mistake(one_mode_for_all, hint=3),
        Mistake(not_after_an_exception, hint=2),
    ),
    predictions=(recorded_in_eval_mode, largest_after_dropout),
)
