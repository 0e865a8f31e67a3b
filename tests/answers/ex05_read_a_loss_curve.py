"""Other answers to ex05_read_a_loss_curve."""

import math

import torch


def by_a_loop(train, validation):
    epoch, smallest = 0, math.inf
    for i, loss in enumerate(validation):
        if loss < smallest:  # never with nan
            epoch, smallest = i, loss
    if train[-1] in (math.inf, -math.inf) or not train[-1] <= train[0]:
        return "diverging", epoch
    if (validation[-1] - smallest) / smallest > 0.25:
        return "overfitting", epoch
    if 1 - train[-1] / train[-3] > 0.25:
        return "still learning", epoch
    return "converged", epoch


def by_a_key(train, validation):
    epoch = min(range(len(validation)), key=lambda i: validation[i] if math.isfinite(validation[i]) else math.inf)
    rules = {
        "diverging": not math.isfinite(train[-1]) or train[-1] > train[0],
        "overfitting": validation[-1] > 1.25 * validation[epoch],
        "still learning": train[-1] < 0.75 * train[-3],
        "converged": True,
    }
    return [next(word for word, holds in rules.items() if holds), epoch]


def by_tensors(train, validation):
    losses = torch.tensor(validation, dtype=torch.float64).nan_to_num(nan=math.inf)
    epoch = losses.argmin()
    first, *_, before, _, last = torch.tensor(train, dtype=torch.float64)
    if ~(last.isfinite() & (last <= first)):
        word = "diverging"
    elif losses[-1] > 1.25 * losses[epoch]:
        word = "overfitting"
    else:
        word = "still learning" if last < 0.75 * before else "converged"
    return word, epoch


def _word(train, validation, smallest):
    if not math.isfinite(train[-1]) or train[-1] > train[0]:
        return "diverging"
    if validation[-1] > 1.25 * smallest:
        return "overfitting"
    return "still learning" if train[-1] < 0.75 * train[-3] else "converged"


def only_nan_asked_for(train, validation):
    finite = [loss for loss in validation if math.isfinite(loss)]
    epoch = validation.index(min(finite))
    if math.isnan(train[-1]) or train[-1] > train[0]:
        return "diverging", epoch
    if validation[-1] > 1.25 * min(finite):
        return "overfitting", epoch
    return ("still learning" if train[-1] < 0.75 * train[-3] else "converged"), epoch


def only_larger(train, validation):
    finite = [loss for loss in validation if math.isfinite(loss)]
    epoch = validation.index(min(finite))
    if train[-1] > train[0]:
        return "diverging", epoch
    if validation[-1] > 1.25 * min(finite):
        return "overfitting", epoch
    return ("still learning" if train[-1] < 0.75 * train[-3] else "converged"), epoch


def asked_by_equality(train, validation):
    finite = [loss for loss in validation if math.isfinite(loss)]
    epoch = validation.index(min(finite))
    if train[-1] in (math.inf, math.nan) or train[-1] > train[0]:
        return "diverging", epoch
    if validation[-1] > 1.25 * min(finite):
        return "overfitting", epoch
    return ("still learning" if train[-1] < 0.75 * train[-3] else "converged"), epoch


def starts_with_the_first(train, validation):
    epoch = 0
    for i, loss in enumerate(validation):
        if loss < validation[epoch]:
            epoch = i
    return _word(train, validation, validation[epoch]), epoch


def last_two(train, validation):
    finite = [loss for loss in validation if loss == loss]
    epoch = validation.index(min(finite))
    if math.isnan(train[-1]) or train[-1] > train[-2]:
        return "diverging", epoch
    return _word(train, validation, min(finite)), epoch


def from_the_back(train, validation):
    finite = [loss for loss in validation if loss == loss]
    epoch = max(i for i, loss in enumerate(validation) if loss == min(finite))
    return _word(train, validation, min(finite)), epoch


def tensor_argmin(train, validation):
    epoch = int(torch.tensor(validation).argmin())
    return _word(train, validation, validation[epoch]), epoch


RIGHT = (
    by_a_loop,
    by_a_key,
    by_tensors,
)

MISTAKES = {
    only_nan_asked_for: "inf_slips_through",
    asked_by_equality: "nan_slips_through",
    only_larger: "nan_slips_through",
    starts_with_the_first: "nan_is_the_first",
    last_two: "any_rise",
    from_the_back: "last_of_equals",
    tensor_argmin: "nan_is_the_smallest",
}
