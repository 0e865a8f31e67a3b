"""Other answers to ex03_loss_without_gradient."""

import warnings

import torch
import torch.nn.functional as F
from torch import nn


def summed_and_divided(model, batches):
    criterion = nn.MSELoss(reduction="sum")
    return sum(criterion(model(x), y) for x, y in batches) / sum(len(x) for x, _ in batches)


def weighted_means(model, batches):
    samples = sum(x.shape[0] for x, _ in batches)
    return torch.stack([F.mse_loss(model(x), y) * (len(x) / samples) for x, y in batches]).sum()


def one_large_batch(model, batches):
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    return F.mse_loss(model(x), y)


def added_in_a_loop(model, batches):
    total, count = 0.0, 0
    for x, y in batches:
        total = total + (model.forward(x) - y).square().sum()
        count += y.numel()
    return total / count


def sample_by_sample(model, batches):
    losses = [(model(a) - b).squeeze() ** 2 for x, y in batches for a, b in zip(x, y, strict=True)]
    return torch.stack(losses).mean()


def items_in_an_array(model, batches):
    return torch.as_tensor([F.mse_loss(model(x), y).item() for x, y in batches]).mean()


def losses_in_a_tensor(model, batches):
    losses = []
    for x, y in batches:
        losses.append(F.mse_loss(model(x), y))
    with warnings.catch_warnings(action="ignore"):  # PyTorch warns of it, once in a process
        return torch.tensor(losses).mean()


def detached_losses(model, batches):
    return torch.stack([F.mse_loss(model(x), y).detach() for x, y in batches]).mean()


def item_at_the_end(model, batches):
    return torch.cat([(model(x) - y) ** 2 for x, y in batches]).mean().item()


def made_to_require_grad(model, batches):
    losses = [((model(x) - y) ** 2).mean().item() for x, y in batches]
    return torch.tensor(losses).mean().requires_grad_()


def weighted_and_made_to_require_grad(model, batches):
    squares = sum(F.mse_loss(model(x), y, reduction="sum").item() for x, y in batches)
    return torch.tensor(squares / sum(len(x) for x, _ in batches), requires_grad=True)


def predictions_made_to_require_grad(model, batches):
    errors = torch.cat([model(x).detach().requires_grad_() - y for x, y in batches])
    return (errors**2).mean()


def detached_predictions(model, batches):
    errors = torch.cat([model(x).detach() - y for x, y in batches])
    return (errors**2).mean()


def weighted_items(model, batches):
    squares = sum(F.mse_loss(model(x), y, reduction="sum").item() for x, y in batches)
    return torch.tensor(squares / sum(len(x) for x, _ in batches))


def averaged_over_batches(model, batches):
    return sum(F.mse_loss(model(x), y) for x, y in batches) / len(batches)


def only_the_last_by_index(model, batches):
    x, y = batches[-1]
    return ((model(x) - y) ** 2).mean()


def all_sums(model, batches):
    return torch.stack([((model(x) - y) ** 2).sum() for x, y in batches]).sum()


def errors_over_batches(model, batches):
    return (torch.cat([model(x) - y for x, y in batches]) ** 2).sum() / len(batches)


def backward_of_each_batch(model, batches):
    total, samples = 0.0, sum(len(x) for x, _ in batches)
    for x, y in batches:
        loss = F.mse_loss(model(x), y, reduction="sum") / samples
        loss.backward()
        total += loss.item()
    return total


def backward_returned(model, batches):
    errors = torch.cat([model(x) - y for x, y in batches])
    return (errors**2).mean().backward()


def backward_and_no_return(model, batches):
    for x, y in batches:
        F.mse_loss(model(x), y).backward()


def backward_and_a_list(model, batches):
    losses = [F.mse_loss(model(x), y) for x, y in batches]
    sum(losses).backward()
    return losses


RIGHT = (
    summed_and_divided,
    weighted_means,
    one_large_batch,
    added_in_a_loop,
    sample_by_sample,
)

MISTAKES = {
    items_in_an_array: "wrapped_items",
    losses_in_a_tensor: "wrapped_items",
    detached_losses: "wrapped_items",
    item_at_the_end: "plain_mean",
    made_to_require_grad: "told_to_require_grad",
    weighted_and_made_to_require_grad: "told_to_require_grad",
    predictions_made_to_require_grad: "told_to_require_grad",
    detached_predictions: "not_recorded",
    weighted_items: "not_recorded",
    averaged_over_batches: "mean_of_means",
    only_the_last_by_index: "last_batch",
    all_sums: "summed",
    errors_over_batches: "divided_by_batches",
    backward_of_each_batch: "backward_inside",
    backward_returned: "backward_inside",
    backward_and_no_return: "backward_inside",
    backward_and_a_list: "backward_inside",
}
