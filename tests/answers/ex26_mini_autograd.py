"""Other answers to ex26_mini_autograd."""

import heapq
import itertools

import torch


def with_closures():  # noqa: C901  # a class counts as one function
    """As micrograd writes it, but for the results, which start from 0 at each call."""

    class Value:
        def __init__(self, data, parents=(), send=lambda out: None):
            self.data, self.grad = data, 0.0
            self._parents, self._send = parents, send

        @staticmethod
        def of(x):
            return x if isinstance(x, Value) else Value(x)

        def __add__(self, other):
            other = Value.of(other)

            def send(out):
                self.grad += out.grad
                other.grad += out.grad

            return Value(self.data + other.data, (self, other), send)

        def __mul__(self, other):
            other = Value.of(other)

            def send(out):
                self.grad += other.data * out.grad
                other.grad += self.data * out.grad

            return Value(self.data * other.data, (self, other), send)

        def __pow__(self, n):
            def send(out):
                self.grad += n * self.data ** (n - 1) * out.grad

            return Value(self.data**n, (self,), send)

        def relu(self):
            def send(out):
                self.grad += (out.data > 0) * out.grad

            return Value(0 if self.data < 0 else self.data, (self,), send)

        def __neg__(self):
            return -1 * self

        def __radd__(self, other):
            return self + other

        def __sub__(self, other):
            return self + (-other)

        def __rsub__(self, other):
            return other + (-self)

        def __rmul__(self, other):
            return self * other

        def __truediv__(self, other):
            return self * other**-1 if isinstance(other, Value) else self * (1 / other)

        def __rtruediv__(self, other):
            return other * self**-1

        def order(self):
            found, seen = [], set()

            def build(v):
                if v not in seen:
                    seen.add(v)
                    for parent in v._parents:
                        build(parent)
                    found.append(v)

            build(self)
            return found

        def backward(self):
            order = self.order()
            for value in order:
                if value._parents:
                    value.grad = 0.0
            self.grad = 1.0
            for value in reversed(order):
                value._send(value)

    return Value


def micrograd():
    Value = with_closures()

    def backward(self):
        order = self.order()
        self.grad = 1
        for value in reversed(order):
            value._send(value)

    Value.backward = backward
    return Value


class Numbered:
    """A tape: what was made later has a higher number."""

    numbers = itertools.count()

    def __init__(self, data, sources=()):
        self.data, self.grad = float(data), 0.0
        self.sources, self.number = list(sources), next(self.numbers)

    def _two(self, other, f, df, dg):
        other = other if isinstance(other, Numbered) else Numbered(other)
        x, y = self.data, other.data
        return type(self)(f(x, y), [(self, df(x, y)), (other, dg(x, y))])

    def __add__(self, other):
        return self._two(other, lambda x, y: x + y, lambda x, y: 1.0, lambda x, y: 1.0)

    def __sub__(self, other):
        return self._two(other, lambda x, y: x - y, lambda x, y: 1.0, lambda x, y: -1.0)

    def __mul__(self, other):
        return self._two(other, lambda x, y: x * y, lambda x, y: y, lambda x, y: x)

    def __truediv__(self, other):
        return self._two(other, lambda x, y: x / y, lambda x, y: 1 / y, lambda x, y: -x / y**2)

    def __rsub__(self, other):
        return Numbered(other) - self

    def __rtruediv__(self, other):
        return Numbered(other) / self

    def __neg__(self):
        return 0 - self

    def __pow__(self, n):
        return Numbered(self.data**n, [(self, n * self.data ** (n - 1))])

    def relu(self):
        return self * 1 if self.data > 0 else self * 0

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        """Take the latest that has got something, again and again."""
        arrived, waiting = {self: 1.0}, [(-self.number, self)]
        while waiting:
            _, value = heapq.heappop(waiting)
            cotangent = arrived[value]
            if not value.sources:
                value.grad += cotangent
            for source, slope in value.sources:
                if source not in arrived:
                    arrived[source] = 0.0
                    heapq.heappush(waiting, (-source.number, source))
                arrived[source] += slope * cotangent


def by_number():
    return Numbered


def forward_accumulation():
    """Each result carries its derivatives by all leaves."""

    class Value(Numbered):
        def __init__(self, data, sources=()):
            super().__init__(data)
            self.slopes = {} if sources else {self: 1.0}
            for source, slope in sources:
                for leaf, inner in getattr(source, "slopes", {}).items():
                    self.slopes[leaf] = self.slopes.get(leaf, 0.0) + slope * inner

        def __pow__(self, n):
            return Value(self.data**n, [(self, n * self.data ** (n - 1))])

        def __rsub__(self, other):
            return Value(other) - self

        def __rtruediv__(self, other):
            return Value(other) / self

        def backward(self):
            for leaf, slope in self.slopes.items():
                leaf.grad += slope

    return Value


def every_path():
    Value = with_closures()

    def push(value, cotangent):
        if not value._parents:
            value.grad += cotangent
            return
        for parent in value._parents:
            before, parent.grad = parent.grad, 0.0
            value.grad = 1.0
            others = [(p, p.grad) for p in value._parents]
            value._send(value)
            slope = parent.grad / value._parents.count(parent)
            for p, grad in others:
                p.grad = grad
            parent.grad = before
            push(parent, slope * cotangent)

    Value.backward = lambda self: push(self, 1.0)
    return Value


def dressed_up_torch():
    class Value(torch.Tensor):
        def __new__(cls, data):
            return torch.tensor(float(data), dtype=torch.float64, requires_grad=True)

    return Value


def always_from_nothing():
    Value = with_closures()

    def backward(self):
        order = self.order()
        for value in order:
            value.grad = 0
        self.grad = 1
        while order:
            value = order.pop()
            value._send(value)

    Value.backward = backward
    return Value


RIGHT = (
    with_closures,
    by_number,
    forward_accumulation,
)

MISTAKES = {
    micrograd: "results_keep_theirs",
    every_path: "path_by_path",
    dressed_up_torch: "by_torch",
    always_from_nothing: "cleared_before",
}
