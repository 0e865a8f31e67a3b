"""What the cells of a lesson may import, beside torch and lab.device.

All of it needs torch alone; pictures appear where matplotlib is installed.
"""

from lab.teach.graph import Graph, walk
from lab.teach.pictures import draw, draw_bars, draw_convergence, draw_graph, draw_tangent
from lab.teach.stage import check_gradient, check_value, claim, claim_raises, picture

__all__ = [
    "Graph",
    "check_gradient",
    "check_value",
    "claim",
    "claim_raises",
    "draw",
    "draw_bars",
    "draw_convergence",
    "draw_graph",
    "draw_tangent",
    "picture",
    "walk",
]
