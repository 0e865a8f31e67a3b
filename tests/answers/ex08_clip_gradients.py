"""Other answers to ex08_clip_gradients."""

import math

import torch
from torch import nn


def without_the_library(model, optimizer, loss, limit):
    model.zero_grad()
    loss(model).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
    if norm > limit:
        for g in gradients:
            g.mul_(limit / norm)
    optimizer.step()
    return norm


def norm_of_norms(model, optimizer, loss, limit):
    for p in model.parameters():
        p.grad = None
    loss(model).backward()
    used = [p for p in model.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in used]))
    for p in used:
        p.grad = p.grad * (limit / norm).clamp(max=1.0)
    optimizer.step()
    optimizer.zero_grad()
    return norm


def in_two_calls(model, optimizer, loss, limit):
    optimizer.zero_grad(set_to_none=False)
    torch.autograd.backward(loss(model))
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters()])
    nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm, foreach=False)
    optimizer.step()
    return norm.item()


def in_a_closure(model, optimizer, loss, limit):
    norms = []

    def closure():
        optimizer.zero_grad()
        output = loss(model)
        output.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norms.append(nn.utils.clip_grad_norm_(parameters, limit, norm_type=2, foreach=False))
        return output

    optimizer.step(closure)
    return float(norms[0])


def by_grad(model, optimizer, loss, limit):
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss(model), list(parameters.values()), allow_unused=True)
    flat = torch.cat([g.flatten() for g in gradients if g is not None]).float()
    norm = flat.norm()
    for p, g in zip(parameters.values(), gradients, strict=True):
        p.grad = g if g is None or norm <= limit else g / (norm.item() / limit)
    optimizer.step()
    return norm


def one_call_a_tensor(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    norms = []
    for p in model.parameters():
        if p.grad is not None:
            norms.append(p.grad.norm().item())
            if norms[-1] > limit:
                p.grad *= limit / norms[-1]
    optimizer.step()
    return math.hypot(*norms)


def last_norm(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    for p in model.parameters():
        norm = nn.utils.clip_grad_norm_([p], limit)
    optimizer.step()
    return norm


def whole_norm_first(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    for p in model.parameters():
        nn.utils.clip_grad_norm_(p, limit)
    optimizer.step()
    return norm


def norms_added(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    norm = sum(nn.utils.clip_grad_norm_(p, limit) for p in model.parameters())
    optimizer.step()
    return norm


def clamped(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    for g in gradients:
        g.clamp_(-limit, limit)
    optimizer.step()
    return norm


def not_at_all(model, optimizer, loss, limit):
    model.zero_grad()
    loss(model).backward()
    optimizer.step()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()


def zeros_measured(model, optimizer, loss, limit):
    output = loss(model)
    optimizer.zero_grad(set_to_none=False)
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    output.backward()
    optimizer.step()
    return norm


def zeros_used(model, optimizer, loss, limit):
    loss(model).backward()
    model.zero_grad(set_to_none=False)
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    return norm


def cleared_at_the_end(model, optimizer, loss, limit):
    loss(model).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    optimizer.zero_grad()
    return norm


def normalised(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
    for g in gradients:
        g.div_(norm).mul_(limit)
    optimizer.step()
    return norm


def measured_again(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    nn.utils.clip_grad_norm_(model.parameters(), limit)
    norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf)
    optimizer.step()
    return norm


def squares_compared(model, optimizer, loss, limit):
    optimizer.zero_grad()
    loss(model).backward()
    total = 0.0
    for p in model.parameters():
        if p.grad is not None:
            total += p.grad.square().sum().item()
    if total > limit:
        for p in model.parameters():
            if p.grad is not None:
                p.grad *= limit / total
    optimizer.step()
    return total


RIGHT = (
    without_the_library,
    norm_of_norms,
    in_two_calls,
    in_a_closure,
    by_grad,
)

MISTAKES = {
    last_norm: "each_on_its_own",
    whole_norm_first: "each_on_its_own",
    norms_added: "each_on_its_own",
    one_call_a_tensor: "each_on_its_own",
    clamped: "by_value",
    not_at_all: "after_the_step",
    zeros_measured: "before_backward",
    zeros_used: "cleared_too_early",
    cleared_at_the_end: "never_cleared",
    normalised: "scaled_up",
    measured_again: "norm_after_clipping",
    squares_compared: "without_the_root",
}
