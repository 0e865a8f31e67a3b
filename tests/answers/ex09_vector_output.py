"""Other answers to ex09_vector_output."""

import torch


def by_grad(x, f, v):
    return torch.autograd.grad(f(x), x, grad_outputs=v)[0]


def weighted_sum(x, f, v):
    (v @ f(x)).backward()
    return x.grad


def functional(x, f, v):
    _, pull_back = torch.func.vjp(f, x)
    return pull_back(v)[0]


def gradient_of_a_scalar(x, f, v):
    return torch.func.grad(lambda x: (v * f(x)).sum())(x)


def on_a_copy(x, f, v):
    return torch.autograd.functional.vjp(f, x, v)[1].tolist()


def as_ones(x, f, v):
    y = f(x)
    y.backward(torch.ones_like(y))
    return x.grad


def one_by_one(x, f, v):
    y = f(x)
    return sum(v[i] * torch.autograd.grad(y[i], x, retain_graph=True)[0] for i in range(len(v)))


def by_jacrev(x, f, v):
    return v @ torch.func.jacrev(f)(x)


def by_jacobian(x, f, v):
    return torch.autograd.functional.jacobian(f, x).T @ v


def in_a_batch(x, f, v):
    y = f(x)
    (J,) = torch.autograd.grad(y, x, torch.eye(len(y), dtype=x.dtype), is_grads_batched=True)
    return v @ J


def only_j(x, f, v):
    return torch.autograd.functional.jacobian(f, x)


def central_difference(x, f, v):
    h = 3e-3
    return [(v @ (f(x + step) - f(x - step)) / (2 * h)).item() for step in h * torch.eye(len(x))]


def pulled_back(x, f, v):
    return torch.func.vjp(f, x)[1](v)


RIGHT = (
    by_grad,
    weighted_sum,
    functional,
    gradient_of_a_scalar,
    on_a_copy,
)

MISTAKES = {
    as_ones: "summed",
    one_by_one: "loop_over_outputs",
    by_jacrev: "loop_over_outputs",
    by_jacobian: "loop_over_outputs",
    in_a_batch: "loop_over_outputs",
    only_j: "whole_jacobian",
    central_difference: "finite_difference",
    pulled_back: "tuple_of_one",
}
