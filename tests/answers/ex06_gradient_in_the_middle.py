"""Other answers to ex06_gradient_in_the_middle."""

import torch


def by_grad(x, layer, loss):
    h = layer(x)
    return torch.autograd.grad(loss(h), h)[0]


def from_a_hook(x, layer, loss):
    caught = []
    h = layer(x)
    h.register_hook(caught.append)
    loss(h).backward()
    return caught[0]


def as_a_leaf_of_its_own(x, layer, loss):
    h = layer(x).detach().requires_grad_()
    loss(h).backward()
    return h.grad.tolist()


def functional(x, layer, loss):
    return torch.func.grad(loss)(layer(x))


def with_inputs(x, layer, loss):
    h = layer(x)
    loss(h).backward(inputs=[h])
    return h.grad


def asked_to_track(x, layer, loss):
    h = layer(x).requires_grad_(True)
    loss(h).sum().backward()
    return h.grad


def in_one_line(x, layer, loss):
    loss(layer(x)).backward()
    h = layer(x)
    h.retain_grad()
    return h.grad


def the_whole_chain(x, layer, loss):
    return torch.func.grad(lambda x: loss(layer(x)))(x)


def twice_h(x, layer, loss):
    return [2 * h for h in layer(x).tolist()]


def central_difference(x, layer, loss):
    h = layer(x).detach()
    steps = 3e-3 * torch.eye(len(h))
    return [(loss(h + step) - loss(h - step)).item() / 6e-3 for step in steps]


def grad_of_the_loss(x, layer, loss):
    h = layer(x)
    return list(torch.autograd.grad(loss(h), [h]))


RIGHT = (
    by_grad,
    from_a_hook,
    as_a_leaf_of_its_own,
    functional,
    with_inputs,
)

MISTAKES = {
    asked_to_track: "forgot_retain",
    in_one_line: "another_h",
    the_whole_chain: "gradient_of_x",
    twice_h: "hand_formula",
    central_difference: "finite_difference",
    grad_of_the_loss: "tuple_of_one",
}
