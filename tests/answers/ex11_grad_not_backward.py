"""Other answers to ex11_grad_not_backward."""

import torch


def functional(f, x, y):
    return torch.func.grad(f, argnums=(0, 1))(x, y)


def one_by_one(f, x, y):
    return torch.autograd.grad(f(x, y), x)[0], torch.autograd.grad(f(x, y), y)[0]


def kept_graph(f, x, y):
    z = f(x, y)
    (dx,) = torch.autograd.grad(z, x, retain_graph=True)
    (dy,) = torch.autograd.grad(z, y)
    return dx.item(), dy.item()


def jacobian(f, x, y):
    return torch.autograd.functional.jacobian(f, (x, y))


def backward_into_copies_alone(f, x, y):
    copies = [leaf.detach().clone().requires_grad_() for leaf in (x, y)]
    f(*copies).backward(inputs=copies)
    return [copy.grad for copy in copies]


def pulled_back(f, x, y):
    z, pull = torch.func.vjp(f, x, y)
    return pull(torch.ones_like(z))


def through_an_alias(f, x, y):
    torch.autograd.backward(f(x, y))
    return x.grad.clone(), y.grad.clone()


def zero_first(f, x, y):
    x.grad = torch.zeros_like(x)
    f(x, y).backward()
    return x.grad.clone(), y.grad


def put_back(f, x, y):
    before, x.grad = x.grad, None
    f(x, y).backward()
    gradients = x.grad, y.grad
    x.grad, y.grad = before, None
    return gradients


def central_difference(f, x, y):
    h = 3e-3
    with torch.no_grad():
        return (f(x + h, y) - f(x - h, y)) / (2 * h), (f(x, y + h) - f(x, y - h)) / (2 * h)


RIGHT = (
    functional,
    one_by_one,
    kept_graph,
    jacobian,
    backward_into_copies_alone,
    pulled_back,
)

MISTAKES = {
    through_an_alias: "backward_and_read",
    zero_first: "cleared_first",
    put_back: "only_the_leaves_are_clean",
    central_difference: "finite_difference",
}
