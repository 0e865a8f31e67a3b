"""Other answers to ex04_make_it_track."""

import torch


def with_the_constructor(n, dtype):
    return torch.tensor(n.tolist(), dtype=dtype, device=n.device, requires_grad=True)


def by_attribute(n, dtype):
    x = n.type(dtype)
    x.requires_grad = True
    return x


def as_a_parameter(n, dtype):
    return torch.nn.Parameter(n.to(dtype))


def filled_under_no_grad(n, dtype):
    x = torch.empty(n.shape, dtype=dtype, device=n.device, requires_grad=True)
    with torch.no_grad():
        x.copy_(n)
    return x


def cut_loose_and_tracked_again(n, dtype):
    return (n.double().requires_grad_() * 1).to(dtype).detach().requires_grad_()


def conversion_lost(n, dtype):
    n.to(dtype)
    return n.requires_grad_(True)


def copied_and_tracked(n, dtype):
    return torch.zeros_like(n, requires_grad=True).copy_(n)


def detached_last(n, dtype):
    return n.to(dtype).requires_grad_().detach()


def plus_nothing(n, dtype):
    return torch.tensor(n.tolist(), dtype=dtype, requires_grad=True) + 0


def single_precision(n, dtype):
    return torch.nn.Parameter(n.to(torch.float32))


RIGHT = (
    with_the_constructor,
    by_attribute,
    as_a_parameter,
    filled_under_no_grad,
    cut_loose_and_tracked_again,
)

MISTAKES = {
    conversion_lost: "on_whole_numbers",
    copied_and_tracked: "made_of_whole_numbers",
    detached_last: "not_tracked",
    plus_nothing: "computed_from_a_leaf",
    single_precision: "always_float32",
}
