"""Other answers to ex03_untracked."""

import torch


@torch.no_grad()
def by_decorator(f, x):
    return f(x)


def by_switch(f, x):
    with torch.set_grad_enabled(False):
        return f(x)


def by_hand(f, x):
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        return f(x)
    finally:
        torch.set_grad_enabled(before)


def twice_over(f, x):
    with torch.no_grad():
        result = f(x.detach())
    return result.detach().clone()


def with_data(f, x):
    return f(x.data)


def inference_by_decorator(f, x):
    return torch.inference_mode()(f)(x)


RIGHT = (
    by_decorator,
    by_switch,
    by_hand,
    twice_over,
)

MISTAKES = {with_data: "detach_before", inference_by_decorator: "inference"}
