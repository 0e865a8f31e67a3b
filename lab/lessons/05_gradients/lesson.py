# %% tags=["script"]
# `python lesson.py` shows the whole lesson, prose and results in turn, with
# torch alone. The notebook and `make lesson` run the other cells.
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from lab.teach.perform import run_as_script

run_as_script(__file__)

# %% [markdown]
# # Lesson 05: Tensor Operations - Derivatives & Gradients
#
# Training a neural network means asking one question over and over: *if I
# nudge this number, how does the loss move?* The answer is a derivative.
# PyTorch computes it for every parameter at once, by exact rules and up to
# rounding: it records what you do to tensors and walks the recording
# backwards. This lesson looks at that machinery piece by piece.
#
# Every gradient below stands beside its closed form, with the distance in
# *ulps* (units in the last place: the gap between neighbouring floating point
# numbers). Every sentence with a ✓ was checked as it was printed.
#
# In the code, `check_gradient` compares a gradient with its closed form,
# `claim` checks a sentence, `walk` follows the graph and `picture` keeps a
# drawing. All else is plain PyTorch.

# %% tags=["parameters"]
x: float = 2.0  # where x² is differentiated, in [-100, 100]
y: float = 3.0  # where y³ is differentiated, in [-100, 100]
device: str = "auto"  # auto, or a name that `lab doctor` shows
dtype: str = "float32"  # one of float64, float32, bfloat16, float16
seed: int = 0  # of the random linear function, in [0, 1000000]

# %%
import torch

from lab.device import check_dtype, resolve_device
from lab.teach.show import (
    check_gradient,
    claim,
    claim_raises,
    draw_bars,
    draw_convergence,
    draw_graph,
    draw_tangent,
    picture,
    walk,
)

torch_device = resolve_device(device)
where = {"device": torch_device, "dtype": check_dtype(torch_device, dtype)}
# The numbers as the dtype holds them. Below, x and y name tensors.
x0, y0 = (torch.tensor(float(number), **where).item() for number in (x, y))
print(f"x = {x0:g} and y = {y0:g} as {dtype} on {torch_device}")
print(f"seed {seed}, torch {torch.__version__}")

# %% [markdown]
# ## 1. Tensors that track gradients
#
# A tensor is an array of numbers. With `requires_grad=True` it also keeps
# track: from now on PyTorch records every operation that it takes part in. A
# tensor that you make yourself is a **leaf**, and a leaf is where gradients
# end up, in its `.grad`.

# %%
plain = torch.tensor(x0, **where)
x = torch.tensor(x0, **where, requires_grad=True)
print(f"plain.requires_grad = {plain.requires_grad}")
print(f"x.requires_grad = {x.requires_grad}")
print(f"x.is_leaf = {x.is_leaf}, x.grad = {x.grad}")
claim(
    "a tensor does not track unless it is asked to", not plain.requires_grad
)
claim("before any backward(), .grad is None and not 0", x.grad is None)

# %% [markdown]
# Tracking can be switched on later, in place: the trailing underscore in
# `requires_grad_()` says so. It needs a floating point tensor, because only
# there does "nudge it a little" make sense.

# %%
plain.requires_grad_()
claim("requires_grad_() switches tracking on later", plain.requires_grad)
claim_raises(
    "a tensor of integers cannot track",
    lambda: torch.tensor([1, 2, 3], requires_grad=True),
)

# %% [markdown]
# ## 2. The computational graph
#
# Each operation on tracked tensors makes a new tensor that remembers its
# origin in `grad_fn`: the function that will carry gradients back through
# this operation. `grad_fn.next_functions` points on to the inputs' functions.
# These pointers *are* the computational graph. It is built anew while your
# code runs, so loops and branches need no special care.

# %%
x = torch.tensor(x0, **where, requires_grad=True)
y = x**2
print(f"y = x² = {y.item():g}")
print(f"y.grad_fn = {y.grad_fn.name()}, y.is_leaf = {y.is_leaf}")
print(f"x.grad_fn = {x.grad_fn}, x.is_leaf = {x.is_leaf}")
claim(
    "the result remembers its operation, the leaf has none",
    y.grad_fn is not None and x.grad_fn is None,
)

source, _ = y.grad_fn.next_functions[0]
print(f"y.grad_fn.next_functions[0] = {source.name()}")
claim("the walk from y ends at x itself", source.variable is x)
print(walk(y, x=x, y=y))

# %% [markdown]
# ## 3. Gradients with `backward()`
#
# `y.backward()` walks the graph from y to the leaves. At every node it
# multiplies what arrived by the local derivative: the chain rule, one
# operation at a time. It starts from a single number, because a gradient says
# how *one* number moves. For y = x² the closed form is dy/dx = 2x.

# %%
y.backward()
check_gradient("dy/dx = 2x", x.grad, 2 * x0)
claim_raises("a graph can be walked once: then it is freed", y.backward)
picture(
    "tangent", draw_tangent(lambda t: t * t, x.grad.item(), x0, name="y = x²")
)

# %% [markdown]
# Could we have done without the graph? A **finite difference** needs only
# values: (f(x + h) - f(x)) / h. For x² it is 2x + h, so its error is the step
# h itself... as long as the subtraction does not drown in rounding. Autograd
# has no step at all: it applies exact rules.


# %%
def square(t: float) -> float:
    return t * t


gradient = x.grad.item()
steps = [10.0**-k for k in range(1, 13)]
differences = [(square(x0 + h) - square(x0)) / h for h in steps]
errors = [abs(difference - gradient) for difference in differences]
print("in float64, whatever the dtype of the lesson:")
print("  step h    finite difference      its error")
for h, difference, error in zip(steps, differences, errors, strict=True):
    print(f"  {h:<8.0e}  {difference:<20.12g}   {error:.1e}")
best = min(range(len(steps)), key=errors.__getitem__)
print(f"nearest: an error of {errors[best]:.1e} with h = {steps[best]:.0e}")
if errors[-1] > errors[best]:
    print("smaller steps are worse again: the subtraction loses its digits")
shrunk = errors[0] / errors[2]
claim(
    f"a 100 times smaller step, a {shrunk:.0f} times smaller error",
    abs(shrunk - 100) < 1,
)
claim(
    "the finite difference approaches autograd's gradient",
    errors[best] < 1e-6 * (1 + x0 * x0),
)
picture("convergence", draw_convergence(steps, errors))

# %% [markdown]
# ## 4. Several variables
#
# With several inputs there is one **partial derivative** for each: how the
# result moves when this input alone is nudged and the others are held fixed.
# One backward pass finds all of them. For z = x² + y³: ∂z/∂x = 2x and ∂z/∂y =
# 3y².

# %%
x = torch.tensor(x0, **where, requires_grad=True)
y = torch.tensor(y0, **where, requires_grad=True)
x_squared, y_cubed = x**2, y**3
z = x_squared + y_cubed
graph = walk(z, x=x, y=y, z=z, **{"x²": x_squared, "y³": y_cubed})
z.backward()
if not z.isfinite():
    print(f"(z overflows {dtype}. Its derivatives do not.)")
print(f"z = x² + y³ = {z.item():g}, its graph from result to leaves:")
print(graph)
check_gradient("∂z/∂x = 2x", x.grad, 2 * x0)
check_gradient("∂z/∂y = 3y²", y.grad, 3 * y0 * y0)
claim(
    "an addition passes the gradient on unchanged",
    all(n.gradient == 1 for n in graph.nodes if not n.leaf),
)
picture("graph", draw_graph(graph))

# %% [markdown]
# A **linear function** f(v) = w · v is the simplest case of all and the heart
# of every layer: its gradient with respect to v is w, wherever v is. The
# weights here are random, so nobody could have typed the answer.

# %%
# Drawn on the CPU, so that every device gets the same numbers.
generator = torch.Generator().manual_seed(seed)
w, v = torch.rand(2, 3, generator=generator, dtype=torch.float64).to(**where)
for point in (v, 100 * v - 50):
    v = point.detach().clone().requires_grad_()
    (w * v).sum().backward()
    print("v =", [round(number, 3) for number in v.tolist()])
    for i, subscript in enumerate("₁₂₃"):
        check_gradient(f"∂f/∂v{subscript} = w{subscript}", v.grad[i], w[i])
claim("a gradient has the shape of its tensor", v.grad.shape == v.shape)

# %% [markdown]
# ## 5. Gradients accumulate
#
# `backward()` does not set `.grad`, it **adds** to it. That is on purpose: a
# batch too large for one pass, or several losses that share a parameter, need
# the sum. It also means that a training loop must clear `.grad` before the
# next step, or yesterday's gradients join today's.
#
# Where two addends nearly cancel, the error below is judged against the
# addends, since it is they that were rounded, and not against the small sum.

# %%
x = torch.tensor(x0, **where, requires_grad=True)
(x**2).backward()
first = x.grad.item()
check_gradient("after x²: 2x", x.grad, 2 * x0)
alias = x.grad

(x**3).backward()
terms = abs(2 * x0) + abs(3 * x0 * x0)  # what is added, and may cancel
check_gradient("then x³: 2x + 3x²", x.grad, 2 * x0 + 3 * x0 * x0, scale=terms)
accumulated = x.grad.item()
print(f"alias held {first:g} and now holds {alias.item():g}")
claim(
    ".grad is one object, and whoever holds it sees it change",
    alias is x.grad,
)

x.grad.zero_()
(x**3).backward()
check_gradient("zero_(), x³: 3x²", x.grad, 3 * x0 * x0)
claim("zero_() clears that object in place", alias is x.grad)
picture(
    "accumulation",
    draw_bars(
        [
            ("x²", [("from x²", first)]),
            (
                "then x³",
                [("from x²", first), ("from x³", accumulated - first)],
            ),
            ("zero_(), then x³", [("from x³", x.grad.item())]),
        ],
        title="What backward() leaves in x.grad",
        y_label="x.grad",
    ),
)

# %% [markdown]
# To keep a gradient from one backward pass, take a copy: `x.grad.clone()`.
# Optimisers clear with `zero_grad()`, which by default sets `.grad` to None:
# the next pass then makes a new tensor.
#
# ## 6. Computing without recording: `torch.no_grad()`
#
# Recording costs memory: what backward() will need is saved until it has run.
# For evaluation and for updating parameters nobody will call backward(), so
# switch recording off for a block: `with torch.no_grad():`. Below we count
# what a chain of operations saves, with PyTorch's own hooks.


# %%
def chain(t: torch.Tensor) -> torch.Tensor:
    for _ in range(10):
        t = t * t.cos()
    return t


def saved_elements(compute, t: torch.Tensor) -> int:
    """Count the elements that autograd keeps while compute(t) runs."""
    saved = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        compute(t)
    return sum(saved)


def chain_without_grad(t: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return chain(t)


def chain_in_inference(t: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return chain(t)


vector = torch.full((1000,), 0.5, **where, requires_grad=True)
ways = {
    "recorded": chain,
    "no_grad()": chain_without_grad,
    "inference_mode()": chain_in_inference,
    "chain(v).detach()": lambda t: chain(t).detach(),
    "chain(v.detach())": lambda t: chain(t.detach()),
}
saved = {
    name: saved_elements(compute, vector) for name, compute in ways.items()
}
print(f"  {'a chain on 1000 numbers':<25} {'saved':>6}  tracks  inference")
for name, compute in ways.items():
    result = compute(vector)
    tracks, inference = result.requires_grad, result.is_inference()
    print(f"  {name:<25} {saved[name]:>6}  {tracks!s:<6}  {inference}")
claim("under no_grad() nothing is saved", saved["no_grad()"] == 0)
claim(
    "... and the result does not track",
    not chain_without_grad(vector).requires_grad,
)
claim(
    "recorded, each step saves three tensors: cos one, the product two",
    saved["recorded"] == 3 * 10 * vector.numel(),
)

# %% [markdown]
# Three ways to leave the graph, and they differ:
#
# * `torch.no_grad()` switches recording off for a block. The results are
#   ordinary tensors and may take part in other graphs later.
# * `tensor.detach()` cuts one tensor out of its graph. What was computed
#   before has been recorded all the same: the table shows that detaching
#   *after* a computation saves no memory.
# * `torch.inference_mode()` goes further than `no_grad()`: its tensors may
#   not be saved for a backward pass, so most operations that mix them with
#   tracked tensors are refused.

# %%
x = torch.tensor(x0, **where, requires_grad=True)
with torch.no_grad():
    constant = x**2
claim(
    "a no_grad result has no grad_fn, and x itself still tracks",
    constant.grad_fn is None and x.requires_grad,
)
(constant * x).backward()
check_gradient("∂(c·x)/∂x = c", x.grad, constant)
claim(
    "detach() shares memory with its tensor",
    x.detach().data_ptr() == x.data_ptr(),
)
claim(
    "detach() after the chain: as much saved as recorded",
    saved["chain(v).detach()"] == saved["recorded"],
)
with torch.inference_mode():
    sealed = x.detach() ** 2
claim_raises(
    "an inference tensor is not saved for backward", lambda: sealed * x
)

# %% [markdown]
# And this is where training needs `no_grad()`: a step changes a parameter in
# place, and a step is nothing to differentiate.


# %%
def step(parameter: torch.Tensor) -> None:
    parameter -= 0.1 * parameter.grad


claim_raises("a tracked leaf refuses to be changed in place", lambda: step(x))
with torch.no_grad():
    step(x)
claim("under no_grad() the step is made, and x is still a leaf", x.is_leaf)

# %% [markdown]
# ## What to take along
#
# * `requires_grad=True` makes a leaf that tracks; operations on it build the
#   graph in `grad_fn`.
# * `backward()` applies the chain rule from the result to the leaves, and
#   **adds** to each leaf's `.grad`.
# * One pass gives the partial derivatives of all inputs.
# * Clear gradients before the next step; copy the ones you want to keep.
# * Compute without recording under `torch.no_grad()`.
#
# Now practise: the first three problems of `make exercises` are on what you
# have just read, the others go on from there.
