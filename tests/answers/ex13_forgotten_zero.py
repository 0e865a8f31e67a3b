"""Other answers to ex13_forgotten_zero."""

import torch


def with_an_optimizer(f, w, lr, steps):
    optimizer, path = torch.optim.SGD([w], lr=lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        f(w).backward()
        optimizer.step()
        path.append(w.detach().clone())
    return path


def zeroed_in_place(f, w, lr, steps):
    path = torch.zeros(steps, dtype=w.dtype, device=w.device)
    for step in range(steps):
        w.grad.zero_()
        f(w).backward()
        with torch.no_grad():
            path[step] = w.sub_(lr * w.grad)
    return path


def by_grad(f, w, lr, steps):
    def step():
        (slope,) = torch.autograd.grad(f(w), w)
        with torch.no_grad():
            w.sub_(slope, alpha=lr)
        return w.item()

    return [step() for _ in range(steps)]


def functional(f, w, lr, steps):
    path = []
    with torch.no_grad():
        for slope in [torch.func.grad(f)] * steps:
            w -= lr * slope(w)
            path.append(float(w))
    return tuple(path)


def cleared_before_and_after(f, w, lr, steps):
    path = []
    w.grad = None
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.item())
        w.grad = None
    return path


def set_to_none_at_the_end(f, w, lr, steps):
    path = []
    for _ in range(steps):
        f(w).backward()
        with torch.no_grad():
            w.sub_(lr * w.grad)
        w.grad = None
        path.append(w.item())
    return path


def zero_grad_before_the_loop(f, w, lr, steps):
    optimizer, path = torch.optim.SGD([w], lr=lr), []
    optimizer.zero_grad()
    for _ in range(steps):
        f(w).backward()
        optimizer.step()
        path.append(w.item())
    return path


def detached_but_not_copied(f, w, lr, steps):
    path = []
    for _ in range(steps):
        w.grad = None
        f(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
        path.append(w.detach())
    return path


def zero_grad_before_the_step(f, w, lr, steps):
    path = []
    for _ in range(steps):
        f(w).backward()
        w.grad = torch.zeros_like(w)
        w.data -= lr * w.grad
        path.append(w.item())
    return path


RIGHT = (
    with_an_optimizer,
    zeroed_in_place,
    by_grad,
    functional,
    cleared_before_and_after,
)

MISTAKES = {
    set_to_none_at_the_end: "cleared_last",
    zero_grad_before_the_loop: "cleared_once",
    detached_but_not_copied: "same_tensor",
    zero_grad_before_the_step: "cleared_too_early",
}
