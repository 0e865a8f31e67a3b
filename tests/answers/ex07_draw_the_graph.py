"""Other answers to ex07_draw_the_graph."""

from itertools import pairwise


def recursive(z):
    seen, edges = {}, []

    def visit(node):
        if node in seen:
            return
        seen[node] = type(node).__name__
        for child, _ in node.next_functions:
            if child:
                visit(child)
                edges.append((seen[node], seen[child]))

    visit(z.grad_fn)
    return seen.values(), edges


def level_by_level(z):
    level, nodes = {z.grad_fn}, set()
    while level:
        nodes |= level
        level = {child for node in level for child, _ in node.next_functions if child} - nodes
    edges = [[node.name(), child.name()] for node in nodes for child, _ in node.next_functions if child]
    return [node.name() for node in nodes], edges


def by_id(z):
    names, edges, todo = {}, [], [z.grad_fn]
    while todo:
        node = todo.pop()
        if id(node) not in names:
            names[id(node)] = node.name().split("::")[-1]
            children = [child for child, _ in node.next_functions if child]
            edges += [(node.name().split("::")[-1], child.name().split("::")[-1]) for child in children]
            todo += children
    return list(names.values()), tuple(edges)


def tree_by_recursion(z):
    names, edges = [], []

    def visit(node):
        names.append(type(node).__name__)
        for child, _ in node.next_functions:
            if child:
                edges.append((type(node).__name__, type(child).__name__))
                visit(child)

    visit(z.grad_fn)
    return names, edges


def a_set_of_names(z):
    names, edges = set(), []

    def visit(node):
        if node.name() in names:
            return
        names.add(node.name())
        for child, _ in reversed(node.next_functions):
            if child:
                edges.append((node.name(), child.name()))
        for child, _ in reversed(node.next_functions):
            if child:
                visit(child)

    visit(z.grad_fn)
    return names, edges


def down_the_first(z):
    node, chain = z.grad_fn, []
    while node:
        chain.append(node.name())
        node = dict(enumerate(node.next_functions)).get(0, (None,))[0]
    return chain, list(pairwise(chain))


def every_entry_has_a_name(z):
    names, edges = [], []

    def visit(node):
        names.append(node.name())
        for child, _ in node.next_functions:
            edges.append((node.name(), child.name()))
            visit(child)

    visit(z.grad_fn)
    return names, edges


RIGHT = (
    recursive,
    level_by_level,
    by_id,
)

MISTAKES = {
    tree_by_recursion: "as_a_tree",
    a_set_of_names: "known_by_name",
    down_the_first: "first_input_only",
    every_entry_has_a_name: "nothing_has_no_name",
}
