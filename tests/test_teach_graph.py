import pytest
import torch

from lab.teach.graph import walk


def leaf(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def test_walk_finds_every_operation_and_ends_at_the_leaves() -> None:
    x, y = leaf(2), leaf(3)
    z = x**2 + y**3
    graph = walk(z, x=x, y=y, z=z)
    assert [(n.name, n.operation) for n in graph.nodes] == [
        ("z", "AddBackward0"),
        ("", "PowBackward0"),
        ("x", "AccumulateGrad"),
        ("", "PowBackward0"),
        ("y", "AccumulateGrad"),
    ]
    assert [n.value.item() for n in graph.leaves] == [2, 3]


def test_backward_fills_in_the_gradient_of_each_node() -> None:
    x = leaf(3)
    h = x * x
    y = h * h
    graph = walk(y, x=x, h=h)
    assert all(node.gradient is None for node in graph.nodes)
    y.backward()
    gradients = {node.name: node.gradient.item() for node in graph.nodes if node.name}
    assert gradients == {"h": 2 * 9, "x": 4 * 27}  # dy/dh = 2h, dy/dx = 4x³


def test_a_shared_tensor_is_one_node_with_an_edge_for_each_use() -> None:
    x = leaf(2)
    h = x + x
    y = h * h
    graph = walk(y, x=x, h=h, y=y)
    assert [node.name for node in graph.nodes] == ["y", "h", "x"]
    assert [(a.name, b.name) for a, b in graph.edges] == [("y", "h"), ("y", "h"), ("h", "x"), ("h", "x")]


def test_each_node_comes_before_its_inputs() -> None:
    x = leaf(2)
    a = x * 2
    b = a + x
    graph = walk(b * a, x=x, a=a, b=b)
    place = {id(node): i for i, node in enumerate(graph.nodes)}
    assert all(place[id(node)] < place[id(source)] for node, source in graph.edges)


def test_constants_are_no_nodes() -> None:
    x = leaf(2)
    assert len(walk(x * torch.tensor(5.0), x=x).nodes) == 2


def test_a_tensor_without_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="no grad_fn"):
        walk(leaf(2))


def test_the_text_shows_values_gradients_and_repeats() -> None:
    x = leaf(2)
    h = x + x
    y = h * h
    graph = walk(y, x=x, h=h, y=y)
    y.backward()
    lines = str(graph).splitlines()
    assert lines[0].split() == ["y:", "MulBackward0", "value", "16", "gradient", "1"]
    assert lines[1].endswith("value 4  gradient 8")
    assert lines[-1].endswith("(see above)")
    assert max(map(len, lines)) <= 80
