"""Other answers to ex08_shared_input."""

import torch


def by_grad(x, f, n):
    uses = [x.clone() for _ in range(n)]
    z = f(*uses)
    shares = torch.autograd.grad(z, uses, retain_graph=True)
    z.backward()
    return shares, x.grad


def leaves_and_their_sum(x, f, n):
    uses = [x.detach().clone().requires_grad_() for _ in range(n)]
    f(*uses).backward()
    return [use.grad for use in uses], sum(use.grad for use in uses)


def one_use_at_a_time(x, f, n):
    shares = []
    for i in range(n):
        z = f(*[x if i == j else x.detach() for j in range(n)])
        shares += torch.autograd.grad(z, x)
    return shares, torch.stack(shares).sum()


def functional(x, f, n):
    shares = torch.func.grad(f, argnums=tuple(range(n)))(*[x] * n)
    return list(shares), torch.func.grad(lambda x: f(*[x] * n))(x)


def from_hooks(x, f, n):
    shares = [None] * n
    uses = [x.view_as(x) for _ in range(n)]
    for i, use in enumerate(uses):
        use.register_hook(lambda share, i=i: shares.__setitem__(i, share.item()))
    f(*uses).backward()
    return shares, x.grad.item()


def expanded(x, f, n):
    uses = x.expand(n)
    uses.retain_grad()
    f(*uses).backward()
    return uses.grad, x.grad


def an_even_split(x, f, n):
    whole = torch.func.grad(lambda x: f(*[x] * n))(x)
    return (whole / n).repeat(n), whole


def many_names(x, f, n):
    uses = [x] * n
    z = f(*uses)
    shares = torch.autograd.grad(z, uses, retain_graph=True)
    z.backward()
    return [share.clone() for share in shares], x.grad


def ungathered(x, f, n):
    uses = [torch.tensor(x.item(), requires_grad=True) for _ in range(n)]
    return torch.autograd.grad(f(*uses), uses), x.grad


def central_difference(x, f, n):
    h = 3e-3
    steps = h * torch.eye(n)
    shares = [(f(*(x + step)) - f(*(x - step))) / (2 * h) for step in steps]
    return shares, sum(shares)


RIGHT = (
    by_grad,
    leaves_and_their_sum,
    one_use_at_a_time,
    functional,
    from_hooks,
    expanded,
)

MISTAKES = {
    an_even_split: "divided_evenly",
    many_names: "whole_every_time",
    ungathered: "cut_off",
    central_difference: "finite_difference",
}
