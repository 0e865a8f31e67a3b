"""Heights and weights.

Nothing in a training loop knows what the numbers mean: times of a delivery or
weights of people, it is the same four lines. Only the learning rate depends
on the data, for its limit does. A list of losses that are plain numbers is
what one looks at to see whether a model learns.
"""

# mypy: disable-error-code="misc,no-untyped-call,return-value"

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from functools import partial
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
    Values,
    describe,
    read_value,
)


def heights_and_weights(
    model: nn.Module, heights: Tensor, weights: Tensor, lr: float, epochs: int
) -> list[float]:
    """Train the model to predict weights from heights; return the losses.

    heights and weights are tensors of shape (N, 1): the heights of N people
    in metres and their weights in kilograms. model is an nn.Module that maps
    (N, 1) to (N, 1). It may be an nn.Linear(1, 1) or a module of somebody's
    own, whose parameters have other names: model.parameters() has them all.
    They require grad, and their .grad is None so far.

    In each epoch predict, compute the mean squared error over all N people,
    let backward() bring its gradients, and take one step: every parameter
    moves by lr times its gradient, downhill. The parameters of the model that
    was given move themselves, and require grad afterwards as before. Return a
    list with one loss for each epoch, as it was before the step of that
    epoch: floats, or tensors that hold no graph.

    For an nn.Linear(1, 1) of weight 40 and bias -20, heights 1.5, 1.5, 2 and
    2, weights 54, 62, 76 and 84, lr = 0.125 and 2 epochs the losses are 378
    and about 17.36. While you are judged, gradients reach the parameters
    multiplied by a secret number, so the losses may also rise.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(heights), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


HINTS = (
    "Which four things happen in every epoch, and in which of them do the "
    "gradients of the epoch before get in the way?",
    "Look up torch.optim.SGD: what it is given, and its methods zero_grad "
    "and step. For the loss, nn.MSELoss or nn.functional.mse_loss; for a "
    "number without a graph, torch.Tensor.item.",
    "loss = ____(model(heights), weights), then clear, loss.____(), and a "
    "____ of the optimizer; note loss.____() of every epoch.",
)


def _train(
    model: nn.Module,
    heights: Tensor,
    weights: Tensor,
    lr: float,
    epochs: int,
    *,
    kind: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    criterion: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss,
    clear: bool = True,
) -> list[float]:
    """Do as is asked, unless told otherwise."""
    optimizer = kind(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        loss = criterion(model(heights), weights)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def forgot_zero(*given: Any) -> list[float]:
    """The first step is right, those after it are not: the parameters end at
    {got[w]} and {got[b]} where {want[w]} and {want[b]} are expected. Each
    step uses the sum of all the gradients so far.

    backward() adds to .grad. Clear it once in every epoch.
    """
    return _train(*given, clear=False)


def summed(*given: Any) -> list[float]:
    """The losses are {got[losses]} where {want[losses]} is expected: the sum
    of the squared errors, N times their mean already in the first epoch.

    Its gradients are N times as large as well, so a learning rate that suits
    ten people is too large for a thousand. Take the mean.
    """
    return _train(*given, criterion=nn.MSELoss(reduction="sum"))


def broadcast(*given: Any) -> list[float]:
    """The first loss is already wrong, {got[losses]} where {want[losses]} is
    expected: every prediction was compared with the weight of everybody.

    A tensor of shape (N,) minus one of shape (N, 1) has shape (N, N), without
    a word. Predictions and weights both have the shape (N, 1): leave it.
    """
    return _train(*given, criterion=lambda p, y: (p[:, 0] - y).pow(2).mean())


def uphill(*given: Any) -> list[float]:
    """The parameters went the other way, to {got[w]} and {got[b]} where
    {want[w]} and {want[b]} are expected: you added the gradients.

    A gradient points to where the loss grows. A step downhill subtracts it.
    """
    return _train(*given, kind=partial(torch.optim.SGD, maximize=True))


def default_lr(*given: Any) -> list[float]:
    """Your steps have the learning rate 0.001, which torch.optim.SGD takes
    where none is given, and not {lr}: the parameters end at {got[w]} and
    {got[b]} where {want[w]} and {want[b]} are expected.

    The gradients are right. Whoever calls you chooses how far they lead.
    """
    return _train(*given, kind=lambda p, lr: torch.optim.SGD(p))


def adam(*given: Any) -> list[float]:
    """The parameters went to {got[w]} and {got[b]} with the steps of Adam,
    which divides each gradient by its own size: the first step is as long as
    lr, {lr}, whatever the gradient is.

    Asked for is a step of lr times the gradient, without such a division.
    """
    return _train(*given, kind=torch.optim.Adam)


def another_model(model: nn.Module, *given: Any) -> list[float]:
    """No gradient came to the parameters of the model that you were given,
    and they are still {got[w]} and {got[b]}. Perhaps no backward() was called
    through your loss, or the loss is that of another model: of a copy, or of
    an nn.Linear that you made yourself.

    Whoever called you holds the first model and will predict with that one.
    Train it and no other.
    """
    return _train(copy.deepcopy(model), *given)


def never_moved(
    model: nn.Module, heights: Tensor, weights: Tensor, lr: float, epochs: int
) -> list[float]:
    """Gradients came, but the parameters are still {got[w]} and {got[b]}, so
    every epoch has the same loss: {got[losses]}.

    Perhaps no step is taken, or it stands before backward() and the gradients
    that it is to use, or .grad is cleared between the two, or the step makes
    new tensors: p = p - … binds the name p anew, and the model keeps the
    parameter that it had.
    """
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(heights), weights)
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
    return losses


def forgot_backward(
    model: nn.Module, heights: Tensor, weights: Tensor, lr: float, epochs: int
) -> list[float]:
    """The parameters are still {got[w]} and {got[b]}, and no gradient ever
    came to them: there was no backward() through this loss.

    An optimizer says nothing of that. Its step() passes over every parameter
    whose .grad is None.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(heights), weights)
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


def losses_after(
    model: nn.Module, heights: Tensor, weights: Tensor, lr: float, epochs: int
) -> list[float]:
    """The model is trained well, but the list lacks the loss that it started
    from: it is {got[losses]} where {want[losses]} is expected.

    You predict again after the step and note that loss. The one that
    backward() went through is there already, without a second prediction.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(heights), weights).backward()
        optimizer.step()
        with torch.no_grad():
            loss = nn.functional.mse_loss(model(heights), weights)
        losses.append(loss.item())
    return losses


def only_the_last(*given: Any) -> float:
    """The model is trained well, but you return one number, {got[losses]},
    the loss of the last epoch.

    One loss does not show whether it falls. Put that of every epoch into a
    list: {want[losses]}.
    """
    return _train(*given)[-1]


def one_epoch(*given: Any) -> list[float]:
    """One step was taken, and one loss came back, {got[losses]}, where
    {epochs} epochs were asked for. Perhaps return stands inside the loop and
    ends it: indent it no deeper than the for.
    """
    return _train(*given[:4], epochs=1)


def graphs_kept(
    model: nn.Module, heights: Tensor, weights: Tensor, lr: float, epochs: int
) -> list[Tensor]:
    """The model is trained well and the numbers are right, but the losses in
    your list still require grad: each holds on to the graph of its epoch.

    What backward() leaves of these graphs stays in memory as long as the
    list does, more with every epoch. Keep the number alone.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(heights), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    return losses


def by_formula(
    model: nn.Module, heights: Tensor, weights: Tensor, lr: float, epochs: int
) -> list[float]:
    """No gradient came to the parameters through autograd. They moved to
    {got[w]} and {got[b]} all the same: by a formula, perhaps that of least
    squares, by finite differences, or in a copy, as torch.func makes them.

    That misses the secret number by which every gradient that backward()
    brings is multiplied. A formula fits one model, backward() fits all.
    """
    w, b = model.parameters()
    losses = []
    with torch.no_grad():
        for _ in range(epochs):
            error = model(heights) - weights
            losses.append((error**2).mean().item())
            w -= lr * 2 * (error * heights).mean()
            b -= lr * 2 * error.mean()
    return losses


def differences(heights: Tensor, weights: Tensor) -> int:
    """N times N. A column (N, 1) minus a row (N,) is a table (N, N): each
    height with each weight. mse_loss() warns of it, a minus does not.
    """
    return (heights - weights.squeeze()).numel()


def step_without_backward(w: Tensor) -> Tensor:
    """It is w as it was, and no error: there is no gradient yet, .grad is
    None, and step() passes over such a parameter.
    """
    optimizer = torch.optim.SGD([w], lr=0.5)
    optimizer.step()
    return w


class _Line(nn.Module):
    """A module whose parameters are named and shaped as nn.Linear's are not.

    (N, 1) -> (N, 1).
    """

    def __init__(self, slope: Tensor, start: Tensor) -> None:
        super().__init__()
        self.slope, self.start = nn.Parameter(slope), nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x + self.start


def draw(rng: random.Random) -> dict[str, Input]:
    """Everybody is heavier than the model says, and the steps are short, so
    that little cancels, whatever the secret is.
    """
    heights = rng.sample(range(48, 65), rng.randrange(3, 6))
    return {
        "heights": [[height / 32] for height in heights],
        "weights": [[float(rng.randrange(72, 97))] for _ in heights],
        "model": rng.choice(("nn.Linear", "a module of somebody's own")),
        "w": rng.randrange(160, 193) / 8,
        "b": rng.randrange(64, 97) / 8,
        "lr": rng.choice((1 / 512, 1 / 256)),
        "epochs": rng.randrange(2, 4),
    }


def _make_model(trial: Trial) -> nn.Module:
    w, b = trial.tensor("w"), trial.tensor("b")
    if trial.inputs["model"] != "nn.Linear":
        return _Line(w, b)
    model = nn.Linear(1, 1, device=w.device, dtype=w.dtype)
    with torch.no_grad():
        model.weight.fill_(w)
        model.bias.fill_(b)
    return model


def observe(attempt: Attempt, trial: Trial) -> Values:
    model, came = _make_model(trial), list[Tensor]()
    names = [name for name, _ in model.named_parameters()]
    w, b = model.parameters()

    def multiply(gradient: Tensor) -> Tensor:
        came.append(gradient)
        return gradient * trial.factor

    w.register_hook(multiply)
    b.register_hook(multiply)
    data = trial.tensor("heights"), trial.tensor("weights")
    lr, epochs = trial.inputs["lr"], trial.inputs["epochs"]
    returned = attempt(model, *data, lr, epochs)
    if not isinstance(returned, list | tuple | Tensor | float):
        forgotten = " Is there a return?" if returned is None else ""
        raise AnswerError(
            f"It returned {describe(returned)}.{forgotten} Expected a list "
            "with one loss for each epoch."
        )
    reached = [read_value(p.detach().squeeze()) for p in (w, b)]
    kept = [getattr(model, name, None) for name in names]
    return {
        "losses": read_value(returned),
        "the losses hold graphs": _holds_graph(returned),
        "w": reached[0],
        "b": reached[1],
        "the parameters moved": reached
        != [trial.inputs["w"], trial.inputs["b"]],
        "the model has the same parameters": kept[0] is w and kept[1] is b,
        "the parameters require grad": w.requires_grad and b.requires_grad,
        "the data are as they were": all(
            torch.equal(given, trial.tensor(name)) and not given.requires_grad
            for name, given in zip(("heights", "weights"), data, strict=True)
        ),
        "recording is on": torch.is_grad_enabled(),
        # What is expected needs no word of this. It tells mistakes apart.
        "gradients came to the parameters": bool(came),
    }


def _holds_graph(losses: Any) -> bool:
    if isinstance(losses, list | tuple):
        return any(map(_holds_graph, losses))
    return isinstance(losses, Tensor) and losses.requires_grad


def expected(trial: Trial) -> Values:
    """The loop written out, with the gradients in closed form."""
    w, b, lr = (trial.inputs[name] for name in ("w", "b", "lr"))
    heights = [height for (height,) in trial.inputs["heights"]]
    weights = [weight for (weight,) in trial.inputs["weights"]]
    losses, n = [], len(heights)
    for _ in range(trial.inputs["epochs"]):
        errors = [
            w * h + b - y for h, y in zip(heights, weights, strict=True)
        ]
        losses.append(sum(e**2 for e in errors) / n)
        slope = sum(e * h for e, h in zip(errors, heights, strict=True))
        w -= lr * trial.factor * 2 * slope / n
        b -= lr * trial.factor * 2 * sum(errors) / n
    return {
        "losses": losses,
        "the losses hold graphs": False,
        "w": w,
        "b": b,
        "the parameters moved": True,
        "the model has the same parameters": True,
        "the parameters require grad": True,
        "the data are as they were": True,
        "recording is on": True,
    }


CHECK = Check(
    solution=heights_and_weights,
    first={
        "heights": [[1.5], [1.5], [2.0], [2.0]],
        "weights": [[54.0], [62.0], [76.0], [84.0]],
        "model": "nn.Linear",
        "w": 40.0,
        "b": -20.0,
        "lr": 0.125,
        "epochs": 2,
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(forgot_zero, hint=1),
        Mistake(summed, hint=2),
        Mistake(broadcast, hint=3),
        Mistake(uphill, hint=2),
        Mistake(default_lr, hint=2),
        Mistake(adam, hint=2),
        Mistake(never_moved, hint=2),
        Mistake(forgot_backward, hint=3),
        # Known by the facts alone: a new model starts from random numbers.
        Mistake(another_model, hint=1, within=1e6),
        Mistake(by_formula, hint=1, within=1e6),
        Mistake(losses_after, hint=3),
        Mistake(only_the_last, hint=3),
        Mistake(one_epoch, hint=1),
        Mistake(graphs_kept, hint=2),
    ),
    # Every step rounds, and the next one starts from the rounded numbers.
    dtypes=("float64", "float32"),
    predictions=(differences, step_without_backward),
)
