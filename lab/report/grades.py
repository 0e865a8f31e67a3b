"""The page of a grading: what to teach again, a table of all learners, and what was met in each exercise.

One static file without scripts. All that it says stands in grades.json; much of it was written by learners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from string import ascii_lowercase
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from lab.practise.grading import NOT_RECOGNISED, Outcome, one_line

AGAIN = 8  # mistakes among those to teach again


@dataclass(frozen=True)
class Sign:
    """What stands for an outcome. shade: its CSS class."""

    sign: str
    shade: str
    meaning: str


SIGNS = {
    Outcome.SOLVED: Sign("✓", "solved", "accepted on every trial"),
    Outcome.WRONG: Sign("✗", "wrong", "its letter names the mistake, ? is none of those known"),
    Outcome.NOT_STARTED: Sign("·", "empty", "no file, or the stub as it was"),
    Outcome.UNREADABLE: Sign("!", "unreadable", "a file that cannot be read"),
    Outcome.NOT_JUDGED: Sign("–", "lost", "the judge was lost twice"),
}


@dataclass(frozen=True)
class Met:
    """A mistake, or another reason why an exercise is not solved. letter: what names it in the table, or nothing."""

    letter: str
    data: dict[str, Any]

    @property
    def is_mistake(self) -> bool:
        """Whether an answer was wrong, in contrast to one that there is not."""
        return bool(self.letter)


@dataclass(frozen=True)
class Column:
    """An exercise. data: an entry of grades.json's exercises."""

    data: dict[str, Any]
    learners: int

    @property
    def anchor(self) -> str:
        """The id of its details."""
        return f"{self.data['lesson']}-{self.data['exercise']}"

    @property
    def number(self) -> str:
        """The head of its column."""
        return str(self.data["exercise"].partition("_")[0].removeprefix("ex"))

    @property
    def met(self) -> list[Met]:
        """What was met, with the letters of the table."""
        free = chain(ascii_lowercase, map(str, range(1, 1000)))
        return [Met(_letter(one["what"], free), one) for one in self.data["met"]]

    @property
    def letters(self) -> dict[str, str]:
        """The letter of each mistake."""
        return {one.data["what"]: one.letter for one in self.met}

    @property
    def parts(self) -> list[tuple[Outcome, int, int]]:
        """How many learners have each outcome, and how many stand before them in the bar."""
        counts = dict.fromkeys(Outcome, 0) | {Outcome.SOLVED: self.data["solved"]}
        for one in self.met:
            counts[Outcome.WRONG if one.is_mistake else Outcome(one.data["what"])] += one.data["count"]
        before = 0
        found = []
        for outcome, count in counts.items():
            found.append((outcome, count, before))
            before += count
        return [part for part in found if part[1]]


@dataclass(frozen=True)
class Cell:
    """A learner at an exercise. letter: of the mistake. anchor: where it is explained, or nothing."""

    outcome: Outcome
    letter: str
    anchor: str
    what: str

    @property
    def sign(self) -> Sign:
        """What stands for it."""
        return SIGNS[self.outcome]


@dataclass(frozen=True)
class Block:
    """A lesson: its exercises, and a row of cells for each learner."""

    lesson: str
    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]


def grades_page(result: dict[str, Any]) -> str:
    """Return the page of a grading, the same bytes for the same result. result: what grades.json holds."""
    columns = [Column(data, len(result["learners"])) for data in result["exercises"]]
    met = [(column, one) for column in columns for one in column.met if one.is_mistake]
    again = sorted(met, key=lambda pair: -pair[1].data["count"])[:AGAIN]
    return _template().render(
        result=result,
        counts=_count(columns),
        again=again,
        blocks=list(_blocks(columns, result["learners"])),
        columns=columns,
        facts=_facts(result),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("lab.report", "."),
        autoescape=True,  # always: names and messages are the learners'
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(signs=SIGNS)
    environment.filters.update(line=one_line)
    return environment.get_template("grades.html.jinja")


def _letter(what: str, free: Iterator[str]) -> str:
    if what in set(Outcome):
        return ""
    return "?" if what == NOT_RECOGNISED else next(free)


def _count(columns: Iterable[Column]) -> dict[Outcome, int]:
    """Return how many attempts have each outcome that occurs."""
    found = dict.fromkeys(Outcome, 0)
    for column in columns:
        for outcome, count, _ in column.parts:
            found[outcome] += count
    return {outcome: count for outcome, count in found.items() if count}


def _blocks(columns: list[Column], learners: list[dict[str, Any]]) -> Iterator[Block]:
    """Yield a block a lesson: the grades of a learner stand in the order of the exercises."""
    numbered = list(enumerate(columns))
    letters = [column.letters for column in columns]
    for lesson, group in groupby(numbered, key=lambda pair: pair[1].data["lesson"]):
        places = list(group)
        rows = [
            (learner["learner"], [_cell(column, letters[n], learner["grades"][n]) for n, column in places])
            for learner in learners
        ]
        yield Block(lesson, [column for _, column in places], rows)


def _cell(column: Column, letters: dict[str, str], grade: dict[str, str]) -> Cell:
    outcome = Outcome(grade["status"])
    if outcome is not Outcome.WRONG:
        return Cell(outcome, "", "", str(outcome))
    what = grade["mistake"] or NOT_RECOGNISED
    return Cell(outcome, letters[what], f"{column.anchor}-{what}", what)


def _facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how it was graded, as names with values."""
    environment, timing = result["environment"], result["timing"]
    facts = {
        "folder": result["folder"],
        "seed": str(result["seed"]),
        "judged": f"in {result['dtype']} on {result['device']}, at most {result['limit_s']:g} s an attempt",
        "isolated": "in a sandbox" if result["isolated"] else "no: attempts ran as this user",
        "torch": f"{environment['torch']}, Python {environment['python']}, {environment['platform']}",
        "packages": f"{result['lock']['source']}, {result['lock']['digest']}",
        "took": f"{timing['seconds']:.1f} s",
    }
    return list(facts.items())
