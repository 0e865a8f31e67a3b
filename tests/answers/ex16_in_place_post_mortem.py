"""Other answers to ex16_in_place_post_mortem."""

import torch


def with_a_mask_and_an_optimizer(w, x):
    optimizer = torch.optim.SGD([w], lr=0.1)
    mask = torch.ones_like(x)
    mask[0] = 0
    loss = torch.nn.functional.softplus(w * x * mask).sum()
    loss.backward()
    optimizer.step()
    return loss.item(), w.grad, x.grad


def by_grad(w, x):
    masked = torch.cat([torch.zeros_like(x[:1]), x[1:]])
    loss = torch.log1p((w * masked).exp()).sum()
    dw, dx = torch.autograd.grad(loss, (w, x))
    w.detach().sub_(0.1 * dw)
    return loss, dw, dx


def by_a_hook(w, x):
    @torch.no_grad()
    def step(w):
        w.sub_(0.1 * w.grad)

    w.register_post_accumulate_grad_hook(step)
    masked = x * 1
    masked[0] = 0
    z = (w * masked).exp().add(1)
    loss = z.log().sum()
    loss.backward()
    return loss.detach(), w.grad, x.grad


def with_a_clone_of_z(w, x):
    masked = torch.index_fill(x, 0, torch.tensor([0], device=x.device), 0)
    z = (w * masked).exp().clone()
    z += 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w.copy_(w - 0.1 * w.grad)
    return [loss, w.grad, x.grad]


def switched_off_and_on(w, x):
    z = (w * x.where(torch.arange(len(x), device=x.device) > 0, 0)).exp() + 1
    loss = z.log().sum()
    loss.backward()
    w.requires_grad_(False)
    w -= 0.1 * w.grad
    w.requires_grad_(True)
    return loss, w.grad, x.grad


def counted_without_recording(w, x):
    masked = x.clone()
    masked[0] = 0
    z = (w * masked).exp()
    with torch.no_grad():
        z += 1
    loss = z.log().sum()
    loss.backward()
    return loss, w.grad, x.grad


def only_the_first_place(w, x):
    x = torch.where(torch.arange(len(x), device=x.device) > 0, x, 0)
    z = (w * x).exp()
    z.add_(1)
    loss = z.log().sum()
    loss.backward()
    w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def masked_through_data(w, x):
    x.data[0] = 0
    z = (w * x).exp() + 1
    loss = z.log().sum()
    loss.backward()
    with torch.no_grad():
        w.sub_(w.grad, alpha=0.1)
    return loss, w.grad, x.grad


def data_of_w_replaced(w, x):
    masked = x.clone()
    masked[0] = 0
    loss = ((w * masked).exp() + 1).log().sum()
    loss.backward()
    w.data = w.data - 0.1 * w.grad
    return loss, w.grad, x.grad


def stepped_with_a_new_name(w, x):
    masked = x.clone()
    masked[0] = 0
    loss = ((w * masked).exp() + 1).log().sum()
    loss.backward()
    moved = w - 0.1 * w.grad  # noqa: F841
    return loss, w.grad, x.grad


def new_w_under_no_grad(w, x):
    masked = x.clone()
    masked[0] = 0
    loss = ((w * masked).exp() + 1).log().sum()
    loss.backward()
    with torch.no_grad():
        w = w - 0.1 * w.grad
    return loss, w.grad, x.grad


def copied_under_no_grad(w, x):
    with torch.no_grad():
        masked = x.clone()
        masked[0] = 0
    loss = ((w * masked).exp() + 1).log().sum()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return loss, w.grad, x.grad


def functional(w, x):
    def loss_of(w, x):
        return torch.nn.functional.softplus(w * torch.cat([0 * x[:1], x[1:]])).sum()

    dw, dx = torch.func.grad(loss_of, argnums=(0, 1))(w, x)
    loss = loss_of(w, x).detach()
    with torch.no_grad():
        w -= 0.1 * dw
    return loss, dw, dx


def central_difference(w, x):
    keep = torch.tensor([0.0, 1.0, 1.0]).to(x)

    def loss_of(w, x):
        return torch.nn.functional.softplus(w * x * keep).sum()

    h = 2e-2
    with torch.no_grad():
        loss = loss_of(w, x)
        dw = (loss_of(w + h, x) - loss_of(w - h, x)) / (2 * h)
        steps = torch.eye(3).to(x) * h
        dx = torch.stack([(loss_of(w, x + s) - loss_of(w, x - s)) / (2 * h) for s in steps])
        w -= 0.1 * dw
    return loss, dw, dx


RIGHT = (
    with_a_mask_and_an_optimizer,
    by_grad,
    by_a_hook,
    with_a_clone_of_z,
    switched_off_and_on,
)

MISTAKES = {
    counted_without_recording: "saved_value_overwritten",
    only_the_first_place: "saved_value_overwritten",
    masked_through_data: "masked_in_place",
    data_of_w_replaced: "moved_in_silence",
    stepped_with_a_new_name: "not_moved",
    new_w_under_no_grad: "rebound",
    copied_under_no_grad: "masked_detached",
    functional: "hand_formula",
    central_difference: "finite_difference",
}
