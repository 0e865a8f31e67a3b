"""The page of an executed notebook: whole, and with nothing in it that runs or is loaded."""

from __future__ import annotations

import base64
import copy
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fixtures.notebooks import write_notebook
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lab.report.notebook_page import notebook_html
from lab.run import run_notebook
from lab.run.executed import read_executed

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><script src="https://evil.example/x.js"></script>',
    "<iframe src='https://evil.example'></iframe>",
    '<a href="javascript:alert(1)">a</a><a href="https://evil.example">b</a>',
    '<img src="https://evil.example/p.png"><img src="//evil.example/p.png">',
    '<p style="background:url(https://evil.example/p.png)">p</p><style>@import url(https://evil.example)</style>',
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<link rel=stylesheet href=https://evil.example/x.css><meta http-equiv=refresh content='0;url=https://evil.example'>",
    '<form action="https://evil.example"><button formaction="https://evil.example">',
    "</pre></div></main></body><script>alert(1)</script>",
)
PIXEL = base64.b64encode(b"not really a picture").decode()


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of its style sheets, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str]]] = []
        self.styles = ""
        self.in_style = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self.in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        self.styles += data if self.in_style else ""


def dangers(page: str) -> list[str]:
    """Return what runs or is loaded."""
    elements = Elements(page)
    found = [f"<{tag}>" for tag, _ in elements.found if tag in ("script", "iframe", "object", "embed", "link", "form")]
    for tag, attributes in elements.found:
        for name, value in attributes.items():
            if name.startswith("on") or (tag == "meta" and name == "http-equiv"):
                found.append(f"{tag} {name}")
            if name in ("src", "href", "srcset", "action", "formaction", "style", "data", "poster"):
                found += [f"{tag} {name}={value[:40]}"] if not value.startswith(("data:image/", "#")) else []
    remote = re.findall(
        r"@import|url\((?!\s*[\"']?data:)[^)]*\)", re.sub(r"/\*.*?\*/", "", elements.styles, flags=re.S)
    )
    return found + remote


def test_the_dangers_are_seen() -> None:
    for payload in PAYLOADS:
        assert dangers(f"<html><body>{payload}</body></html>"), payload


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_that_a_notebook_holds_runs_or_is_loaded(payload: str) -> None:
    shown = [
        new_output("stream", text=payload),
        new_output("error", ename=payload, evalue=payload, traceback=[payload]),
        *(
            new_output("display_data", {mime: payload})
            for mime in (
                *("text/html", "text/plain", "text/markdown", "text/latex", "image/svg+xml", "text/vnd.mermaid"),
                *("image/png", "image/jpeg", "application/javascript", "application/x-unknown"),
            )
        ),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": payload}}),
        new_output(
            "display_data",
            {"image/png": PIXEL},
            metadata={"image/png": {"width": f"1 {payload}", "height": 2}, "filenames": {"image/png": payload}},
        ),
    ]
    notebook = new_notebook(
        cells=[
            new_markdown_cell(payload, metadata={"tags": [payload]}, attachments={"a.png": {"image/png": PIXEL}}),
            new_markdown_cell(f"# {payload}\n\n![x](https://evil.example/a.png) [y](https://evil.example)"),
            new_code_cell(f"x = {payload!r}", outputs=shown, metadata={"tags": [payload]}),
        ],
        metadata={
            "title": payload,
            "widgets": {"application/vnd.jupyter.widget-state+json": {"x": payload}},
            "language_info": {"name": payload, "pygments_lexer": payload},
            "kernelspec": {"name": payload, "display_name": payload},
        },
    )
    before = copy.deepcopy(notebook)
    page = notebook_html(notebook, name=payload)
    assert dangers(page) == []
    assert notebook == before


def test_a_script_in_a_parameter_and_an_output_of_a_real_run_stays_text(tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "nb.ipynb",
        "from IPython.display import HTML, Javascript, display",
        "print(name); display(HTML(name), Javascript('alert(1)'))\nname",
        parameters='name: str = "a"  # a name',
    )
    payload = "<script>alert('https://evil.example')</script>"
    result = run_notebook(path, {"name": payload}, outputs=tmp_path / "outputs")
    assert result.status == "completed"
    page = notebook_html(read_executed(result.path, result.record))
    assert dangers(page) == []
    assert "&lt;script&gt;alert(" in page


def notebook(*cells: NotebookNode) -> NotebookNode:
    return new_notebook(cells=list(cells))


def tags(page: str) -> list[str]:
    return [tag for tag, _ in Elements(page).found]


def test_what_a_notebook_shows_is_there() -> None:
    page = notebook_html(
        notebook(
            new_markdown_cell(
                "# A heading\n\nA *word*, `code` and a table\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n```none\nfenced\n```"
            ),
            new_code_cell(
                "print(1 < 2)",
                outputs=[
                    new_output("stream", text="\x1b[31mred\x1b[0m & plain"),
                    new_output("display_data", {"image/svg+xml": "<svg/>", "text/plain": "a picture"}),
                    new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"width": 12}}),
                    new_output("display_data", {"text/html": "<style>td {}</style><table><tr><th>h</th></tr></table>"}),
                    new_output("execute_result", {"application/x-own+json": {}, "text/plain": "in words"}),
                    new_output("display_data", {"application/x-own+json": {}}),
                ],
            ),
        ),
        name="lesson & more",
    )
    for tag in ("h1", "p", "em", "table", "th", "td"):
        assert tag in tags(page), tag
    for text in (
        "<title>lesson &amp; more</title>",
        "red</span> &amp; plain",
        "in words",
        "[not shown on this page: application/x-own+json]",
        'width="12"',
    ):
        assert text in page, text
    assert f"data:image/png;base64,{PIXEL}" in page
    assert f"data:image/svg+xml;base64,{base64.b64encode(b'<svg/>').decode()}" in page
    assert "a picture" not in page
    assert "td {}" not in page


def test_pictures_that_lie_beside_the_notebook_are_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a picture")
    page = notebook_html(notebook(new_markdown_cell("![a](a.png)")), folder=tmp_path)
    assert base64.b64encode(b"a picture").decode() in page


def test_the_same_notebook_gives_the_same_page() -> None:
    shown = notebook(new_code_cell("1", outputs=[new_output("stream", text="x")]))
    assert notebook_html(shown) == notebook_html(shown)
