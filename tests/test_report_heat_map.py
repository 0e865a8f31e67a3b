"""The page of a verification: what it shows, and that nothing in verify.json can make it do anything else."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest

from lab.device import DTYPES
from lab.prove.case import Selection, enumerate_cases
from lab.prove.operations import OPERATIONS
from lab.prove.probes import Probe
from lab.prove.result import CaseResult, Cause, Cell
from lab.prove.rule import Verdict
from lab.prove.verification import Verification
from lab.prove.verify import Target
from lab.report.heat_map import EXPLAINED, verification_page
from lab.report.scale import MARKS, STEPS, find_step, write_log2

PAYLOAD = """<script>alert(1)</script>" onclick='alert(2)' {{ 7 * 7 }}"""
VOID = ("meta", "link", "br", "wbr")
ROWS = {row.name: row for row in OPERATIONS}


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    def all(self, tag: str = "") -> Iterator[Element]:
        for child in self.children:
            if isinstance(child, Element):
                if tag in ("", child.tag):
                    yield child
                yield from child.all(tag)


class Reader(HTMLParser):
    """Reads a page into elements; an end tag that fits no start is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(result: dict[str, Any]) -> Element:
    reader = Reader()
    reader.feed(verification_page(result))
    reader.close()
    assert len(reader.open) == 1
    return reader.open[0]


def make_cell(
    op: str, dtype: str, verdict: Verdict = Verdict.PASS, ratio: float = 0.03, *, note: str = "", explained: bool = True
) -> Cell:
    row = ROWS[op]
    case = next(enumerate_cases(row, next(iter(row.samples)), dtype, seed=0)).id
    cause = Cause("kernel", "one kernel is wrong", ("aten.mm is the first to leave",), case)
    found = CaseResult(case, verdict, ratio, 11.25, note=note)
    return Cell(op, dtype, (found,), 3, cause if explained and verdict.is_failure else None)


def make_result(*cells: Cell, probes: tuple[Probe, ...] = (), soak: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what verify.json holds, made as the lab makes it."""
    facts = {
        "device": "cpu",
        "device_name": "a CPU",
        "torch": "2.13.0",
        "python": "3.11",
        "switches": {"two": 2, "one": True},
    }
    found = Verification(Target(), Selection(), probes, cells, facts, soak)
    lock = {"source": "requirements/cpu.txt", "digest": "0123"}
    return {"key": "abcd", "lock": lock, "timing": {"seconds": 1.5}, **found.to_json()}


PROBE = Probe("product", "mm forward", "float32", 10, 23, "mantissa bits")


@pytest.fixture
def result() -> dict[str, Any]:
    """A result that has every verdict, a known cause, none, a missing dtype and an infinite ratio."""
    return make_result(
        make_cell("mm", "float64"),
        make_cell("mm", "float32", Verdict.FAIL, 455.9),
        make_cell("mm", "bfloat16", Verdict.FAIL, math.inf, explained=False),
        make_cell("mm", "float16", Verdict.WARN, 0.7),
        make_cell("det", "float64", Verdict.NONDET, 0.04, note="two runs differ in their bits"),
        make_cell("det", "float32", Verdict.CRASH, math.inf, note="its process ended with exit code -11"),
        make_cell("det", "bfloat16", Verdict.UNSUPPORTED, math.inf, note="no lu for BFloat16"),
        make_cell("det", "float16", Verdict.ILLPOSED, 0.0),
        make_cell("sum", "float32", Verdict.FORMULA, 0.0),
        probes=(PROBE,),
        soak={"minutes": 1, "rounds": 2, "cases": 1, "runs": 2, "differing": {"mm//float32": 1}},
    )


def heat(page: Element) -> dict[tuple[str, str], Element]:
    """Return the cells of the heat map by operation and dtype, as the headers of rows and columns name them."""
    found = {}
    for table in page.all("table"):
        if "heat" in table.classes:
            columns = [th.text for th in table.all("th") if th.attributes["scope"] == "col"]
            for row in list(table.all("tr"))[1:]:
                (op,) = (th.text for th in row.all("th") if th.attributes["scope"] == "row")
                found.update({(op, dtype): cell for dtype, cell in zip(columns[1:], row.all("td"), strict=True)})
    return found


def details(page: Element, cell: Element) -> Element:
    """Return what the link in a cell of the heat map leads to."""
    (link,) = cell.all("a")
    (target,) = (element for element in page.all() if element.attributes.get("id") == fragment(link))
    return target


def fragment(link: Element) -> str:
    return unquote(link.attributes["href"]).removeprefix("#")


def is_safe(href: str) -> bool:
    return href.startswith("#") or href in ("data:,", "verify.json", "junit.xml")


def test_every_operation_has_a_cell_in_every_dtype_that_leads_to_its_details(result: dict[str, Any]) -> None:
    page = read(result)
    cells = heat(page)
    assert list(cells) == [(op, dtype) for op in ("mm", "det", "sum") for dtype in DTYPES]
    for found in result["operations"]:
        cell = cells.pop((found["op"], found["dtype"]))
        assert found["verdict"] in cell.text
        assert MARKS[Verdict(found["verdict"])].sign in cell.text
        target = details(page, cell)
        assert found["worst"]["case"] in target.text or found["worst"]["note"] in target.text
    assert {cell.text for cell in cells.values()} == {"not run"}


def test_a_failing_cell_leads_to_its_cause_the_command_and_its_cases(result: dict[str, Any]) -> None:
    page = read(result)
    cell = heat(page)["mm", "float32"]
    assert cell.text.endswith("+8.8")
    shown = details(page, cell)
    (command,) = (pre.text for pre in shown.all("pre"))
    assert command == "lab verify --device cpu --case mm//float32/contiguous/dense/all/small/0"
    for words in ("aten.mm is the first to leave", "456 × what", "11.2 of 24", "contiguous +8.8", "1 of 1 fail"):
        assert words in shown.text
    (cases,) = (table for table in shown.all("table") if "cases" in table.classes)
    assert "mm//float32/contiguous/dense/all/small/0" in cases.text


def test_failures_stand_above_the_heat_map_by_their_cause(result: dict[str, Any]) -> None:
    page = read(result)
    sections = [section.attributes["id"] for section in page.all("section")]
    assert sections == ["failures", "map", "details", "run"]
    groups = [article.text for article in page.all("article")]
    assert ["no cause was found" in group for group in groups] == [True, False]  # that one is infinitely far off
    assert "kernel one kernel is wrong" in groups[1]
    assert [name in groups[1] for name in ("mm float32", "det float64", "det float32", "mm bfloat16")] == [
        True, True, True, False
    ]  # fmt: skip


def test_a_failure_without_a_cause_says_so(result: dict[str, Any]) -> None:
    page = read(result)
    shown = details(page, heat(page)["mm", "bfloat16"])
    assert "No cause was found" in shown.text
    assert not list(shown.all("pre"))


def test_an_infinite_ratio_has_its_own_colour_and_sign(result: dict[str, Any]) -> None:
    page = read(result)
    cell = heat(page)["mm", "bfloat16"]
    assert "infinite" in cell.classes
    assert cell.text.endswith("∞")
    assert "not finite" in details(page, cell).text


def test_an_unsupported_cell_is_no_number_but_what_the_device_said(result: dict[str, Any]) -> None:
    page = read(result)
    cell = heat(page)["det", "bfloat16"]
    assert cell.classes == ["unsupported"]
    assert "∞" not in cell.text
    assert "no lu for BFloat16" in details(page, cell).text


@pytest.mark.parametrize(
    ("dtype", "classes"), [("float64", ["nondet", "bad"]), ("float32", ["crash", "bad"]), ("float16", ["illposed"])]
)
def test_a_verdict_that_is_no_matter_of_a_ratio_has_its_own_colour(
    result: dict[str, Any], dtype: str, classes: list[str]
) -> None:
    assert heat(read(result))["det", dtype].classes == classes


def test_a_cell_that_passes_as_far_as_it_is_supported_is_not_infinitely_wrong() -> None:
    result = make_result(make_cell("mm", "float32"))
    result["operations"][0]["ratio"] = "inf"
    cell = heat(read(result))["mm", "float32"]
    assert cell.classes == ["unsupported"]
    assert "∞" not in cell.text


def test_only_a_pass_of_ratio_zero_is_exact(result: dict[str, Any]) -> None:
    exact = make_result(make_cell("mm", "float32", Verdict.PASS, 0.0))
    assert heat(read(exact))["mm", "float32"].text == "✓pass exact"
    cells = heat(read(result))
    assert not any("exact" in cells[place].text for place in (("det", "float16"), ("sum", "float32")))


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("✓ Pass: 1 of 1 cells", make_result(make_cell("mm", "float32"))),
        (
            "✓ Pass: 1 of 2 cells, no failure",
            make_result(make_cell("mm", "float32"), make_cell("mm", "float16", Verdict.UNSUPPORTED, math.inf)),
        ),
        ("✗ Fail: 1 of 1 cells", make_result(make_cell("mm", "float32", Verdict.FAIL, 2.0))),
        ("✗ Fail: 1 of 1 probes", make_result(make_cell("mm", "float32"), probes=(PROBE,))),
        (
            "✗ Fail: 1 of 7 cases of the soak",
            make_result(
                make_cell("mm", "float32"),
                soak={"minutes": 1, "rounds": 2, "cases": 7, "runs": 2, "differing": {"mm": 1}},
            ),
        ),
    ],
    ids=["all pass", "not all pass", "a cell", "a probe", "the soak"],
)
def test_the_title_says_what_the_verdict_rests_on(words: str, result: dict[str, Any]) -> None:
    (title,) = (h1.text for h1 in read(result).all("h1"))
    assert title == words


def test_machine_run_counts_probes_and_soak_are_shown(result: dict[str, Any]) -> None:
    page = read(result)
    for words in ("a CPU", "2.13.0", "abcd", "requirements/cpu.txt, 0123", "✗ 10 of 23 mantissa bits (mm forward)"):
        assert words in page.text
    assert "2 runs of 1 cases in 2 rounds. Cases that changed a bit: 1." in page.text
    (counts,) = (found for found in page.all("ul") if found.attributes.get("aria-label") == "Cells by verdict")
    assert [item.text.strip() for item in counts.all("li")] == [
        "! crash 1", "✗ fail 2", "≠ nondet 1", "ƒ formula 1", "? illposed 1", "– unsupported 1", "~ warn 1", "✓ pass 1"
    ]  # fmt: skip


def spoil(value: Any, key: str = "") -> Any:
    """Return the same with the payload in every word that is free text."""
    kept = ("verdict", "dtype", "dtypes", "axes", "ratio", "counts", "schema")
    if key in kept:
        return value
    if isinstance(value, dict):
        return {name: spoil(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [spoil(item) for item in value]
    return value + PAYLOAD if isinstance(value, str) else value


def test_nothing_in_the_result_becomes_markup(result: dict[str, Any]) -> None:
    page = read(spoil(result))
    assert not list(page.all("script"))
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "49" not in page.text
    tags = {element.tag for element in read(result).all()}
    attributes = {name for element in read(result).all() for name in element.attributes}
    assert {element.tag for element in page.all()} == tags
    assert {name for element in page.all() for name in element.attributes} == attributes
    ids = {element.attributes.get("id") for element in page.all()}
    links = [link for link in page.all("a") if link.attributes["href"].startswith("#")]
    assert {fragment(link) for link in links} <= ids


def check_inert(page: Element) -> None:
    for element in page.all():
        assert element.tag not in ("script", "iframe", "img", "object", "embed", "form")
        assert not any(name.startswith("on") or name in ("src", "style") for name in element.attributes)
        assert is_safe(element.attributes.get("href", "#"))


def test_the_page_runs_no_script_and_asks_for_nothing(result: dict[str, Any]) -> None:
    page = read(result)
    check_inert(page)
    policy = [m.attributes["content"] for m in page.all("meta") if "http-equiv" in m.attributes]
    assert policy == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    (style,) = (style.text for style in page.all("style"))
    assert not re.search(r"url\(|@import|https?:", style)


def test_ids_are_unique_and_every_link_within_the_page_leads_somewhere(result: dict[str, Any]) -> None:
    result["operations"][0]["op"] = "deep:linalg.det#3 %41"
    page = read(result)
    ids = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert "deep:linalg.det#3 %41-float64" in ids
    links = [link for link in page.all("a") if link.attributes["href"].startswith("#")]
    assert {fragment(link) for link in links} <= set(ids)


def test_the_same_result_gives_the_same_bytes_also_read_back_from_a_file(result: dict[str, Any]) -> None:
    first = verification_page(result)
    assert verification_page(copy.deepcopy(result)) == first
    assert verification_page(json.loads(json.dumps(result, sort_keys=True))) == first


def test_a_device_that_fails_everywhere_still_has_a_page_of_moderate_size() -> None:
    result = make_result(*(make_cell(row.name, dtype, Verdict.FAIL, 500.0) for row in OPERATIONS for dtype in DTYPES))
    for found in result["operations"]:
        found["failures"], found["failing"] = found["failures"] * 20, 400
    assert len(result["operations"]) > 3 * EXPLAINED
    assert len(verification_page(result).encode()) < 1_500_000
    page = read(result)
    check_inert(page)
    places = {element.attributes.get("id") for element in page.all()}
    assert {fragment(link) for cell in heat(page).values() for link in cell.all("a")} <= places
    assert "lab verify --device cpu --case" in details(page, list(heat(page).values())[-1]).text


def test_every_colour_of_the_scale_is_in_the_style_for_light_and_dark() -> None:
    (style,) = (style.text for style in read(make_result(make_cell("mm", "float32"))).all("style"))
    for step in STEPS:
        assert len(re.findall(rf"--{step.name}: #", style)) == 2
    for name in [*(step.name for step in STEPS), *(mark.shade for mark in MARKS.values() if mark.shade)]:
        assert re.search(rf"\.{name}\b[^}}]*\{{[^}}]*background", style)


def test_every_verdict_has_a_sign_of_its_own() -> None:
    assert set(MARKS) == set(Verdict)
    assert len({mark.sign for mark in MARKS.values()}) == len(MARKS)


@pytest.mark.parametrize(
    ("ratio", "name", "text"),
    [
        (0.0, "exact", "exact"),
        (5e-324, "in3", "−1074.0"),
        (0.03, "in3", "−5.1"),
        (0.5, "in1", "−1.0"),
        (1.0, "edge", "+0.0"),
        (1.001, "out1", "+0.0"),
        (455.9, "out3", "+8.8"),
        (1.7e308, "out4", "+1023.9"),
        (math.inf, "infinite", "∞"),
    ],
)
def test_a_ratio_has_one_colour_and_a_signed_number(ratio: float, name: str, text: str) -> None:
    assert find_step(ratio).name == name
    assert write_log2(ratio) == text
