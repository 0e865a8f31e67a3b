"""The loss that does not require gradients.

item() gives a plain number, which is right for a log and wrong for a loss: a
number does not know what it was computed from. Setting requires_grad=True on
what was made from it silences the error and trains nothing. And a mean over
batches is the mean over all samples only where the batches are equally large;
the last batch of an epoch often is not.
"""

# mypy: disable-error-code="assignment,no-untyped-call,return-value"

from __future__ import annotations

import random

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


def loss_without_gradient(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Mend this code, so that its caller can call backward() on the result:

        losses = []
        for x, y in batches:
            loss = nn.functional.mse_loss(model(x), y)
            losses.append(loss.item())
        return torch.tensor(losses).mean()

    As it is, backward() raises "element 0 of tensors does not require grad
    and does not have a grad_fn". Return the mean of the squared errors over
    all samples of all batches, each sample with the same weight, as a scalar
    tensor from which backward() finds the way to the parameters of the model.
    Leave the call of backward() to the caller.

    model is an nn.Module that maps (n, 1) to (n, 1). batches is a list of
    pairs (x, y), two tensors of shape (n, 1), and n differs from batch to
    batch. For an nn.Linear(1, 1) of weight 1 and bias 0, one batch of x = 1
    with y = 5 and one of x = 1, 2, 3 with y = 3, 4, 5, the squared errors are
    16, 4, 4 and 4: the result is 7, and backward() brings the weight the
    gradient -8 and the bias -5. While you are judged, gradients reach the
    parameters multiplied by a secret number.
    """
    errors = torch.cat([model(x) - y for x, y in batches])
    return (errors**2).mean()


HINTS = (
    "What does a plain number, as item() gives it, know of the parameters "
    "that it was computed from? And how many samples does each batch have?",
    "Look up the argument reduction of nn.functional.mse_loss, and "
    "torch.stack and torch.cat, which put tensors together and keep their "
    "graphs.",
    "torch.____ of model(x) - y of all batches, then the mean of its "
    "squares. Or add up mse_loss(model(x), y, reduction=____) and divide by "
    "the number of samples.",
)


def wrapped_items(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """The result does not require grad: item(), or torch.tensor() itself,
    took nothing but a number out of each loss, unless detach() or no_grad()
    had cut the graph off before.

    Keep the losses as they are. And {got[loss]} is the mean of the losses of
    the batches; over all samples it is {want[loss]}.
    """
    losses = []
    for x, y in batches:
        loss = nn.functional.mse_loss(model(x), y)
        losses.append(loss.item())
    return torch.tensor(losses).mean()


def plain_mean(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> float:
    """You returned a float, and only a tensor has a backward(). A float is
    what item() and float() give; what is computed from such numbers alone is
    a plain number as well.

    Keep the losses as they are, and compute with the tensors.
    """
    losses = [nn.functional.mse_loss(model(x), y).item() for x, y in batches]
    return sum(losses) / len(losses)


def told_to_require_grad(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """backward() runs now, and the .grad of every parameter is None all the
    same: the result requires grad, but nothing leads from it to them.

    Perhaps another model was used. Or requires_grad=True, or
    requires_grad_(), was set on a tensor that had been cut off: then the
    error is gone and the training with it. A loss requires grad by itself
    where it is computed from the parameters.
    """
    losses = []
    for x, y in batches:
        loss = nn.functional.mse_loss(model(x), y)
        losses.append(loss.item())
    return torch.tensor(losses, requires_grad=True).mean()


def not_recorded(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """The result, {got[loss]}, does not require grad, so backward() raises.
    On the way to it the graph was cut off or never recorded.

    Look for no_grad(), for detach(), for item() and for torch.tensor() of
    something that was computed: each of them leaves nothing but the number.
    """
    with torch.no_grad():
        errors = torch.cat([model(x) - y for x, y in batches])
        return (errors**2).mean()


def mean_of_means(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """The graph is there, but {got[loss]} is the mean of the means of the
    batches, where the mean over all samples is {want[loss]}.

    The batches have {sizes} samples. A sample in a small one counts for more
    than a sample in a large one.
    """
    losses = [nn.functional.mse_loss(model(x), y) for x, y in batches]
    return torch.stack(losses).mean()


def sum_of_means(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """The graph is there, but {got[loss]} is the sum of the means of the
    batches: it grows with the number of batches, and so do its gradients.

    The mean over all samples is {want[loss]}.
    """
    total = 0
    for x, y in batches:
        total += nn.functional.mse_loss(model(x), y)
    return total


def summed(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The graph is there and every sample has the same weight, but
    {got[loss]} is the sum of the squared errors.

    Asked for is their mean, {want[loss]}: it does not grow with the number of
    samples, and neither do its gradients.
    """
    total = 0
    for x, y in batches:
        total += nn.functional.mse_loss(model(x), y, reduction="sum")
    return total


def divided_by_batches(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """The graph is there, but {got[loss]} is the sum of the squared errors
    divided by the number of batches.

    The batches have {sizes} samples, and a mean over all samples, here
    {want[loss]}, divides by the number of samples. len(batches) is another.
    """
    total = 0
    for x, y in batches:
        total += nn.functional.mse_loss(model(x), y, reduction="sum")
    return total / len(batches)


def last_batch(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """The graph is there, but {got[loss]} is the loss of the last batch
    alone.

    The name loss means another tensor in every round of the loop. Add up
    what the batches bring.
    """
    for x, y in batches:
        loss = nn.functional.mse_loss(model(x), y)
    return loss


def backward_inside(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Gradients came to the parameters before the caller had called
    backward(): your function went backward itself.

    The caller's own backward() would then raise, or add to what is there.
    Return the loss, and leave the gradients to the caller.
    """
    errors = torch.cat([model(x) - y for x, y in batches])
    loss = (errors**2).mean()
    loss.backward()
    return loss


def wrapped_requires_grad(w: Tensor) -> bool:
    """False. item() gives a plain number, and what torch.tensor() makes of a
    number has no history, though w requires grad.
    """
    loss = w**2
    return torch.tensor(loss.item()).requires_grad


def grad_of_wrapped(w: Tensor) -> Tensor | None:
    """None, and no error. The new tensor is a leaf of its own: backward()
    gives it the gradient 1, and there is no way on to w.
    """
    loss = torch.tensor((w**2).item(), requires_grad=True)
    loss.backward()
    return w.grad


def draw(rng: random.Random) -> dict[str, Input]:
    """Weight and bias are negative and the data positive: nothing cancels."""
    sizes = rng.sample(range(1, 5), rng.randrange(2, 4))
    return {
        "x": [[rng.randrange(4, 17) / 8] for _ in range(sum(sizes))],
        "y": [[rng.randrange(4, 33) / 8] for _ in range(sum(sizes))],
        "sizes": sizes,
        "w": -rng.randrange(4, 17) / 8,
        "b": -rng.randrange(4, 17) / 8,
    }


def observe(attempt: Attempt, trial: Trial) -> Values:
    x, y, w = (trial.tensor(name) for name in ("x", "y", "w"))
    model = nn.Linear(1, 1, device=w.device, dtype=w.dtype)
    came: list[Tensor] = []

    def multiply(gradient: Tensor) -> Tensor:
        came.append(gradient)
        return gradient * trial.factor

    with torch.no_grad():
        model.weight.fill_(w)
        model.bias.fill_(trial.tensor("b"))
    weight, bias = model.weight, model.bias
    weight.register_hook(multiply)
    bias.register_hook(multiply)
    sizes = trial.inputs["sizes"]
    batches = list(zip(x.split(sizes), y.split(sizes), strict=True))
    loss = attempt(model, batches)
    if came:  # whatever was returned, and whatever graph is left
        return {"backward() was called inside": True}
    if not isinstance(loss, Tensor):
        forgotten = " Is there a return?" if loss is None else ""
        raise AnswerError(
            f"It returned {describe(loss)}.{forgotten} Expected a scalar "
            "tensor: only that has a backward()."
        )
    if loss.requires_grad and loss.shape == ():
        loss.backward()  # as the caller would
    return {
        "loss": read_value(loss),
        "requires grad": loss.requires_grad,
        "weight.grad": read_value(_scalar(weight.grad)),
        "bias.grad": read_value(_scalar(bias.grad)),
        "backward() was called inside": False,
    }


def _scalar(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.squeeze()


def expected(trial: Trial) -> Values:
    """The mean over all samples, however they lie in batches."""
    w, b = trial.inputs["w"], trial.inputs["b"]
    xs = [number for (number,) in trial.inputs["x"]]
    ys = [number for (number,) in trial.inputs["y"]]
    errors = [w * x + b - y for x, y in zip(xs, ys, strict=True)]
    slope = sum(e * x for e, x in zip(errors, xs, strict=True))
    return {
        "loss": sum(e**2 for e in errors) / len(xs),
        "requires grad": True,
        "weight.grad": trial.factor * 2 * slope / len(xs),
        "bias.grad": trial.factor * 2 * sum(errors) / len(xs),
        "backward() was called inside": False,
    }


CHECK = Check(
    solution=loss_without_gradient,
    first={
        "x": [[1.0], [1.0], [2.0], [3.0]],
        "y": [[5.0], [3.0], [4.0], [5.0]],
        "sizes": [1, 3],
        "w": 1.0,
        "b": 0.0,
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(wrapped_items, hint=1),
        Mistake(plain_mean, hint=1),
        Mistake(mean_of_means, hint=3),
        Mistake(sum_of_means, hint=3),
        Mistake(summed, hint=3),
        Mistake(divided_by_batches, hint=3),
        Mistake(last_batch, hint=2),
        Mistake(backward_inside, hint=2),
        # Known by the facts alone, whatever the number is.
        Mistake(told_to_require_grad, hint=1, within=1e6),
        Mistake(not_recorded, hint=1, within=1e6),
    ),
    predictions=(wrapped_requires_grad, grad_of_wrapped),
)
