"""Other answers to ex02_accumulate_and_zero."""

import copy

import torch


def with_none(x):
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad.clone()
    x.grad = None
    (x**3).backward()
    return first, accumulated, x.grad


def as_numbers(x):
    (x**2).backward()
    first = x.grad.item()
    (x**3).backward()
    accumulated = x.grad.item()
    x.grad.zero_()
    (x**3).backward()
    return first, accumulated, x.grad.item()


def with_an_optimizer(x):
    optimizer = torch.optim.SGD([x])
    (x**2).backward()
    first = copy.deepcopy(x.grad)
    (x**3).backward()
    accumulated = x.grad.detach().clone()
    optimizer.zero_grad()
    (x**3).backward()
    return first, accumulated, x.grad


def one_alias_three_times(x):
    for power in (2, 3):
        (x**power).backward()
    x.grad.zero_()
    (x**3).backward()
    return x.grad, x.grad, x.grad


def grads_that_do_not_add(x):
    return [torch.autograd.grad(x**power, x)[0] for power in (2, 3, 3)]


RIGHT = (
    with_none,
    as_numbers,
    with_an_optimizer,
)

MISTAKES = {one_alias_three_times: "alias", grads_that_do_not_add: "returned_by_grad"}
