"""Other answers to ex14_detach_one_path."""

import torch


def unrecorded(x):
    with torch.no_grad():
        square = x**2
    z = square * x
    (gradient,) = torch.autograd.grad(z, x)
    return z.item(), gradient


def squared_after(x):
    z = x * x.detach() ** 2
    z.backward()
    return z.detach(), x.grad.clone()


def as_a_number(x):
    z = x * x.item() ** 2
    z.backward()
    return [z, x.grad]


def cut_in_place(x):
    square = torch.square(x)
    square.detach_()
    z = torch.mul(x, square)
    torch.autograd.backward(z)
    return z, x.grad


def through_data(x):
    z = x * x.data.pow(2)
    return z, torch.autograd.grad(z, x)[0]


def by_a_weight(x):
    x.backward(x.detach() ** 2)
    return x.detach() ** 3, x.grad


def detached_and_forgotten(x):
    square = x**2
    square.detach()
    z = x * square
    z.backward()
    return z, x.grad


def nothing_recorded(x):
    with torch.no_grad():
        z = x * x**2
    z.backward()
    return z, x.grad


def in_two_passes(x):
    for _ in range(2):
        z = x * (x**2).detach()
        z.backward()
    return z, x.grad


def new_leaf(x):
    z = (x.detach() * (x**2).detach()).clone().requires_grad_()
    z.backward()
    return z, x.grad


def typed(x):
    return 27, 9.0


def functional(x):
    return x**3, torch.func.grad(lambda x: x * (x**2).detach())(x)


def through_a_copy(x):
    copy = x.detach().clone().requires_grad_()
    z = copy * (copy**2).detach()
    z.backward()
    return z, x.grad


def central_difference(x):
    h = 1 / 32
    return x**3, ((x + h) ** 3 - (x - h) ** 3) / (2 * h)


def difference_along_one_path(x):
    h, square = 1e-3, x**2
    return x**3, ((x + h) * square - x * square) / h


RIGHT = (
    unrecorded,
    squared_after,
    as_a_number,
    cut_in_place,
    through_data,
    by_a_weight,
)

MISTAKES = {
    detached_and_forgotten: "nothing_stopped",
    nothing_recorded: "all_stopped",
    in_two_passes: "backward_twice",
    new_leaf: "all_stopped_and_switched_on",
    typed: "literal",
    difference_along_one_path: "hand_formula",
    functional: "hand_formula",
    through_a_copy: "forgot_backward",
    central_difference: "finite_difference",
}
