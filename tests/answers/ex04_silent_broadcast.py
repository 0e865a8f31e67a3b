"""Other answers to ex04_silent_broadcast."""

import torch
from torch import nn
from torch.nn import functional as F


def like_the_prediction(model, x, y):
    prediction = model(x)
    return F.mse_loss(prediction, y.view_as(prediction))


def counted(model, x, y):
    prediction = model(x).reshape(-1)
    if y.numel() != len(prediction):
        raise ValueError(f"{len(prediction)} samples, {y.numel()} targets")
    return ((prediction - y.reshape(-1)) ** 2).mean()


def asserted(model, x, y):
    prediction = model(x).flatten()
    assert y.numel() == prediction.numel(), "one target for each sample"
    return F.mse_loss(prediction, y.flatten())


def columns(model, x, y):
    y = y.view(len(x), 1)
    return nn.MSELoss()(model(x).view(len(x), 1), y)


def squeezed_in_one_dimension(model, x, y):
    prediction = model(x)
    if prediction.dim() == 2:
        prediction = prediction.squeeze(1)
    if y.dim() == 2:
        y = y.squeeze(1)
    if prediction.shape != y.shape:
        raise RuntimeError(f"{prediction.shape} and {y.shape} do not belong together")
    return (prediction - y).square().mean()


def one_by_one(model, x, y):
    pairs = zip(model(x).flatten(), y.flatten(), strict=True)  # a ValueError where one is longer
    return torch.stack([(p - t) ** 2 for p, t in pairs]).mean()


def as_a_product(model, x, y):
    error = torch.sub(model(x).flatten(), y.reshape(x.shape[:1]))
    return error @ error / error.numel()


def equal_shapes_asserted(model, x, y):
    prediction = model(x)
    assert prediction.shape == y.shape
    return F.mse_loss(prediction, y)


def matrix(model, x, y):
    return torch.mean(torch.pow(torch.subtract(y, model(x)), 2))


def mse_module(model, x, y):
    criterion = nn.MSELoss(reduction="mean")
    return criterion(model(x), y)


def flat_mse(model, x, y):
    return nn.MSELoss()(model(x).flatten(), y.flatten())


def squeezed_both(model, x, y):
    return F.mse_loss(model(x).squeeze(), y.squeeze())


def transposed(model, x, y):
    prediction = model(x)
    prediction = prediction.T if prediction.dim() == 2 else prediction
    return ((prediction - y) ** 2).mean()


def with_none(model, x, y):
    return (model(x) - y[:, None]).square().mean()


def plain_numbers(model, x, y):
    pairs = zip(model(x).flatten().tolist(), y.flatten().tolist(), strict=True)
    return torch.tensor([(p - t) ** 2 for p, t in pairs], dtype=x.dtype).mean().requires_grad_()


RIGHT = (
    like_the_prediction,
    counted,
    asserted,
    columns,
    squeezed_in_one_dimension,
    one_by_one,
    as_a_product,
)

MISTAKES = {
    equal_shapes_asserted: "only_equal_shapes",
    matrix: "broadcast",
    mse_module: "mse_loss_alone",
    flat_mse: "unchecked",
    squeezed_both: "unchecked",
    transposed: "prediction_alone",
    with_none: "unsqueezed",
    plain_numbers: "detached",
}
