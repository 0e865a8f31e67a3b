"""Other answers to ex01_heights_and_weights."""

import torch
import torch.nn.functional as F
from torch import nn


def by_hand(model, heights, weights, lr, epochs):
    losses = []
    for _ in range(epochs):
        loss = ((model(heights) - weights) ** 2).mean()
        loss.backward()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for p in model.parameters():
                p -= lr * p.grad
                p.grad.zero_()
    return losses


def cleared_at_the_end(model, heights, weights, lr, epochs):
    criterion, losses = nn.MSELoss(), []
    optimizer = torch.optim.SGD(model.parameters(), lr, foreach=False)
    for _ in range(epochs):
        loss = criterion(weights, model(heights))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        losses.append(loss.detach())
    return losses


def in_a_closure(model, heights, weights, lr, epochs):
    optimizer = torch.optim.SGD(list(model.parameters()), lr=lr)

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(heights), weights)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(epochs)]


def by_autograd_grad(model, heights, weights, lr, epochs):
    parameters, losses = list(model.parameters()), torch.zeros(epochs, dtype=heights.dtype, device=heights.device)
    for epoch in range(epochs):
        loss = (model.forward(heights) - weights).square().sum() / heights.shape[0]
        losses[epoch] = loss.detach()
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.data = p.data - lr * gradient
    return losses


def one_person_after_the_other(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        model.zero_grad()
        total = 0.0
        for height, weight in zip(heights, weights, strict=True):
            loss = F.mse_loss(model(height), weight) / len(heights)
            loss.backward()
            total += loss.detach()
        optimizer.step()
        losses.append(total)
    return losses


def accumulated(model, heights, weights, lr, epochs):
    losses = []
    for _ in range(epochs):
        loss = nn.MSELoss()(model(heights), weights)
        loss.backward()
        losses.append(loss.item())
        for p in model.parameters():
            p.data.sub_(p.grad, alpha=lr)
    return losses


def a_new_layer(model, heights, weights, lr, epochs):
    model = nn.Linear(1, 1, dtype=heights.dtype, device=heights.device)
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        loss = F.mse_loss(model(heights), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def rebound(model, heights, weights, lr, epochs):
    losses = []
    for _ in range(epochs):
        loss = F.mse_loss(model(heights), weights)
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for p in model.parameters():
                p = p - lr * p.grad
        model.zero_grad()
    return losses


def cleared_between(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        loss = F.mse_loss(model(heights), weights)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


def stepped_too_early(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        loss = F.mse_loss(model(heights), weights)
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()
        losses.append(loss.item())
    return losses


def without_lr(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.SGD(model.parameters()), []
    for _ in range(epochs):
        loss = F.mse_loss(model(heights), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def adam_one_by_one(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.Adam(model.parameters(), lr, foreach=False), []
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = nn.MSELoss()(model(heights), weights)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def last_loss(model, heights, weights, lr, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = F.mse_loss(model(heights), weights)
        loss.backward()
        optimizer.step()
    return loss.item()


def flat_weights(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        loss = torch.mean((model(heights) - weights.flatten()) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def added(model, heights, weights, lr, epochs):
    losses = []
    for _ in range(epochs):
        loss = F.mse_loss(model(heights), weights)
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for p in model.parameters():
                p += lr * p.grad
    return losses


def finite_differences(model, heights, weights, lr, epochs):
    h, losses = 2.0**-7, []

    def loss_at(parameter, step):
        parameter += step
        loss = F.mse_loss(model(heights), weights)
        parameter -= step
        return loss

    with torch.no_grad():
        for _ in range(epochs):
            losses.append(F.mse_loss(model(heights), weights).item())
            slopes = [(loss_at(p, h) - loss_at(p, -h)) / (2 * h) for p in model.parameters()]
            for p, slope in zip(model.parameters(), slopes, strict=True):
                p -= lr * slope
    return losses


def by_torch_func(model, heights, weights, lr, epochs):
    def loss_of(parameters):
        return F.mse_loss(torch.func.functional_call(model, parameters, heights), weights)

    losses = []
    for _ in range(epochs):
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        gradients, loss = torch.func.grad_and_value(loss_of)(parameters)
        losses.append(loss.item())
        with torch.no_grad():
            for name, p in model.named_parameters():
                p -= lr * gradients[name]
    return losses


def by_lstsq(model, heights, weights, lr, epochs):
    design = torch.cat([heights, torch.ones_like(heights)], dim=1)
    solution = torch.linalg.lstsq(design, weights).solution
    for p, number in zip(model.parameters(), solution, strict=True):
        p.data.fill_(number.item())
    return [F.mse_loss(model(heights), weights).item() for _ in range(epochs)]


def unlearned_sums(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        loss = ((model(heights) - weights) ** 2).sum()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


def zeros(model, heights, weights, lr, epochs):
    return [0.0] * epochs


def returned_in_the_loop(model, heights, weights, lr, epochs):
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=lr), []
    for _ in range(epochs):
        loss = F.mse_loss(model(heights), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        return losses
    return losses


RIGHT = (
    by_hand,
    cleared_at_the_end,
    in_a_closure,
    by_autograd_grad,
    one_person_after_the_other,
)

MISTAKES = {
    accumulated: "forgot_zero",
    a_new_layer: "another_model",
    unlearned_sums: "another_model",
    zeros: "another_model",
    returned_in_the_loop: "one_epoch",
    rebound: "never_moved",
    cleared_between: "never_moved",
    stepped_too_early: "never_moved",
    without_lr: "default_lr",
    adam_one_by_one: "adam",
    last_loss: "only_the_last",
    flat_weights: "broadcast",
    added: "uphill",
    finite_differences: "by_formula",
    by_torch_func: "by_formula",
    by_lstsq: "by_formula",
}
