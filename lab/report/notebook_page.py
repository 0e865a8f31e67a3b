"""An executed notebook as a page: one static file, without scripts, that loads nothing.

nbconvert makes it. Much of what it shows was written by a notebook's cells, so it is sanitised here once more: the
list of tags that nbconvert's own filter allows has neither headings nor paragraphs, and it lets remote pictures in.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import bleach
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode, from_dict
from traitlets.config import Config

from lab.run.executed import executed_path, read_executed
from lab.store import replace_file, storage_errors

# JupyterLab's look without any of its scripts.
_TEMPLATE = """\
{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
"""
# The richest first. Widgets, JavaScript and Mermaid are scripts: their plain text stands in.
_SHOWN = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain")
_TAGS = {
    *("a", "abbr", "b", "br", "cite", "code", "del", "em", "i", "img", "ins", "kbd", "mark", "q", "s", "samp", "small"),
    *("span", "strong", "sub", "sup", "u", "var"),
    *("blockquote", "details", "div", "dd", "dl", "dt", "hr", "li", "ol", "p", "pre", "summary", "ul"),
    *("h1", "h2", "h3", "h4", "h5", "h6"),
    *("caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"),
}
_ATTRIBUTES = {"class", "id", "alt", "title", "align", "colspan", "rowspan", "scope", "start", "open", "width"}
_STYLES = re.compile(r"<style\b.*?</style\s*>", re.DOTALL | re.IGNORECASE)  # pandas puts one before its tables


def notebook_html(notebook: NotebookNode, *, name: str = "notebook", folder: Path | None = None) -> str:
    """Return the page of an executed notebook, which is not changed.

    name: its title. folder: where the pictures lie that its text names. Links out of the page become plain text.
    """
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": list(_SHOWN)}}),
        extra_loaders=[DictLoader({"page.html.j2": _TEMPLATE})],
        template_file="page.html.j2",
        sanitize_html=True,
        embed_images=True,
        mathjax_url="",
        require_js_url="",
        exclude_anchor_links=True,
        filters={"clean_html": _clean},
    )
    place = {"name": name, **({"path": str(folder)} if folder else {})}
    html, _ = exporter.from_notebook_node(_plain(notebook), resources={"metadata": place})
    return str(html)


def write_page(path: Path, record: dict[str, Any]) -> Path:
    """Write the executed notebook of a run as a page beside it, and return where. Raises: StorageError."""
    source = executed_path(path, record)
    page = source.with_suffix(".html")
    text = notebook_html(read_executed(path, record), name=source.stem, folder=path)
    with storage_errors(page):
        replace_file(page, text)
    return page


def _clean(html: Any) -> str:
    """Return HTML in which nothing runs and nothing is loaded; what is not allowed is shown as text."""
    text = html.decode() if isinstance(html, bytes) else str(html)
    return str(bleach.clean(_STYLES.sub("", text), tags=_TAGS, attributes=_allows, protocols=["data"]))


def _allows(tag: str, name: str, value: str) -> bool:
    if (tag, name) == ("img", "src"):
        return value.startswith(("data:image/png;", "data:image/jpeg;", "data:image/gif;", "data:image/svg+xml;"))
    if (tag, name) == ("a", "href"):
        return value.startswith("#")
    return name in _ATTRIBUTES


def _plain(notebook: NotebookNode) -> NotebookNode:
    """Return a copy with the metadata that the page needs, in the form that the template takes for granted."""
    copied = copy.deepcopy(notebook)
    copied.metadata = from_dict({"language_info": {"name": "python", "pygments_lexer": "ipython3"}})
    for cell in copied.cells:
        cell.metadata = from_dict({"tags": cell.metadata.get("tags", [])})
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"] = _shown(output["data"])
            if "metadata" in output:
                output["metadata"] = {mime: _sizes(about) for mime, about in output["metadata"].items()}
    return copied


def _shown(data: dict[str, Any]) -> NotebookNode:
    """Return the forms of an output that a page can show, or a word about those it cannot."""
    found = {mime: form for mime, form in data.items() if mime in _SHOWN}
    return NotebookNode(found or {"text/plain": f"[not shown on this page: {', '.join(data)}]"})


def _sizes(about: Any) -> dict[str, int]:
    """Return the width and height of a picture, where they are numbers: the template sets no quotes around them."""
    found = about if isinstance(about, dict) else {}
    return {key: size for key in ("width", "height") if type(size := found.get(key)) is int}
