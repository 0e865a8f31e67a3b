"""Draw the graph.

The recording that backward() walks is made of small objects: each knows the
derivative of one operation and points back to where its inputs came from.
Whoever can walk it finds out why a parameter has no gradient, which part of a
network was detached, and what keeps memory alive.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Input,
    Mistake,
    Trial,
    Value,
    Values,
    describe,
    read_answer,
)


def draw_the_graph(z: Tensor) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names and the edges of the graph that leads back from z.

    The names are those of z.grad_fn and of every node that it leads to, each
    node once. Two nodes may have the same name, which then stands there
    twice. An edge is a pair of names: a node's, then that of a node in its
    next_functions. A node that points to another twice has two edges to it.
    Where next_functions holds None there is no edge. A name is what
    node.name() returns; "torch::autograd::" may be left out. The order of
    names and edges does not matter.

    For z = x * y + x, where x and y are leaves that track, names are
    AddBackward0, MulBackward0, AccumulateGrad and AccumulateGrad, and there
    are four edges: from AddBackward0 to MulBackward0, from AddBackward0 to
    AccumulateGrad, and twice from MulBackward0 to AccumulateGrad.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions:
            if child is not None:
                edges.append((node.name(), child.name()))
                if child not in nodes:
                    nodes.append(child)
    return [node.name() for node in nodes], edges


HINTS = (
    "A result knows one node, its grad_fn. What in that node points back to "
    "the nodes of its inputs? And how would you notice that you have been "
    "at a node before?",
    "Look up torch.autograd.graph.Node: name() and next_functions, a tuple "
    "of pairs, the first of each a node or None.",
    "for child, _ in node.____: if it is not ____, it makes an edge; if it "
    "is not among those found before, it has to be visited too.",
)

Graph = tuple[list[str], list[tuple[str, str]]]


def as_a_tree(z: Tensor) -> Graph:
    """Some nodes are there more than once: you visited them again for every
    way that leads to them, as if the graph were a tree.

    z was made by {steps}. Where a tensor is used twice, two edges end in one
    node. Remember the nodes themselves, and visit each once.
    """
    names, edges = [], []
    todo: list[Any] = [z.grad_fn]
    while todo:
        node = todo.pop()
        names.append(node.name())
        for child, _ in node.next_functions:
            if child is not None:
                edges.append((node.name(), child.name()))
                todo.append(child)
    return names, edges


def known_by_name(z: Tensor) -> Graph:
    """Nodes are missing: you took two for one because they have the same
    name.

    z was made by {steps}: every product has a MulBackward0 of its own, every
    leaf an AccumulateGrad of its own. Remember the nodes and not their
    names.
    """
    names, edges = [], []
    todo: list[Any] = [z.grad_fn]
    while todo:
        node = todo.pop()
        if node.name() in names:
            continue
        names.append(node.name())
        for child, _ in node.next_functions:
            if child is not None:
                edges.append((node.name(), child.name()))
                todo.append(child)
    return names, edges


def one_edge_per_node(z: Tensor) -> Graph:
    """The nodes are right, but edges are missing: you drew one to a node only
    when you found it for the first time.

    The others are those along which gradients add up. Visit each node once,
    and draw every edge.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions:
            if child is not None and child not in nodes:
                edges.append((node.name(), child.name()))
                nodes.append(child)
    return [node.name() for node in nodes], edges


def edges_once(z: Tensor) -> Graph:
    """The nodes are right, but edges with the same two names became one.

    A set keeps one of each. a * a points to the node of a twice, and both
    count: along each of them comes a gradient.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = set()
    for node in nodes:
        for child, _ in node.next_functions:
            if child is not None:
                edges.add((node.name(), child.name()))
                if child not in nodes:
                    nodes.append(child)
    return [node.name() for node in nodes], list(edges)


def first_input_only(z: Tensor) -> Graph:
    """That is one path and no graph: you followed the first entry of
    next_functions and left out the others.

    An operation has an entry for each of its inputs. Go through all of them.
    """
    names, edges = [], []
    node: Any = z.grad_fn
    while node is not None:
        names.append(node.name())
        child = node.next_functions[0][0] if node.next_functions else None
        if child is not None:
            edges.append((node.name(), child.name()))
        node = child
    return names, edges


def one_step(z: Tensor) -> Graph:
    """That is the last operation with its inputs. The graph goes on behind
    them.

    Every node that you find has next_functions of its own. The walk ends at
    nodes that have none.
    """
    root: Any = z.grad_fn
    children = [
        child for child, _ in root.next_functions if child is not None
    ]
    names = [node.name() for node in [root, *dict.fromkeys(children)]]
    return names, [(root.name(), child.name()) for child in children]


def from_the_leaves(z: Tensor) -> Graph:
    """Every edge points the wrong way: a node knows where its inputs came
    from and not what became of its output.

    The way of the gradient is from z to the leaves. In each pair, name the
    node first that has the other in its next_functions.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions:
            if child is not None:
                edges.append((child.name(), node.name()))
                if child not in nodes:
                    nodes.append(child)
    return [node.name() for node in nodes], edges


def leaves_left_out(z: Tensor) -> Graph:
    """The leaves are missing: nodes without next_functions belong to the
    graph too.

    For each leaf that tracks there is an AccumulateGrad. It is where
    backward() ends and adds to .grad.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions:
            if child is not None and child.next_functions:
                edges.append((node.name(), child.name()))
                if child not in nodes:
                    nodes.append(child)
    return [node.name() for node in nodes], edges


def root_left_out(z: Tensor) -> Graph:
    """The edges are right, but a name is missing: that of z.grad_fn itself,
    where they begin.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions:
            if child is not None:
                edges.append((node.name(), child.name()))
                if child not in nodes:
                    nodes.append(child)
    return [node.name() for node in nodes[1:]], edges


def nothing_has_no_name(z: Tensor) -> Graph:
    """Some entry of next_functions holds None where you expect a node with a
    name.

    z was made by {steps}, and c does not track. An input that does not track
    has no node: nothing has to be done for it on the way back. Such an entry
    is no edge.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions:
            edges.append((node.name(), child.name()))
            if child not in nodes:
                nodes.append(child)
    return [node.name() for node in nodes], edges


def nothing_leads_nowhere(z: Tensor) -> Graph:
    """You went on to a node that is None, and None has no next_functions.

    z was made by {steps}, and c does not track. An input that does not track
    has no node: nothing has to be done for it on the way back. Leave such an
    entry out.
    """
    nodes: list[Any] = [z.grad_fn]
    for node in nodes:
        for child, _ in node.next_functions:
            if child not in nodes:
                nodes.append(child)
    edges = [(n.name(), c.name()) for n in nodes for c, _ in n.next_functions]
    return [node.name() for node in nodes], edges


def nothing_as_a_node(z: Tensor) -> Graph:
    """You gave the entries that hold None a node and edges of their own.

    z was made by {steps}, and c does not track. Nothing has to be done for c
    on the way back, so the graph knows nothing of it.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions if node else ():
            edges.append((node.name(), child.name() if child else "None"))
            if child not in nodes:
                nodes.append(child)
    return [node.name() if node else "None" for node in nodes], edges


def with_addresses(z: Tensor) -> Graph:
    """Nodes and edges are right, but these are no names: str() of a node says
    where it lies in memory, which is somewhere else tomorrow.
    """
    nodes: list[Any] = [z.grad_fn]
    edges = []
    for node in nodes:
        for child, _ in node.next_functions:
            if child is not None:
                edges.append((str(node), str(child)))
                if child not in nodes:
                    nodes.append(child)
    return [str(node) for node in nodes], edges


def literal(z: Tensor) -> Graph:
    """That is the graph of x * y + x, typed in. This z was made by {steps}.
    Start from z.grad_fn.
    """
    add, mul, leaf = "AddBackward0", "MulBackward0", "AccumulateGrad"
    edges = [(add, mul), (add, leaf), (mul, leaf), (mul, leaf)]
    return [add, mul, leaf, leaf], edges


def behind_a_leaf(x: Tensor) -> object:
    """None: no operation has made x. The node of a leaf, AccumulateGrad, is
    found only by way of what was computed from it.
    """
    return x.grad_fn


def a_square(x: Tensor) -> bool:
    """True: there are two edges, one for each factor, and both end in the
    same node, that of x. Along them two gradients arrive and are added.
    """
    (left, _), (right, _) = (x * x).grad_fn.next_functions  # type: ignore[union-attr]
    return left is right


def twice(x: Tensor) -> int:
    """2, though the 2 is no tensor that tracks: an operation has an entry for
    each input, and that of a constant is None.
    """
    z = x * 2.0
    return len(z.grad_fn.next_functions)  # type: ignore[union-attr]


# How a step is written, what it calls and what its node is called.
OPERATIONS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "+": (torch.add, "AddBackward0"),
    "-": (torch.sub, "SubBackward0"),
    "*": (torch.mul, "MulBackward0"),
    "sin": (torch.sin, "SinBackward0"),
    "cos": (torch.cos, "CosBackward0"),
}


def draw(rng: random.Random) -> dict[str, Input]:
    """Each step uses the one before it, so all lead to z; one uses c."""
    targets = [*"abde"[: rng.randint(2, 4)], "z"]
    with_c = rng.choice(targets)
    known, steps = ["x"], []
    for target in targets:
        sign = rng.choice("+-*" if target == with_c else tuple(OPERATIONS))
        other = "c" if target == with_c else rng.choice([*known, "y"])
        pair = rng.sample((known[-1], other), 2)
        called = f"{sign}({known[-1]})"
        made = called if len(sign) > 1 else f" {sign} ".join(pair)
        steps.append(f"{made} → {target}")
        known.append(target)
    return {"steps": "; ".join(steps), "x": 2.0, "y": 3.0}


def _parse(steps: Input) -> Iterator[tuple[str, list[str], str]]:
    """Yield operation, operands and target of each step."""
    for step in str(steps).split("; "):
        made, target = step.split(" → ")
        operands = re.findall(r"\b[a-z]\b", made)
        yield re.findall(r"[-+*]|[a-z]{3}", made)[0], operands, target


def observe(attempt: Attempt, trial: Trial) -> Values:
    x, y = (trial.tensor(name).requires_grad_() for name in "xy")
    values = {"x": x, "y": y, "c": torch.ones_like(x)}
    for sign, operands, target in _parse(trial.inputs["steps"]):
        operation, _ = OPERATIONS[sign]
        values[target] = operation(*(values[name] for name in operands))
    z = values["z"]
    # A node's Python object, and its id(), last as long as someone has it.
    alive = list(_walk(z.grad_fn))
    names, edges = read_answer(
        attempt(z), "names", "edges", read=_read_list
    ).values()
    del alive
    return {"names": names, "edges": edges}


def _walk(node: Any) -> Iterator[Any]:
    if node is not None:
        yield node
        for child, _ in node.next_functions:
            yield from _walk(child)


def _read_list(part: object) -> Value:
    """Return names, or pairs of them, in the order of the alphabet."""
    if isinstance(part, str) or not isinstance(part, Iterable):
        raise AnswerError(
            f"Expected two lists, names and edges. One is {describe(part)}."
        )
    return sorted(map(_read_names, part), key=str) or "an empty list"


def _read_names(part: object) -> Value:
    if isinstance(part, list | tuple):
        return [_read_names(name) for name in part]
    if not isinstance(part, str):
        raise AnswerError(
            f"There is {describe(part)} among the names. Expected what "
            "node.name() returns, and pairs of these for edges."
        )
    name = part.removeprefix("torch::autograd::")
    return re.sub(r"0x[0-9a-f]+", "0x…", name)


def expected(trial: Trial) -> Values:
    names, edges, used = [], [], set()
    named: dict[str, str] = dict.fromkeys("xy", "AccumulateGrad")
    for sign, operands, target in _parse(trial.inputs["steps"]):
        _, name = OPERATIONS[sign]
        names.append(name)
        edges += [[name, named[o]] for o in operands if o in named]
        used.update(operands)
        named[target] = name
    names += [named[leaf] for leaf in used & {*"xy"}]
    return {"names": sorted(names), "edges": sorted(edges)}


CHECK = Check(
    solution=draw_the_graph,
    # A tensor used twice in one step, a leaf used twice, a constant.
    first={
        "steps": "x * y → a; a * a → b; c * b → d; sin(d) → e; e + x → z",
        "x": 2.0,
        "y": 3.0,
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(as_a_tree, hint=1),
        Mistake(known_by_name, hint=1),
        Mistake(one_edge_per_node, hint=3),
        Mistake(edges_once, hint=3),
        Mistake(first_input_only, hint=2),
        Mistake(one_step, hint=3),
        Mistake(from_the_leaves, hint=2),
        Mistake(leaves_left_out, hint=3),
        Mistake(root_left_out, hint=3),
        Mistake(nothing_has_no_name, hint=3),
        Mistake(nothing_leads_nowhere, hint=3),
        Mistake(nothing_as_a_node, hint=3),
        Mistake(with_addresses, hint=2),
        Mistake(literal, hint=1),
    ),
    predictions=(behind_a_leaf, a_square, twice),
)
