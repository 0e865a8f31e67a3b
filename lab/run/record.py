"""What is taken for granted of a run.json that lies on the disk, checked once when it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, Field

from lab.run.result import SCHEMA


def numbers(nested: Any) -> Iterator[float]:
    """Yield the numbers of a tensor as run.json has it: nested lists, with nan and the infinities as text."""
    if isinstance(nested, list):
        for part in nested:
            yield from numbers(part)
    else:
        yield float(nested)


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _tensor(nested: Any) -> Any:
    try:
        list(numbers(nested))
    except TypeError as error:
        raise ValueError(str(error)) from None
    return nested


class _Gradient(BaseModel):
    name: str
    dtype: str
    value: Any
    reference: Any
    ulps: Annotated[Any, AfterValidator(_tensor)]
    verdict: str


class _Cell(BaseModel):
    index: int
    state: str


class _Notebook(BaseModel):
    name: str
    digest: str


class _Timing(BaseModel):
    started: Annotated[str, AfterValidator(_moment)]
    seconds: float
    limit: float | None = None
    cells: list[float] = []
    memory: dict[str, Any] | None = None


class _Record(BaseModel):
    version: Literal[SCHEMA] = Field(alias="schema")  # type: ignore[valid-type]
    notebook: _Notebook
    key: str
    status: str
    error: dict[str, Any] | None
    cells: list[_Cell]
    parameters: dict[str, Any]
    lock: dict[str, Any]
    code: str
    threads: int
    environment: dict[str, Any]
    comparisons: list[_Gradient]
    claims: list[dict[str, Any]]
    pictures: list[str]
    timing: _Timing


def check_record(record: Any) -> None:
    """Refuse what is no record of a run that this lab writes. Raises: ValueError."""
    _Record.model_validate(record, strict=True)


def strict_json(raw: bytes) -> Any:
    """Return what strict JSON holds. Raises: ValueError, also for a bare NaN; RecursionError."""
    return json.loads(raw, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
