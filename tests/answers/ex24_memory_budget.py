"""Other answers to ex24_memory_budget."""

import warnings

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


def in_pairs(blocks, x):
    def run(x, first, second):
        return second(first(x))

    for first, second in zip(blocks[::2], blocks[1::2], strict=False):
        x = checkpoint(run, x, first, second, use_reentrant=False)
    return checkpoint(blocks[-1], x, use_reentrant=False) if len(blocks) % 2 else x


def by_the_library(blocks, x):
    return checkpoint_sequential(blocks, len(blocks) // 2, x, use_reentrant=False)


def reentrant(blocks, x):
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=True)
    return x


class Forgetful(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, block):
        ctx.block = block
        ctx.save_for_backward(x)
        with torch.no_grad():
            return block(x)

    @staticmethod
    def backward(ctx, cotangent):
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.block(x)
        torch.autograd.backward(y, cotangent)
        return x.grad, None


def by_hand(blocks, x):
    for block in blocks:
        x = Forgetful.apply(x, block)
    return x


def all_but_the_last(blocks, x):
    for block in blocks[:-1]:
        x = checkpoint(block, x, use_reentrant=False)
    return blocks[-1](x)


def kept_under_another_name(blocks, x):
    with saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        for block in blocks:
            x = block(x)
    return x


def kept_as_copies(blocks, x):
    with saved_tensors_hooks(lambda tensor: tensor.clone(), lambda tensor: tensor):
        for block in blocks:
            x = block(x)
    return x


def kept_elsewhere(blocks, x):
    with torch.autograd.graph.save_on_cpu():
        for block in blocks:
            x = block(x)
    return x


def reentrant_all_in_one(blocks, x):
    return checkpoint(torch.nn.Sequential(*map(Layer, blocks)), x, use_reentrant=False)


class Layer(torch.nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x)


def untracked_result(blocks, x):
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False)
    return x.detach()


def untracked_by_reentrant(blocks, x):
    with warnings.catch_warnings(action="ignore"):  # none of the inputs requires grad
        for block in blocks:
            x = checkpoint(block, x.detach(), use_reentrant=True)
    return x


RIGHT = (
    in_pairs,
    by_the_library,
    reentrant,
    by_hand,
    all_but_the_last,
)

MISTAKES = {
    kept_under_another_name: "plain",
    kept_as_copies: "plain",
    kept_elsewhere: "plain",
    reentrant_all_in_one: "all_in_one",
}
