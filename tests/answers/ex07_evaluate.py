"""Other answers to ex07_evaluate."""

import copy
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F


@contextmanager
def evaluating(model):
    modes = {name: module.training for name, module in model.named_modules()}
    model.train(False)
    try:
        yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]


def in_a_context(model, x, y):
    with evaluating(model), torch.inference_mode():
        return F.mse_loss(model(x), y)


def on_a_copy(model, x, y):
    copied = copy.deepcopy(model).eval()
    with torch.no_grad():
        return torch.nn.MSELoss()(copied(x), y)


def parents_first(model, x, y):
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.set_grad_enabled(False):
            return ((model.eval()(x) - y) ** 2).mean()
    finally:
        for module, mode in modes:
            module.train(mode)


@torch.no_grad()
def decorated(model, x, y):
    with ExitStack() as stack:
        for module in model.modules():
            if module.training:
                stack.callback(setattr, module, "training", True)
        model.eval()
        return (model(x) - y).square().mean().item()


def switches_by_hand(model, x, y):
    on = [module for module in model.modules() if module.training]
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    for module in on:
        module.training = False
    try:
        return float(F.mse_loss(model(x), y))
    finally:
        torch.set_grad_enabled(before)
        for module in on:
            module.training = True


def by_the_loss_module(model, x, y):
    return torch.nn.MSELoss()(model(x), y)


def inference_mode_only(model, x, y):
    with torch.inference_mode():
        return ((model(x) - y) ** 2).mean()


def eval_and_item(model, x, y):
    output = model.eval()(x)
    return ((output - y) ** 2).mean().item()


def train_false(model, x, y):
    model.train(False)
    with torch.inference_mode():
        return F.mse_loss(model(x), y).item()


def on_again(model, x, y):
    with torch.no_grad():
        model.eval()
        loss = F.mse_loss(model(x), y)
        model.train()
    return loss


def back_if_it_trained(model, x, y):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        loss = F.mse_loss(model(x), y)
    if was_training:
        model.train()
    return loss


def children_last(model, x, y):
    """Parents come last, and train(mode) overrides what is inside."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            return F.mse_loss(model(x), y)
    finally:
        for module, mode in reversed(modes):
            module.train(mode)


def cut_the_prediction(model, x, y):
    with evaluating(model):
        return F.mse_loss(model(x).detach(), y).item()


def on_again_in_finally(model, x, y):
    model.eval()
    try:
        with torch.no_grad():
            return F.mse_loss(model(x), y).item()
    finally:
        model.train()


def on_again_but_recorded(model, x, y):
    model.eval()
    loss = F.mse_loss(model(x), y).item()
    model.train()
    return loss


def all_but_recording(model, x, y):
    with evaluating(model):
        return F.mse_loss(model(x), y)


def back_but_recorded(model, x, y):
    before = model.training
    model.eval()
    loss = F.mse_loss(model(x), y)
    model.train(before)
    return loss.detach()


RIGHT = (
    in_a_context,
    on_a_copy,
    parents_first,
    decorated,
    switches_by_hand,
)

MISTAKES = {
    on_again_in_finally: "train_always",
    on_again_but_recorded: "eval_only",
    all_but_recording: "eval_only",
    back_but_recorded: "eval_only",
    by_the_loss_module: "plain",
    inference_mode_only: "no_grad_only",
    eval_and_item: "eval_only",
    train_false: "never_back",
    on_again: "train_always",
    back_if_it_trained: "one_mode_for_all",
    children_last: "one_mode_for_all",
    cut_the_prediction: "eval_only",
}
