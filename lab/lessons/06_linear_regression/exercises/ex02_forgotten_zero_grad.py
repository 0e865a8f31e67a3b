"""Forgotten zero_grad.

A loop without zero_grad() trains on the sum of all the gradients so far; one
that calls it between backward() and step() does not train at all. Neither
raises an error. The order zero_grad, backward, step is what to look for first
in a loop whose loss swings, or whose loss stays where it is.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.optim import SGD

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


def forgotten_zero_grad(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """Mend this loop, in which the loss stays the same in every epoch:

        losses = []
        for _ in range(epochs):
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.zero_grad()
            optimizer.step()
            losses.append(loss.item())
        return losses

    Each step is to use the gradients of the present loss and nothing else.
    Let the optimizer that was given take the steps, one in each epoch, and
    return the losses as they are before the steps.

    model is an nn.Linear(1, 1), x and y are tensors of shape (N, 1), and
    optimizer is a torch.optim.SGD, without momentum, over the parameters of
    the model. The .grad of these parameters is not None: somebody has tried
    backward() with other data before, and what that has left must not play a
    part.

    For weight 0, bias 0, x = 1 and 2, y = 2 and 4, a learning rate of 0.125
    and 2 epochs the losses are 10 and 0.28125. While you are judged, what
    backward() brings to the parameters is multiplied by a secret number, so
    the losses may also rise.
    """
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


HINTS = (
    "What is in the .grad of the parameters when step() looks at it? And "
    "what when backward() adds to it?",
    "Look up zero_grad and step in torch.optim.Optimizer, and where each of "
    "them stands in a training loop: before backward(), or after it.",
    "In each epoch: optimizer.____(), then loss.____(), then "
    "optimizer.____().",
)


def cleared_too_early(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """The model does not move at all, every loss is the same: {got[losses]}.
    What backward() has brought is cleared before step() looks at it.

    zero_grad() sets each .grad to None, and step() passes over such a
    parameter without a word. Between backward() and step() nothing may clear.
    """
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


def step_too_early(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """The model does not move at all, every loss is the same: {got[losses]}.
    There is a gradient when the loop ends, but none when step() looks.

    step() stands between zero_grad() and backward(): it comes before the
    gradients that it is to use.
    """
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.step()
        loss.backward()
        losses.append(loss.item())
    return losses


def never_cleared(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """Already the first step goes wrong: the .grad of the weight held
    {weight_grad} from before, and backward() added to it.

    Nothing in this loop clears, so every step uses the sum of all the
    gradients so far. The model ends at {got[weight]} and {got[bias]} where
    {want[weight]} and {want[bias]} are expected.
    """
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def cleared_once(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """The first step is right. From the second on the gradients add up: the
    model ends at {got[weight]} and {got[bias]} where {want[weight]} and
    {want[bias]} are expected.

    You cleared once, before the loop. Each backward() in it adds to what the
    one before has left.
    """
    optimizer.zero_grad()
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def cleared_afterwards(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """You cleared when the loop was over. In it every step used the sum of
    what was there before, {weight_grad} for the weight, and of all the
    gradients so far.

    What is to happen in every epoch has to be indented as the rest of the
    loop is, and here it has to happen before backward().
    """
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    optimizer.zero_grad()
    return losses


def cleared_last(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """The first step goes wrong, the others do not add to it: you clear at
    the end of each epoch, and the .grad of the weight held {weight_grad} when
    the loop began.

    That is enough only where every .grad is empty at first, and who calls
    you has not promised it. Clear before backward().
    """
    losses = []
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def only_the_weight(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """The gradient of the weight is cleared, that of the bias is not: its
    .grad held {bias_grad} from before, and every epoch adds to it. The bias
    ends at {got[bias]} where {want[bias]} is expected.

    The optimizer knows all of its parameters. Let it clear them.
    """
    losses = []
    for _ in range(epochs):
        model.weight.grad = None
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def without_backward(
    model: nn.Linear, optimizer: SGD, x: Tensor, y: Tensor, epochs: int
) -> list[float]:
    """There is nothing to clear, for backward() brought nothing: the .grad
    that step() used was put there by hand, from a formula or from finite
    differences.

    That misses the secret {factor}, by which everything that backward()
    brings is multiplied. Keep backward() and mend the order.
    """
    losses = []
    for _ in range(epochs):
        error = (model(x) - y).detach()
        model.weight.grad = 2 * (error * x).mean().reshape(1, 1)
        model.bias.grad = 2 * error.mean().reshape(1)
        optimizer.step()
        losses.append((error**2).mean().item())
    return losses


def what_the_third_step_uses(w: Tensor) -> Tensor | None:
    """9. The slope is 3 wherever w is, and nothing was cleared: the first
    step used 3, the second 3 + 3 and the third 3 + 3 + 3.
    """
    optimizer = SGD([w], lr=0.25)
    for _ in range(3):
        loss = 3 * w
        loss.backward()
        optimizer.step()
    return w.grad


def grad_after_zero_grad(w: Tensor) -> Tensor | None:
    """None, and not 0: zero_grad() lets the tensor go, which saves its
    memory. With zero_grad(set_to_none=False) it would be 0, as the name says.
    A step() passes over None; at 0 an optimizer with momentum would move on.
    """
    optimizer = SGD([w], lr=0.25)
    loss = 3 * w
    loss.backward()
    optimizer.zero_grad()
    return w.grad


def draw(rng: random.Random) -> dict[str, Input]:
    """Weight and bias are negative, the data positive and the steps short, so
    that little cancels, whatever the secret is.
    """
    size = rng.randrange(2, 5)
    return {
        "x": [[rng.randrange(4, 13) / 8] for _ in range(size)],
        "y": [[rng.randrange(8, 25) / 8] for _ in range(size)],
        "w": -rng.randrange(24, 41) / 8,
        "b": -rng.randrange(24, 41) / 8,
        "lr": rng.choice((1 / 256, 1 / 128)),
        "epochs": 3,
        "weight_grad": rng.randrange(8, 33) / 8,
        "bias_grad": rng.randrange(8, 33) / 8,
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    x, y, w = (trial.tensor(name) for name in ("x", "y", "w"))
    model = nn.Linear(1, 1, device=w.device, dtype=w.dtype)
    parameters = weight, bias = model.weight, model.bias
    came, steps = list[Tensor](), list[object]()

    def multiply(gradient: Tensor) -> Tensor:
        came.append(gradient)
        return gradient * trial.factor

    with torch.no_grad():
        weight.fill_(w)
        bias.fill_(trial.tensor("b"))
    weight.grad = trial.tensor("weight_grad").reshape(1, 1)
    bias.grad = trial.tensor("bias_grad").reshape(1)
    for parameter in parameters:
        parameter.register_hook(multiply)
    optimizer = SGD(parameters, lr=trial.inputs["lr"])
    optimizer.register_step_post_hook(lambda *stepped: steps.append(stepped))
    returned = attempt(model, optimizer, x, y, trial.inputs["epochs"])
    if not isinstance(returned, list | tuple | Tensor):
        forgotten = " Is there a return?" if returned is None else ""
        raise AnswerError(
            f"It returned {describe(returned)}.{forgotten} Expected a list, "
            "the losses."
        )
    return {
        "losses": read_value(returned),
        "weight": read_value(weight.detach().squeeze()),
        "bias": read_value(bias.detach().squeeze()),
        "steps of the optimizer": float(len(steps)),
        "the model has the same parameters": model.weight is weight
        and model.bias is bias,
        "the parameters require grad": all(
            parameter.requires_grad for parameter in parameters
        ),
        # Nothing is expected of these. They tell mistakes apart.
        "backward() reached the parameters": bool(came),
        "cleared at the end": not any(
            parameter.grad is not None and parameter.grad.any()
            for parameter in parameters
        ),
    }


def expected(trial: Trial) -> Values:
    """The loop written out, with the gradients in closed form."""
    w, b, lr = (trial.inputs[name] for name in ("w", "b", "lr"))
    xs = [number for (number,) in trial.inputs["x"]]
    ys = [number for (number,) in trial.inputs["y"]]
    losses, n = [], len(xs)
    for _ in range(trial.inputs["epochs"]):
        errors = [w * x + b - y for x, y in zip(xs, ys, strict=True)]
        losses.append(sum(e**2 for e in errors) / n)
        slope = sum(e * x for e, x in zip(errors, xs, strict=True))
        w -= lr * trial.factor * 2 * slope / n
        b -= lr * trial.factor * 2 * sum(errors) / n
    return {
        "losses": losses,
        "weight": w,
        "bias": b,
        "steps of the optimizer": float(trial.inputs["epochs"]),
        "the model has the same parameters": True,
        "the parameters require grad": True,
    }


CHECK = Check(
    solution=forgotten_zero_grad,
    first={
        "x": [[1.0], [2.0]],
        "y": [[2.0], [4.0]],
        "w": 0.0,
        "b": 0.0,
        "lr": 0.125,
        "epochs": 2,
        "weight_grad": 4.0,
        "bias_grad": 2.0,
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(cleared_too_early, hint=1),
        Mistake(step_too_early, hint=3),
        Mistake(never_cleared, hint=2),
        Mistake(cleared_once, hint=1),
        Mistake(cleared_afterwards, hint=3),
        Mistake(cleared_last, hint=1),
        Mistake(only_the_weight, hint=2),
        Mistake(without_backward, hint=2, within=0.01),
    ),
    # Every step rounds, and the next one starts from the rounded numbers.
    dtypes=("float64", "float32"),
    predictions=(what_the_third_step_uses, grad_after_zero_grad),
)
