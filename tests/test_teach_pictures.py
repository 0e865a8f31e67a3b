import sys
from xml.etree import ElementTree

import pytest
import torch

from lab.teach.graph import walk
from lab.teach.pictures import draw, draw_bars, draw_convergence, draw_graph, draw_tangent

SVG = "{http://www.w3.org/2000/svg}"


def drawn_graph(name: str = "x") -> str:
    x = torch.tensor(2.0, requires_grad=True)
    y = torch.tensor(3.0, requires_grad=True)
    z = x**2 + y**3
    graph = walk(z, **{name: x, "y": y, "z": z})
    z.backward()
    return draw_graph(graph)


def drawn_pair() -> str | None:
    return draw(lambda axes: axes.loglog([1, 1e3], [1, 1e-6]), lambda axes: axes.set(title="right"), width=9)


DRAWINGS = {
    "pair of axes": drawn_pair,
    "graph": drawn_graph,
    "tangent": lambda: draw_tangent(lambda x: x * x, 4, 2, name="y = x²"),
    "tangent at 0": lambda: draw_tangent(lambda x: x * x, 0, 0, name="y = x²"),
    "convergence": lambda: draw_convergence([0.1, 0.01, 0.001], [0.1, 0.0, 0.001]),
    "convergence without error": lambda: draw_convergence([0.1, 0.01], [0.0, 0.0]),
    "bars": lambda: draw_bars([("a", [("p", 4.0), ("q", -6.0)]), ("b", [("q", 0.0)])], title="t", y_label="y"),
}


@pytest.mark.parametrize("drawing", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_is_valid_svg_and_the_same_bytes_each_time(drawing) -> None:
    svg = drawing()
    assert ElementTree.fromstring(svg).tag == f"{SVG}svg"
    assert drawing() == svg


def test_each_plot_has_axes_of_its_own_with_plain_labels_and_the_colours_of_the_lab() -> None:
    seen = []
    draw(lambda axes: axes.loglog([1, 1e3], [1, 1e-6], color="C1"), width=9)
    draw(*[lambda axes: seen.append(axes)] * 3)
    svg = draw(lambda axes: seen.append(axes) or axes.loglog([1, 1e3], [1, 1e-6], color="C1"))
    assert len({id(axes) for axes in seen}) == 4
    assert seen[-1].xaxis.get_major_formatter()(1000.0, 0) == "10³"
    assert "stroke: #c2410c" in svg


def test_the_graph_shows_names_values_and_gradients() -> None:
    texts = [element.text for element in ElementTree.fromstring(drawn_graph()).iter(f"{SVG}text")]
    assert {"x", "y", "z", "2", "3", "31", "grad 4", "grad 27", "grad 1", "leaf"} <= set(texts)


def test_markup_in_a_name_is_escaped() -> None:
    svg = drawn_graph("<script>alert(1)</script>")
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_boxes_do_not_overlap_and_lie_in_the_picture() -> None:
    x = torch.ones((), requires_grad=True)
    parts = [x.sin(), x.cos(), x.exp(), x * 2]
    total = (parts[0] + parts[1]) * (parts[2] - parts[3])
    svg = ElementTree.fromstring(draw_graph(walk(total, x=x)))
    width, height = float(svg.get("width")), float(svg.get("height"))
    boxes = [[float(r.get(k)) for k in ("x", "y", "width", "height")] for r in svg.iter(f"{SVG}rect") if r.get("rx")]
    assert len(boxes) == 8
    for i, (x1, y1, w1, h1) in enumerate(boxes):
        assert 0 <= x1 <= x1 + w1 <= width
        assert 0 <= y1 <= y1 + h1 <= height
        assert all(x1 + w1 <= x2 or x2 + w2 <= x1 or y1 + h1 <= y2 or y2 + h2 <= y1 for x2, y2, w2, h2 in boxes[:i])


def test_without_matplotlib_there_is_no_picture_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw_tangent(lambda x: x, 1, 0, name="y = x") is None
    assert draw_convergence([0.1], [0.1]) is None
    assert draw_bars([("a", [("p", 1.0)])], title="t", y_label="y") is None
