"""Other answers to ex18_device_trap."""

import torch


def made_there(f, values, target):
    where = {"dtype" if isinstance(target, torch.dtype) else "device": target}
    w = torch.tensor(values, requires_grad=True, **where)
    f(w).backward()
    return w


def as_a_parameter(f, values, target):
    w = torch.nn.Parameter(torch.tensor(values).to(target))
    f(w).backward()
    return w


def in_a_module(f, values, target):
    module = torch.nn.ParameterList([torch.tensor(values)]).to(target)
    f(module[0]).backward()
    return module[0]


def a_leaf_of_the_copy(f, values, target):
    w = torch.tensor(values, requires_grad=True).to(target).detach().requires_grad_()
    f(w).backward()
    return w


def by_grad(f, values, target):
    with torch.no_grad():
        w = torch.tensor(values, requires_grad=True).to(target)
    w.requires_grad = True
    (w.grad,) = torch.autograd.grad(f(w), w)
    return w


def moved_after_a_clone(f, values, target):
    leaf = torch.tensor(values).requires_grad_()
    w = leaf.clone().to(target)
    f(w).backward()
    return w


def kept(f, values, target):
    w = torch.tensor(values, requires_grad=True).to(target)
    w.retain_grad()
    f(w).backward()
    return w


def the_leaf_of_old(f, values, target):
    leaf = torch.tensor(values).requires_grad_()
    w = leaf.to(target)
    f(w).backward()
    return leaf


def cut_off(f, values, target):
    w = torch.tensor(values, requires_grad=True).to(target).detach()
    f(w).backward()
    return w


def central_difference(f, values, target):
    w = torch.tensor(values).to(target).requires_grad_()
    w.grad = torch.zeros_like(w)
    for i in range(len(values)):
        step = torch.zeros_like(w)
        step[i] = 1e-2
        w.grad[i] = (f(w + step) - f(w - step)).detach() / 2e-2
    return w


def of_a_copy(f, values, target):
    w = torch.tensor(values).to(target).requires_grad_()
    f(w.detach().clone().requires_grad_()).backward()
    return w


RIGHT = (
    made_there,
    as_a_parameter,
    in_a_module,
    a_leaf_of_the_copy,
    by_grad,
)

MISTAKES = {
    moved_after_a_clone: "as_it_stood",
    kept: "retained",
    the_leaf_of_old: "left_behind",
    cut_off: "untracked",
    central_difference: "finite_difference",
    of_a_copy: "forgot_backward",
}
