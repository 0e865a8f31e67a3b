"""Other answers to ex23_clip_and_record."""

import warnings
from contextlib import ExitStack, contextmanager
from functools import partial

import torch


def keeping_them(z, tensors, clipped, limit):
    clip = tensors[clipped].register_hook(lambda g: torch.clamp(g, -limit, limit))
    for tensor in tensors.values():
        tensor.retain_grad()  # it runs after the hooks
    z.backward()
    clip.remove()
    return {name: tensor.grad.clone() for name, tensor in tensors.items()}


def one_hook_each(z, tensors, clipped, limit):
    records = {}

    def hook(name, gradient):
        records[name] = gradient.clamp(-limit, limit) if name == clipped else gradient
        return records[name]

    handles = [tensor.register_hook(partial(hook, name)) for name, tensor in tensors.items()]
    z.backward()
    [handle.remove() for handle in handles]
    return records


def in_contexts(z, tensors, clipped, limit):
    @contextmanager
    def hooked(tensor, hook):
        handle = tensor.register_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    records = {}
    with ExitStack() as stack:
        stack.enter_context(hooked(tensors[clipped], lambda g: g.clip(-limit, limit)))
        for name in tensors:
            stack.enter_context(hooked(tensors[name], partial(records.__setitem__, name)))
        z.backward()
    return records


def through_the_library(z, tensors, clipped, limit):
    records = {}
    with (
        tensors[clipped].register_hook(lambda g: g.maximum(-g.new_tensor(limit)).minimum(g.new_tensor(limit))),
        torch.autograd.graph.register_multi_grad_hook(
            tuple(tensors.values()), lambda gradients: records.update(zip(tensors, gradients, strict=True))
        ),
    ):
        z.backward()
    return records


def one_list_in_the_wrong_order(z, tensors, clipped, limit):
    records = {}

    def record(name):
        def hook(gradient):
            records[name] = gradient.clone()

        return hook

    with ExitStack() as stack:
        for name, tensor in tensors.items():
            stack.enter_context(tensor.register_hook(record(name)))
        stack.enter_context(tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit)))
        z.backward()
    return records


def in_place_with_copies(z, tensors, clipped, limit):
    records = {}

    def hook(name, gradient):
        if name == clipped:
            gradient[gradient > limit] = limit
            gradient[gradient < -limit] = -limit
        records[name] = gradient

    with ExitStack() as stack:
        for name, tensor in tensors.items():
            stack.enter_context(tensor.register_hook(partial(hook, name)))
        z.backward()
    return records


def grads_read(z, tensors, clipped, limit):
    with warnings.catch_warnings(action="ignore"), tensors[clipped].register_hook(lambda g: g.clamp(-limit, limit)):
        z.backward()
        return {name: tensor.grad for name, tensor in tensors.items()}


def clipped_in_the_record_only(z, tensors, clipped, limit):
    records = {}

    def hook(name, gradient):
        records[name] = gradient.clamp(-limit, limit) if name == clipped else gradient

    with ExitStack() as stack:
        for name, tensor in tensors.items():
            stack.enter_context(tensor.register_hook(partial(hook, name)))
        z.backward()
    return records


RIGHT = (
    keeping_them,
    one_hook_each,
    in_contexts,
    through_the_library,
)

MISTAKES = {
    one_list_in_the_wrong_order: "recorded_before_clipping",
    in_place_with_copies: "in_place",
    grads_read: "grad_of_results",
    clipped_in_the_record_only: "clipped_afterwards",
}
