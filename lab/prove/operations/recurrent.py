"""Recurrent layers, with dropout between two of them: pytorch #190056."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab.prove.operation import Operation, tensor

_SMALL = {"small": {"e": 4, "q": 3}, "odd": {"e": 5, "q": 5}, "large": {"b": 62, "t": 5, "e": 110, "q": 7}}
_TERMS = ("b t", "b t e")


def _weights(gates: int, inputs: str) -> tuple:  # type: ignore[type-arg]
    rows = f"{gates}q"
    return tensor(f"{rows} {inputs}", -0.7, 0.7), tensor(f"{rows} q", -0.7, 0.7), tensor(rows), tensor(rows)


def _recurrent(function: Callable[..., Any], states: int, *, layers: int, dropout: float = 0.0) -> Callable[..., Any]:
    """Return the function of input and weights. x: (batch, time, features); the first state is zero."""

    def output(x: Tensor, *weights: Tensor) -> Any:
        hidden = weights[1].shape[1]
        zero = torch.zeros(layers, x.shape[0], hidden, dtype=x.dtype, device=x.device)
        state = zero if states == 1 else [zero] * states
        return function(x, state, list(weights), True, layers, dropout, True, False, True)[0]

    return output


_INPUT = tensor("b t e")

RECURRENT: tuple[Operation, ...] = (
    Operation("gru", _recurrent(torch.gru, 1, layers=1), (_INPUT, *_weights(3, "e")), reductions=_TERMS,
              lengths=_SMALL),
    Operation("lstm", _recurrent(torch.lstm, 2, layers=1), (_INPUT, *_weights(4, "e")), reductions=_TERMS,
              lengths=_SMALL),
    Operation("lstm_dropout", _recurrent(torch.lstm, 2, layers=2, dropout=0.4),
              (_INPUT, *_weights(4, "e"), *_weights(4, "q")), reductions=_TERMS, lengths=_SMALL, random=True),
)  # fmt: skip
