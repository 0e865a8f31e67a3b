"""Other ways to run the same gradients: a real other code path of the CPU, or a simulated faulty device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from lab.prove.operation import Outputs

Function = Callable[..., Outputs]


@dataclass(frozen=True)
class Backend:
    """One row.

    environment: variables that torch reads when it loads. threads: of a worker. context: entered around all that a
    worker runs. wrap: what becomes of an operation's function. simulated: whether another device is played, beside
    which the plain CPU is an honest baseline. healthy: whether every gradient has to pass. cause: what has to be said
    of it where it is not.
    """

    name: str
    about: str
    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    wrap: Callable[[Function], Function] = lambda function: function
    simulated: bool = False
    healthy: bool = True
    cause: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker by name: a context cannot be pickled."""
        from lab.prove.machines import find_backend

        return find_backend, (self.name,)


PLAIN = Backend("plain", "the device as it is")
