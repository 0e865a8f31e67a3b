"""Other answers to ex21_hessian_vector_product."""

import warnings

import torch


def by_a_scalar(f, x, v):
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    (product,) = torch.autograd.grad((gradient * v).sum(), x)
    return gradient.detach(), product


def by_backward(f, x, v):
    with warnings.catch_warnings(action="ignore"):  # a cycle between x and its gradient, broken below
        f(x).backward(create_graph=True)
    gradient, x.grad = x.grad, None
    gradient.backward(v)
    product, x.grad = x.grad, None
    return gradient.detach(), product


def forward_over_reverse(f, x, v):
    with warnings.catch_warnings(action="ignore"):  # torch's own first use of forward mode warns of torch.jit
        return torch.func.jvp(torch.func.grad(f), (x,), (v,))


def reverse_over_reverse(f, x, v):
    gradient, back = torch.func.vjp(torch.func.grad(f), x)
    return gradient, back(v)[0]


def functional(f, x, v):
    (gradient,) = torch.autograd.grad(f(x), x)
    return torch.stack((gradient, torch.autograd.functional.hvp(f, x, v)[1]))


def no_graph_by_backward(f, x, v):
    f(x).backward()
    gradient = x.grad.clone()
    return gradient, torch.autograd.grad(gradient @ v, x)[0]


def detached_in_between(f, x, v):
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    return gradient, torch.autograd.grad(gradient.detach() @ v, x)[0]


def added_up(f, x, v):
    with warnings.catch_warnings(action="ignore"):
        f(x).backward(create_graph=True)
    gradient = x.grad.clone()
    (gradient @ v).backward()
    return gradient, x.grad


def built_by_the_library(f, x, v):
    (gradient,) = torch.autograd.grad(f(x), x)
    return gradient, torch.autograd.functional.hessian(f, x) @ v


def rows_of_ones(f, x, v):
    (gradient,) = torch.autograd.grad(f(x), x, create_graph=True)
    return gradient, torch.autograd.grad(gradient, x, torch.ones_like(v))[0]


def symmetric_difference(f, x, v):
    h = 1e-3
    gradient, behind, ahead = (torch.autograd.grad(f(at), at)[0] for at in (x, x - h * v, x + h * v))
    return gradient, (ahead - behind) / (2 * h)


RIGHT = (
    by_a_scalar,
    by_backward,
    forward_over_reverse,
    reverse_over_reverse,
    functional,
)

MISTAKES = {
    no_graph_by_backward: "no_graph",
    detached_in_between: "no_graph",
    added_up: "accumulated",
    built_by_the_library: "row_by_row",
    rows_of_ones: "forgot_v",
    symmetric_difference: "finite_difference",
}
