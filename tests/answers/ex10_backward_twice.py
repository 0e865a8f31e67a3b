"""Other answers to ex10_backward_twice."""

import torch


def by_functions(f, x, y):
    loss = f(x)
    torch.autograd.backward(loss, retain_graph=True)
    torch.autograd.backward(loss)
    for _ in range(2):
        torch.autograd.backward(f(y))
    return x.grad, y.grad


def by_grad(f, x, y):
    loss = f(x)
    kept = torch.autograd.grad(loss, x, retain_graph=True)[0] + torch.autograd.grad(loss, x)[0]
    built = sum(torch.autograd.grad(f(y), y)[0] for _ in range(2))
    return kept, built


def y_first(f, x, y):
    first, second = f(y), f(y)
    second.backward()
    first.backward()
    loss = f(x)
    loss.backward(torch.ones_like(loss), retain_graph=True)
    loss.backward(torch.ones_like(loss))
    return [x.grad.clone(), y.grad.clone()]


def by_a_loop(f, x, y):
    loss = f(x)
    for last in (False, True):
        loss.backward(retain_graph=not last)
        f(y).backward()
    return x.grad, y.grad


def both_graphs_of_y_in_one_pass(f, x, y):
    loss = f(x)
    loss.backward(retain_graph=True)
    loss.backward()
    (f(y) + f(y)).backward()
    return x.grad, y.grad


def retained_too_late(f, x, y):
    loss = f(x)
    loss.backward()
    loss.backward(retain_graph=True)
    return x.grad, y.grad


def retain_grad_for_retain_graph(f, x, y):
    loss = f(x)
    loss.retain_grad()
    loss.backward()
    loss.backward()
    return x.grad, y.grad


def caught(f, x, y):
    for leaf in (x, y):
        loss = f(leaf)
        try:
            loss.backward()
            loss.backward()
        except RuntimeError:
            pass
    return x.grad, y.grad


def weighted_by_two(f, x, y):
    for leaf in (x, y):
        f(leaf).backward(torch.tensor(2.0, dtype=leaf.dtype, device=leaf.device))
    return x.grad, y.grad


def central_difference(f, x, y):
    h = 3e-3
    return (f(x + h) - f(x - h)) / h, (f(y + h) - f(y - h)) / h


RIGHT = (
    by_functions,
    by_grad,
    y_first,
    by_a_loop,
    both_graphs_of_y_in_one_pass,
)

MISTAKES = {
    retained_too_late: "broken",
    retain_grad_for_retain_graph: "broken",
    caught: "one_pass",
    weighted_by_two: "doubled",
    central_difference: "finite_difference",
}
