"""Other answers to ex17_silence_of_data."""

import torch


def by_grad(w, x):
    gradients = torch.autograd.grad(((w * x) ** 2).sum(), (w, x))
    w.detach().clamp_(max=1)
    return gradients


def with_a_clone(w, x):
    y = w.clone() * x
    with torch.no_grad():
        w.clamp_(max=1)
    y.square().sum().backward()
    return w.grad, x.grad


def by_a_hook(w, x):
    @torch.no_grad()
    def clip(w):
        w.clamp_(max=1)

    w.register_post_accumulate_grad_hook(clip)
    (w * x).pow(2).sum().backward()
    return [w.grad.tolist(), x.grad.tolist()]


def saved_by_pytorch(w, x):
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        y = w * x
        with torch.no_grad():
            w.clamp_(max=1)
        (y**2).sum().backward()
    return w.grad, x.grad


def copied_over(w, x):
    y = w * x
    y.backward(2 * y.detach())
    with torch.no_grad():
        w.copy_(torch.minimum(w, torch.ones_like(w)))
    return w.grad, x.grad


def clipped_before_backward(w, x):
    y = w * x
    loss = (y**2).sum()
    torch.clamp_max_(w.data, 1)
    loss.backward()
    return w.grad, x.grad


def through_detach(w, x):
    y = w * x
    w.detach().clamp_(max=1)
    (y**2).sum().backward()
    return w.grad, x.grad


def data_replaced_afterwards(w, x):
    y = w * x
    (y**2).sum().backward()
    w.data = w.data.clamp(max=1)
    return w.grad, x.grad


def clipped_at_once(w, x):
    w.detach().clamp_(max=1)
    return torch.autograd.grad(((w * x) ** 2).sum(), (w, x))


def a_new_name(w, x):
    y = w * x
    (y**2).sum().backward()
    clipped = w.clamp(max=1)  # noqa: F841
    return w.grad, x.grad


def a_new_w(w, x):
    y = w * x
    (y**2).sum().backward()
    w = w.detach().clamp(max=1)
    return w.grad, x.grad


def functional(w, x):
    dw, dx = torch.func.grad(lambda w, x: ((w * x) ** 2).sum(), argnums=(0, 1))(w, x)
    with torch.no_grad():
        w.clamp_(max=1)
    return dw, dx


def central_difference(w, x):
    def y(w, x):
        return (w * x) ** 2

    h = 2e-2
    with torch.no_grad():
        dw, dx = (y(w + h, x) - y(w - h, x)) / (2 * h), (y(w, x + h) - y(w, x - h)) / (2 * h)
        w.clamp_(max=1)
    return dw, dx


RIGHT = (
    by_grad,
    with_a_clone,
    by_a_hook,
    saved_by_pytorch,
    copied_over,
)

MISTAKES = {
    clipped_before_backward: "as_it_stood",
    through_detach: "loud",
    data_replaced_afterwards: "moved_in_silence",
    clipped_at_once: "clipped_first",
    a_new_name: "not_clipped",
    a_new_w: "rebound",
    functional: "hand_formula",
    central_difference: "finite_difference",
}
