"""Other answers to ex25_nan_through_where."""

import torch


def only_where_it_is_above_zero(x, floor):
    result = torch.full_like(x, floor)
    result[x > 0] = x[x > 0].log()
    return result


def filled_in(x, floor):
    unfit = x <= 0
    return x.masked_fill(unfit, 1.0).log().masked_fill(unfit, floor)


def clamped_far_below(x, floor):
    return torch.where(x > 0, x.clamp(min=1e-30).log(), floor)


def entry_by_entry(x, floor):
    return torch.stack([e.log() if e > 0 else torch.full_like(e, floor) for e in x])


def scattered(x, floor):
    above = x > 0
    return torch.full_like(x, floor).masked_scatter(above, x[above].log())


class Log(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, floor):
        ctx.save_for_backward(x)
        return torch.where(x > 0, x.log(), floor)

    @staticmethod
    def backward(ctx, cotangent):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, cotangent / x, 0.0), None


def own_function(x, floor):
    return Log.apply(x, floor)


def masked_later(x, floor):
    return x.log().masked_fill(x <= 0, floor)


def numbers_replaced(x, floor):
    logarithm = x.log()
    return torch.where(logarithm.isfinite(), logarithm.nan_to_num(0.0), floor)


def with_one_in_its_place(x, floor):
    return x.masked_fill(x <= 0, 1.0).log()


def computed_without_recording(x, floor):
    with torch.no_grad():
        return torch.where(x > 0, torch.where(x > 0, x, 1.0).log(), floor)


def cleaned_where_it_arrives(x, floor):
    x.register_hook(lambda gradient: torch.where(gradient.isnan(), 0.0, gradient))
    return torch.where(x > 0, torch.log(x), floor)


RIGHT = (
    only_where_it_is_above_zero,
    filled_in,
    clamped_far_below,
    entry_by_entry,
    scattered,
    own_function,
)

MISTAKES = {
    masked_later: "as_it_was",
    numbers_replaced: "as_it_was",
    with_one_in_its_place: "inside_only",
    computed_without_recording: "detached",
    cleaned_where_it_arrives: "filtered_by_a_hook",
}
