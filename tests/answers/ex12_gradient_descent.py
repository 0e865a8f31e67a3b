"""Other answers to ex12_gradient_descent."""

import torch


def with_an_optimizer(f, w, lr, steps):
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        f(w).backward()
        optimizer.step()
    return w


def by_grad(f, w, lr, steps):
    for _ in range(steps):
        (slope,) = torch.autograd.grad(f(w), w)
        with torch.no_grad():
            w.sub_(lr * slope)
    return w


def functional(f, w, lr, steps):
    slope = torch.func.grad(f)
    with torch.no_grad():
        for _ in range(steps):
            w.copy_(w - lr * slope(w))
    return w


def through_a_detached_view(f, w, lr, steps):
    for _ in range(steps):
        w.grad = None
        f(w).backward()
        w.detach().sub_(w.grad, alpha=lr)
    return w


def through_data(f, w, lr, steps):
    for _ in range(steps):
        f(w).backward()
        w.data -= lr * w.grad
        w.grad.zero_()
    return w


def named_steps(f, w, lr, steps):
    for _ in range(steps):
        f(w).backward()
        new = w - lr * w.grad
        w = new
    return w


def sub_in_place(f, w, lr, steps):
    for _ in range(steps):
        f(w).backward()
        w.sub_(w.grad * lr)
        w.grad.zero_()
    return w


def rebound_by_sub(f, w, lr, steps):
    for _ in range(steps):
        loss = f(w)
        loss.backward()
        with torch.no_grad():
            w = torch.sub(w, w.grad, alpha=lr)
    return w


def leaf_by_data(f, w, lr, steps):
    for _ in range(steps):
        f(w).backward()
        w = torch.tensor(w.item() - lr * w.grad.item(), dtype=w.dtype, device=w.device, requires_grad=True)
    return w


def kept_gradient(f, w, lr, steps):
    for _ in range(steps):
        torch.autograd.backward([f(w)])
        w.data.sub_(w.grad, alpha=lr)
    return w


RIGHT = (
    with_an_optimizer,
    by_grad,
    functional,
    through_a_detached_view,
    through_data,
)

MISTAKES = {
    named_steps: "rebound",
    sub_in_place: "in_place_but_recorded",
    rebound_by_sub: "rebound_unrecorded",
    leaf_by_data: "new_leaf",
    kept_gradient: "forgot_zero",
}
