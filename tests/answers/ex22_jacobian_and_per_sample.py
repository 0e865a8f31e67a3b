"""Other answers to ex22_jacobian_and_per_sample."""

import warnings

import torch
from torch.func import grad, jacfwd, jacrev, vmap


def batched_backward(f, x, loss, w, batch):
    y = f(x)
    (jacobian,) = torch.autograd.grad(y, x, torch.eye(len(y)).to(y), is_grads_batched=True)
    losses = vmap(lambda sample: loss(w, sample))(batch)
    (gradients,) = torch.autograd.grad(losses, w, torch.eye(len(batch)).to(w), is_grads_batched=True)
    return jacobian, gradients


def in_forward_mode(f, x, loss, w, batch):
    with warnings.catch_warnings(action="ignore"):  # torch's own first use of forward mode warns of torch.jit
        return jacfwd(f)(x), jacfwd(vmap(loss, in_dims=(None, 0)))(w, batch)


def jacobian_of_the_losses(f, x, loss, w, batch):
    return jacrev(f)(x), jacrev(lambda w: vmap(lambda sample: loss(w, sample))(batch))(w)


def a_copy_of_w_for_each(f, x, loss, w, batch):
    copies = w.expand(len(batch), -1).detach().requires_grad_()
    vmap(loss)(copies, batch).sum().backward()
    return torch.autograd.functional.jacobian(f, x, vectorize=True), copies.grad


def default_of_functional(f, x, loss, w, batch):
    return torch.autograd.functional.jacobian(f, x), vmap(grad(loss), in_dims=(None, 0))(w, batch)


def columns_in_a_loop(f, x, loss, w, batch):
    with warnings.catch_warnings(action="ignore"):
        columns = [torch.func.jvp(f, (x,), (step,))[1] for step in torch.eye(len(x)).to(x)]
    return torch.stack(columns, dim=1), vmap(grad(loss), (None, 0))(w, batch)


def accumulating_samples(f, x, loss, w, batch):
    gradients = []
    for sample in batch:
        loss(w, sample).backward()
        gradients.append(w.grad)
        w.grad = None
    return jacrev(f)(x), torch.stack(gradients)


def backward_of_ones(f, x, loss, w, batch):
    f(x).backward(torch.ones(len(f(x.detach()))).to(x))
    return x.grad, vmap(grad(loss), (None, 0))(w, batch)


def of_the_average(f, x, loss, w, batch):
    return jacrev(f)(x), vmap(grad(loss), (None, 0))(w, batch).mean(0)


RIGHT = (
    batched_backward,
    in_forward_mode,
    jacobian_of_the_losses,
    a_copy_of_w_for_each,
)

MISTAKES = {
    default_of_functional: "row_by_row",
    columns_in_a_loop: "row_by_row",
    accumulating_samples: "sample_by_sample",
    backward_of_ones: "summed_outputs",
    of_the_average: "averaged_over_the_batch",
}
