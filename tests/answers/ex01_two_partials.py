"""Other answers to ex01_two_partials."""

import torch


def by_grad(x, y):
    return torch.autograd.grad(x**2 + y**3, (x, y))


def one_by_one(x, y):
    (x * x).backward()
    (y * y * y).backward()
    return x.grad, y.grad


def from_a_hook(x, y):
    caught = []
    x.register_hook(caught.append)
    y.register_hook(caught.append)
    (x**2).backward()
    (y**3).backward()
    return tuple(caught)


def as_numbers(x, y):
    (x.pow(2) + y.pow(3)).backward()
    return [x.grad.item(), float(y.grad)]


def with_a_graph_of_their_own(x, y):
    z = x**2 + y**3
    return torch.stack(torch.autograd.grad(z, [x, y], create_graph=True))


def four_and_27(x, y):
    return 4, 27.0


def central_difference(x, y):
    h = 3e-3
    return ((x + h) ** 2 - (x - h) ** 2) / (2 * h), ((y + h) ** 3 - (y - h) ** 3) / (2 * h)


def functional(x, y):
    return torch.func.grad(lambda x, y: x**2 + y**3, argnums=(0, 1))(x, y)


def through_copies(x, y):
    x, y = (t.detach().clone().requires_grad_() for t in (x, y))
    (x**2 + y**3).backward()
    return x.grad, y.grad


def kept_z_for_grad(x, y):
    torch.autograd.grad(x**2 + y**3, x)
    return x.grad, y.grad


RIGHT = (
    by_grad,
    one_by_one,
    from_a_hook,
    as_numbers,
    with_a_graph_of_their_own,
)

MISTAKES = {
    four_and_27: "literal",
    central_difference: "finite_difference",
    functional: "hand_formula",
    through_copies: "hand_formula",
    kept_z_for_grad: "forgot_backward",
}
