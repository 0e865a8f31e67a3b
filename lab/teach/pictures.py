"""Pictures of gradients, as SVG text: the graph, and what a lesson plots.

The graph is drawn with the standard library alone. The others are matplotlib's and are None where it is missing,
so that a lesson runs with torch alone. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as Xml

from lab.teach.graph import Graph, Node, show_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#c2410c", "#15803d", "#64748b"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BOX_WIDTH, _BOX_HEIGHT, _COLUMN, _ROW, _MARGIN = 168, 92, 240, 118, 24


def draw_graph(graph: Graph) -> str:
    """Draw a computational graph: leaves on the left, the result on the right, values and gradients in the boxes."""
    places = _places(graph)
    width = max(x for x, _ in places.values()) + _BOX_WIDTH + _MARGIN
    height = max(y for _, y in places.values()) + _BOX_HEIGHT + _MARGIN + 28
    svg = Xml.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {height}",
            "width": str(width),
            "height": str(height),
            "font-family": "Helvetica, Arial, sans-serif",
            "role": "img",
        },
    )
    Xml.SubElement(svg, "title").text = "Computational graph"
    Xml.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    for node, source in graph.edges:
        _arrow(svg, places[id(source)], places[id(node)])
    for node in graph.nodes:
        _box(svg, node, *places[id(node)])
    legend = _text(svg, _MARGIN, height - 16, "values flow to the right, ", BLUE, size=13)
    Xml.SubElement(legend, "tspan", {"fill": ORANGE}).text = "gradients back to the left"
    return Xml.tostring(svg, encoding="unicode") + "\n"


def _places(graph: Graph) -> dict[int, tuple[int, int]]:
    """Return each node's corner. Its column is its longest way to a leaf; columns are centred on each other."""
    column: dict[int, int] = {}
    for node in reversed(graph.nodes):
        column[id(node)] = 1 + max((column[id(source)] for source in node.inputs), default=-1)
    rows: dict[int, list[Node]] = {}
    for node in graph.nodes:
        rows.setdefault(column[id(node)], []).append(node)
    tallest = max(map(len, rows.values()))
    return {
        id(node): (_MARGIN + c * _COLUMN, _MARGIN + int((row + (tallest - len(nodes)) / 2) * _ROW))
        for c, nodes in rows.items()
        for row, node in enumerate(nodes)
    }


def _box(svg: Xml.Element, node: Node, x: int, y: int) -> None:
    stroke, fill = (BLUE, "#eff6ff") if node.leaf else (GREY, "#f8fafc")
    corners = {"x": str(x), "y": str(y), "width": str(_BOX_WIDTH), "height": str(_BOX_HEIGHT), "rx": "9"}
    Xml.SubElement(svg, "rect", {**corners, "fill": fill, "stroke": stroke, "stroke-width": "1.5"})
    middle = x + _BOX_WIDTH // 2
    _text(svg, middle, y + 22, node.label, "#0f172a", size=16, bold=True, middle=True)
    _text(svg, middle, y + 38, "leaf" if node.leaf else node.operation, GREY, size=11, middle=True)
    facts = [(name, t, c) for name, t, c in (("", node.value, BLUE), ("grad ", node.gradient, ORANGE)) if t is not None]
    for i, (name, tensor, colour) in enumerate(facts):
        _text(svg, middle, y + 60 + 20 * i, name + show_number(tensor), colour, size=14, middle=True)


def _text(
    svg: Xml.Element,
    x: int,
    y: int,
    text: str,
    colour: str,
    *,
    size: int,
    bold: bool = False,
    middle: bool = False,
) -> Xml.Element:
    look = {"x": str(x), "y": str(y), "fill": colour, "font-size": str(size)}
    look |= {"font-weight": "bold"} if bold else {}
    look |= {"text-anchor": "middle"} if middle else {}
    element = Xml.SubElement(svg, "text", look)
    element.text = text
    return element


def _arrow(svg: Xml.Element, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Draw an arrow from the right side of one box to the left side of another."""
    x1, y1 = start[0] + _BOX_WIDTH, start[1] + _BOX_HEIGHT // 2
    x2, y2 = end[0], end[1] + _BOX_HEIGHT // 2
    bend = (x2 - x1) // 2
    path = f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2 - 8},{y2}"
    Xml.SubElement(svg, "path", {"d": path, "fill": "none", "stroke": GREY, "stroke-width": "1.5"})
    Xml.SubElement(svg, "path", {"d": f"M{x2},{y2} l-10,-5 v10 z", "fill": GREY})


def draw(*plots: Callable[[Axes], object], width: float = 7.2, height: float = 4.2) -> str | None:
    """Draw pairs of axes beside each other, each by a function that is given its own; None without matplotlib.

    width, height: of the whole, in inches. The colours C0 to C3 are the lab's, and logarithmic axes have plain labels.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
        from matplotlib.rcsetup import cycler
    except ModuleNotFoundError:
        return None
    colours = cycler("color", (BLUE, ORANGE, GREEN, GREY))
    with mpl.rc_context(
        # The salt and the missing date make the bytes the same each time; text as paths looks the same everywhere.
        {"svg.hashsalt": "gradient-lab", "svg.fonttype": "path", "font.size": 11, "axes.prop_cycle": colours}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        for number, plot in enumerate(plots, start=1):
            axes = figure.add_subplot(1, len(plots), number)
            axes.spines[["top", "right"]].set_visible(False)
            plot(axes)
            for axis in (axes.xaxis, axes.yaxis):
                if axis.get_scale() == "log":  # matplotlib's own labels are formulas, which take 0.4 s to set
                    axis.set_major_formatter(lambda value, _: _power_of_ten(value))
                    axis.set_minor_formatter("")
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def draw_tangent(f: Callable[[float], float], slope: float, at: float, *, name: str) -> str | None:
    """Draw a curve and the line that touches it. slope: the gradient of f at ``at``. name: what f is called."""
    reach = max(2.0, 1.25 * abs(at))
    xs = [at + reach * (i / 100 - 1) for i in range(201)]
    near = [x for x in xs if abs(x - at) <= reach / 2]

    def plot(axes: Axes) -> None:
        title = f"The gradient is the slope of the tangent: {slope:.6g} at x = {at:.6g}"
        axes.set(title=title, xlabel="x", ylabel=name)
        axes.plot(xs, [f(x) for x in xs], color=BLUE, linewidth=2.2, label=name)
        line = [f(at) + slope * (x - at) for x in near]
        axes.plot(near, line, color=ORANGE, linewidth=2, label=f"tangent, slope {slope:.6g}")
        axes.plot([at], [f(at)], "o", color=ORANGE, markersize=8)
        axes.legend(frameon=False)

    return draw(plot)


def draw_convergence(steps: Sequence[float], errors: Sequence[float]) -> str | None:
    """Draw the error of a finite difference over its step, both on logarithmic axes; an error of 0 has no point."""

    def plot(axes: Axes) -> None:
        title = "How near a finite difference comes to the gradient"
        axes.set(title=title, xlabel="step h", ylabel="|finite difference − gradient|")
        axes.loglog(steps, [e or None for e in errors], "o-", color=BLUE, linewidth=2, label="measured")
        axes.loglog(steps, steps, "--", color=GREY, label="h, the error of the formula")
        axes.invert_xaxis()
        axes.legend(frameon=False)

    return draw(plot)


def _power_of_ten(value: float) -> str:
    """Return a power of ten as such, anything else as a number."""
    exponent = round(math.log10(value)) if value > 0 else 0
    return f"10{str(exponent).translate(_RAISED)}" if math.isclose(value, 10.0**exponent) else f"{value:g}"


def draw_bars(bars: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, title: str, y_label: str) -> str | None:
    """Draw stacked bars. bars: (name, its parts), a part being (what it is, its height)."""
    kinds = list(dict.fromkeys(kind for _, parts in bars for kind, _ in parts))
    colours = dict(zip(kinds, (BLUE, ORANGE, GREEN, GREY), strict=False))

    def plot(axes: Axes) -> None:
        axes.set(title=title, ylabel=y_label)
        for i, (_, parts) in enumerate(bars):
            _stack(axes, i, parts, colours)
        axes.set_xticks(range(len(bars)), [name for name, _ in bars])
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_xlim(-0.6, len(bars) - 0.2)
        if not any(height for _, parts in bars for _, height in parts):
            axes.set_ylim(-1, 1)  # of its own accord matplotlib would magnify nothing
        axes.legend([_patch(colours[k]) for k in kinds], kinds, frameon=False)

    return draw(plot)


def _stack(axes: Axes, position: int, parts: Sequence[tuple[str, float]], colours: dict[str, str]) -> None:
    """Stack the positive parts upwards and the negative ones downwards, their sum a line across."""
    up = down = 0.0
    for kind, height in parts:
        axes.bar(position, height, 0.55, bottom=up if height >= 0 else down, color=colours[kind])
        up, down = (up + height, down) if height >= 0 else (up, down + height)
    total = up + down
    axes.plot([position - 0.32, position + 0.32], [total, total], color="black", linewidth=1.6)
    axes.annotate(f"{total:.6g}", (position + 0.32, total), (3, 0), textcoords="offset points", va="center")


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour)
