"""What can go wrong for a person or a machine that uses the lab, each with its exit code.

::

    LabError                          1  something that was checked is not so
    ├── UsageError                    2  a wrong word on the command line, a malformed file
    │   └── ParameterError            2  an unknown parameter, or a value that its annotation forbids
    ├── DeviceUnavailable             3  no such device here
    ├── ExecutionError                4  a cell or an attempt raised, its process died, it ran out of memory
    ├── StorageError                  5  a file could not be read or written
    └── TimeLimit                   124  stopped at its limit

An interrupt ends the command with 130 and a terminate with 143; these are signals, not errors.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

INTERRUPTED = 130
TERMINATED = 143


class LabError(Exception):
    """One thing that went wrong, in three sentences.

    happened: what happened, with the values. expected: what was expected. next_step: what to type next.
    """

    exit_code = 1

    def __init__(self, happened: str, expected: str, next_step: str) -> None:
        super().__init__(happened, expected, next_step)
        self.happened, self.expected, self.next_step = happened, expected, next_step

    def __str__(self) -> str:
        return f"{self.happened} {self.expected} {self.next_step}"


class UsageError(LabError):
    """A wrong word on the command line, or a malformed file."""

    exit_code = 2


class ParameterError(UsageError):
    """A parameter that is unknown, or a value that the parameter's annotation forbids."""


class DeviceUnavailable(LabError):
    """A device that is unknown, or that this machine does not have."""

    exit_code = 3


class ExecutionError(LabError):
    """Code that was run (a cell, an attempt) raised, or its process died."""

    exit_code = 4


class StorageError(LabError):
    """A file that could not be read or written."""

    exit_code = 5


class TimeLimit(LabError):
    """Something that was stopped because it took longer than its limit."""

    exit_code = 124


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``Did you mean 'choice'?`` for the choice nearest to a mistyped word, or an empty string."""
    nearest = difflib.get_close_matches(word, list(choices), n=1)
    return f"Did you mean {nearest[0]!r}?" if nearest else ""
