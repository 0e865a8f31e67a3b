"""Other answers to ex20_own_function."""

import torch
from torch.autograd import Function


def with_setup_context():
    class Scale(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, k):
            return x * k

        @staticmethod
        def setup_context(ctx, inputs, output):
            _, ctx.k = inputs

        @staticmethod
        def backward(ctx, cotangent):
            return cotangent * ctx.k, None

    class Round(Function):
        @staticmethod
        def forward(x):
            return torch.round(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, cotangent):
            return cotangent.clone()

    return [Scale, Round]


def with_saved_tensors():
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(torch.full_like(x, k))
            return k * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, cotangent):
            (k,) = ctx.saved_tensors
            return k * cotangent if ctx.needs_input_grad[0] else None, None

    class Round(Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone().round_()

        @staticmethod
        def backward(ctx, cotangent):
            return 1 * cotangent

    return Scale, Round


def under_other_names():
    class Times(Function):
        def forward(self, x, k):
            self.factor = k
            return torch.mul(x, k)

        def backward(self, dy):
            return dy * self.factor, None

    class StraightThrough(Function):
        def forward(self, x):
            return torch.floor(x + 0.5)

        def backward(self, dy):
            return dy

    return Times, StraightThrough


def with_autograd_inside():
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.k = k
            return k * x

        @staticmethod
        def vjp(ctx, cotangent):
            with torch.enable_grad():
                x = torch.zeros_like(cotangent).requires_grad_()
                return *torch.autograd.grad(ctx.k * x, x, cotangent), None

    class Round(Function):
        @staticmethod
        def forward(ctx, x):
            return x - (x - x.round())

        @staticmethod
        def backward(ctx, cotangent):
            return cotangent

    return Scale, Round


class _Round(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, cotangent):
        return cotangent


def nothing_for_k():
    class MyScale(Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx, dy):
            return (dy * ctx.k,)

    return MyScale, _Round


def swapped():
    class MyScale(Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx, dy):
            return None, dy * ctx.k

    return MyScale, _Round


def slope_of_scale():
    class MyScale(Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(x)
            ctx.k = k
            return k * x

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return torch.ones_like(x) * ctx.k, None

    return MyScale, _Round


def in_a_closure():
    kept = {}

    class MyScale(Function):
        @staticmethod
        def forward(ctx, x, k):
            kept["k"] = k
            return k * x

        @staticmethod
        def backward(ctx, dy):
            return dy * kept["k"], None

    return MyScale, _Round


def in_place():
    scale, _ = with_saved_tensors()

    class MyScale(scale):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(torch.full_like(x, k))
            x *= k
            return x

    return MyScale, _Round


def forward_only():
    class MyScale(Function):
        @staticmethod
        def forward(ctx, x, k):
            return x * k

    return MyScale, _Round


def zero_for_round():
    scale, _ = with_setup_context()

    class MyRound(Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, dy):
            return 0 * dy

    return scale, MyRound


RIGHT = (
    with_setup_context,
    with_saved_tensors,
    under_other_names,
    with_autograd_inside,
)

MISTAKES = {
    nothing_for_k: "one_return",
    swapped: "gradient_for_a_number",
    slope_of_scale: "scale_forgot_the_chain",
    in_a_closure: "one_k_for_all",
    in_place: "changed_x",
    forward_only: "no_backward",
    zero_for_round: "true_derivative",
}
