"""Other answers to ex02_forgotten_zero_grad."""

import torch
import torch.nn.functional as F
from torch import nn


def cleared_right_before_backward(model, optimizer, x, y, epochs):
    losses = []
    for _ in range(epochs):
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


def cleared_before_and_after(model, optimizer, x, y, epochs):
    criterion, losses = nn.MSELoss(), []
    optimizer.zero_grad()
    for _ in range(epochs):
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def cleared_by_the_model(model, optimizer, x, y, epochs):
    losses = torch.empty(epochs, dtype=x.dtype, device=x.device)
    for epoch in range(epochs):
        model.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        losses[epoch] = loss.detach()
        loss.backward()
        optimizer.step()
    return losses


def in_a_closure(model, optimizer, x, y, epochs):
    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(epochs)]


def cleared_by_hand(model, optimizer, x, y, epochs):
    losses = []
    for _ in range(epochs):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = None
        loss = F.mse_loss(model(x), y)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


def zeros_in_between(model, optimizer, x, y, epochs):
    losses = []
    for _ in range(epochs):
        loss = F.mse_loss(model(x), y)
        loss.backward()
        for p in model.parameters():
            p.grad.zero_()
        optimizer.step()
        losses.append(loss.item())
    return losses


def in_the_order_of_the_alphabet_reversed(model, optimizer, x, y, epochs):
    losses = []
    for _ in range(epochs):
        optimizer.zero_grad()
        optimizer.step()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        losses.append(loss.item())
    return losses


def accumulated_in_a_closure(model, optimizer, x, y, epochs):
    def closure():
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(epochs)]


def zeros_at_the_end_of_each(model, optimizer, x, y, epochs):
    losses = []
    for _ in range(epochs):
        loss = F.mse_loss(model(x), y)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        model.zero_grad(set_to_none=False)
    return losses


def weight_filled_with_zero(model, optimizer, x, y, epochs):
    losses = []
    for _ in range(epochs):
        model.weight.grad.zero_()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def finite_differences(model, optimizer, x, y, epochs):
    h, losses = 2.0**-7, []

    def loss_at(parameter, step):
        parameter += step
        loss = F.mse_loss(model(x), y)
        parameter -= step
        return loss

    for _ in range(epochs):
        with torch.no_grad():
            losses.append(F.mse_loss(model(x), y).item())
            for p in model.parameters():
                p.grad = torch.full_like(p, (loss_at(p, h) - loss_at(p, -h)) / (2 * h))
        optimizer.step()
    return losses


RIGHT = (
    cleared_right_before_backward,
    cleared_before_and_after,
    cleared_by_the_model,
    in_a_closure,
    cleared_by_hand,
)

MISTAKES = {
    zeros_in_between: "cleared_too_early",
    in_the_order_of_the_alphabet_reversed: "step_too_early",
    accumulated_in_a_closure: "never_cleared",
    zeros_at_the_end_of_each: "cleared_last",
    weight_filled_with_zero: "only_the_weight",
    finite_differences: "without_backward",
}
