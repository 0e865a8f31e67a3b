"""Other answers to ex05_leaf_or_not."""

import torch


def _tensors(x_tracks, w_tracks):
    x = torch.tensor(2.0, requires_grad=x_tracks)
    w = torch.tensor(3.0, requires_grad=w_tracks)
    with torch.no_grad():
        unrecorded = x * w
    return x, x + 1, x * w, x.detach(), x.detach() * w, x > w, (x + 1).requires_grad_(), unrecorded


def asked_of_pytorch(x_tracks, w_tracks):
    return [tensor.is_leaf for tensor in _tensors(x_tracks, w_tracks)]


def without_a_history(x_tracks, w_tracks):
    return tuple(tensor.grad_fn is None for tensor in _tensors(x_tracks, w_tracks))


def by_inputs(x_tracks, w_tracks):
    recorded_for = ([], [x_tracks], [x_tracks, w_tracks], [], [w_tracks], [], [x_tracks], [])
    return [not any(inputs) for inputs in recorded_for]


def from_a_table(x_tracks, w_tracks):
    rows = {
        (True, True): "10010101",
        (True, False): "10011101",
        (False, True): "11010111",
        (False, False): "11111111",
    }
    return [letter == "1" for letter in rows[x_tracks, w_tracks]]


def which_track(x_tracks, w_tracks):
    return [tensor.requires_grad for tensor in _tensors(x_tracks, w_tracks)]


def which_have_a_grad_fn(x_tracks, w_tracks):
    return [tensor.grad_fn is not None for tensor in _tensors(x_tracks, w_tracks)]


def run_once_with_both(x_tracks, w_tracks):
    return asked_of_pytorch(True, True)


RIGHT = (
    asked_of_pytorch,
    without_a_history,
    by_inputs,
    from_a_table,
)

MISTAKES = {
    which_track: "leaf_means_tracking",
    which_have_a_grad_fn: "the_other_way_round",
    run_once_with_both: "as_if_both_tracked",
}
