"""The computational graph, walked by hand: from a result's ``grad_fn`` along ``next_functions`` to the leaves.

https://docs.pytorch.org/docs/stable/notes/autograd.html says how the graph encodes history.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Node:
    """One node: an operation's backward function, or the AccumulateGrad of a leaf.

    operation: PyTorch's name for it. name: the tensor's name where one was given. value: the tensor's value
    where it is known. gradient: what backward() brought to it, once it has run. inputs: the nodes that it
    passes gradients on to.
    """

    operation: str
    leaf: bool
    name: str = ""
    value: Tensor | None = None
    gradient: Tensor | None = None
    inputs: list[Node] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The name of the tensor, or what the operation is called in the forward direction."""
        return self.name or re.sub(r"Backward\d*$", "", self.operation).lower()


@dataclass(frozen=True)
class Graph:
    """The graph behind a result. nodes: every node once, the result's first, each before its inputs."""

    nodes: list[Node]

    @property
    def leaves(self) -> list[Node]:
        """The nodes where the walk ends: tensors that collect a gradient."""
        return [node for node in self.nodes if node.leaf]

    @property
    def edges(self) -> list[tuple[Node, Node]]:
        """Every (node, input), as many times as the input is used."""
        return [(node, source) for node in self.nodes for source in node.inputs]

    def __str__(self) -> str:
        """Draw the graph as a tree in text; a node that is reached again is not unfolded again."""
        return "\n".join(_tree(self.nodes[0], "", "", set()))


def walk(result: Tensor, **names: Tensor) -> Graph:
    """Walk the graph behind a result and watch it, so that backward() fills in the gradients.

    result: (...), tracked. names: tensors by the name to show, to give nodes names and values; a leaf's value
    is known without. Raises: ValueError where the result has no graph.
    """
    if result.grad_fn is None:
        raise ValueError("the result has no grad_fn: it was made without tracked tensors, or under no_grad")
    named: dict[Any, tuple[str, Tensor]] = {_key(tensor): (name, tensor) for name, tensor in names.items()}
    seen: dict[Any, Node] = {}
    _visit(result.grad_fn, named, seen)
    return Graph(_topological(seen[result.grad_fn]))


def _key(tensor: Tensor) -> Any:
    """Return what identifies a tensor in the graph: its grad_fn, or for a leaf the tensor itself."""
    return id(tensor) if tensor.grad_fn is None else tensor.grad_fn


def _visit(function: Any, named: dict[Any, tuple[str, Tensor]], seen: dict[Any, Node]) -> Node:
    """Turn a backward function into a node, its inputs first unless they were seen."""
    if function in seen:
        return seen[function]
    leaf = getattr(function, "variable", None)
    name, tensor = named.get(function if leaf is None else id(leaf), ("", leaf))
    node = seen[function] = Node(
        function.name().rpartition("::")[2],
        leaf is not None,
        name,
        None if tensor is None else tensor.detach().clone(),
    )
    # A hook before the node runs sees the gradient with respect to the node's tensor.
    function.register_prehook(lambda gradients: setattr(node, "gradient", gradients[0]))
    # An input that needs no gradient, such as a constant, is (None, 0).
    node.inputs = [_visit(source, named, seen) for source, _ in function.next_functions if source is not None]
    return node


def _topological(root: Node) -> list[Node]:
    """Order the nodes so that each comes before its inputs."""
    order: list[Node] = []
    visited: set[int] = set()

    def visit(node: Node) -> None:
        if id(node) not in visited:
            visited.add(id(node))
            for source in reversed(node.inputs):  # so that the first input comes first once it is turned around
                visit(source)
            order.append(node)

    visit(root)
    return order[::-1]


def _tree(node: Node, first: str, rest: str, seen: set[int]) -> Iterator[str]:
    known = (("value", node.value), ("gradient", node.gradient))
    facts = [f"{name} {show_number(tensor)}" for name, tensor in known if tensor is not None]
    again = id(node) in seen and bool(node.inputs)
    title = first + (f"{node.name}: {node.operation}" if node.name else node.operation)
    yield f"{title:<34}  {'  '.join(facts)}{'  (see above)' if again else ''}".rstrip()
    if id(node) in seen:
        return
    seen.add(id(node))
    for i, source in enumerate(node.inputs):
        last = i == len(node.inputs) - 1
        yield from _tree(source, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), seen)


def show_number(tensor: Tensor) -> str:
    """Show a tensor in a few characters: a number in six digits, or a larger tensor's shape."""
    return f"{tensor.item():.6g}" if tensor.numel() == 1 else f"shape {tuple(tensor.shape)}"
