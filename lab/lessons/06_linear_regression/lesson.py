# %% tags=["script"]
# `python lesson.py` shows the whole lesson, prose and results in turn, with
# torch alone. The notebook and `make lesson LESSON=06` run the other cells.
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from lab.teach.perform import run_as_script

run_as_script(__file__)

# %% [markdown]
# # Lesson 06: Building and Training a Linear Regression Model
#
# How long will the trip take? From trips that were timed we look for the line
# time = w · distance + b that fits them best. Nobody types w and b: the
# gradients of lesson 05 find them, step by step, and that is all that
# training is.
#
# The line is fitted twice, first with nothing but lesson 05, then with the
# parts that PyTorch has for it. After that comes what a model of two
# parameters lets us do and a large one does not: compare training with the
# exact answer, and say beforehand which learning rate is too large.
#
# `check_value` compares a number with its reference. `check_gradient`,
# `claim` and `picture` are those of lesson 05.

# %% tags=["parameters"]
lr: float = 0.1  # learning rate, in [0.0001, 1]
epochs: int = 1000  # how often all trips are gone through, in [1, 10000]
samples: int = 20  # trips that were timed, in [5, 1000]
noise: float = 0.5  # their scatter in minutes, in [0, 2]
optimizer: str = "sgd"  # of part 7, one of sgd, momentum, adam
device: str = "auto"  # auto, or a name that `lab doctor` shows
dtype: str = "float32"  # one of float64, float32, bfloat16, float16
seed: int = 0  # of the trips, in [0, 1000000]

# %%
import math
from fractions import Fraction
from itertools import accumulate

import torch
from torch import nn

from lab.compare import compare
from lab.device import check_dtype, resolve_device
from lab.teach.show import (
    check_gradient,
    check_value,
    claim,
    draw,
    picture,
)

torch_device = resolve_device(device)
where = {"device": torch_device, "dtype": check_dtype(torch_device, dtype)}
print(f"{dtype} on {torch_device}, seed {seed}, torch {torch.__version__}")

# %% [markdown]
# ## 1. The data: distance and time
#
# A trip takes 5 minutes a kilometre and 2 minutes at the door, and then
# chance adds its part. The trips are drawn at random, so we know the line
# behind them. The model does not: all that it sees is x, the distances, and
# y, the times.

# %%
# Drawn on the CPU, so that every device gets the same numbers.
generator = torch.Generator().manual_seed(seed)
draws = {"generator": generator, "dtype": torch.float64}


def behind(distance):
    """The line behind the trips."""
    return 5 * distance + 2


def draw_trips(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    distance = 1 + 3 * torch.rand(number, **draws)
    # The sum of three draws is nearly normal, and the same on every CPU.
    chance = 2 * (torch.rand(3, number, **draws) - 0.5).sum(0)
    time = behind(distance) + noise * chance
    return distance.to(**where), time.to(**where)


x, y = draw_trips(samples)

print("  distance   time")
for distance, time in zip(x[:4].tolist(), y[:4].tolist(), strict=True):
    print(f"  {distance:>5.2f} km {time:>6.2f} min")
print(f"  ... {samples} trips in all")

# %% [markdown]
# ## 2. The model, its loss and the gradients
#
# The **model** predicts ŷ = w·x + b. Its **parameters** w and b are leaves
# that track. The **loss** says in one number how wrong it is: the mean of the
# squared errors, L = 1/N · Σ (w·xᵢ + b - yᵢ)². One `backward()` brings both
# partial derivatives, and here we know them in closed form:
#
# * ∂L/∂w = 2/N · Σ (w·xᵢ + b - yᵢ) · xᵢ
# * ∂L/∂b = 2/N · Σ (w·xᵢ + b - yᵢ)
#
# The exact ones below are computed in fractions, without any rounding. Each
# is a sum over all trips, in which much cancels once the line fits. It is the
# single terms that are rounded, so their size is the scale on which an error
# is judged.


# %%
def loss_at(w: torch.Tensor, b: torch.Tensor, x=x, y=y) -> torch.Tensor:
    return ((w * x + b - y) ** 2).mean()


def parameters_at(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(v, **where, requires_grad=True) for v in values]


X = [Fraction(value) for value in x.tolist()]  # as the dtype holds them
Y = [Fraction(value) for value in y.tolist()]


def exact_gradients(w: torch.Tensor, b: torch.Tensor) -> list[float]:
    W, B = Fraction(w.item()), Fraction(b.item())
    errors = [W * xi + B - yi for xi, yi in zip(X, Y, strict=True)]
    by_w = sum(e * xi for e, xi in zip(errors, X, strict=True))
    return [float(2 * by_w / samples), float(2 * sum(errors) / samples)]


def terms(w: float, b: float) -> list[float]:
    """The same sums, of sizes without their signs: what is rounded."""
    sizes = [abs(w) * xi + abs(b) + yi for xi, yi in zip(X, Y, strict=True)]
    by_w = sum(size * xi for size, xi in zip(sizes, X, strict=True))
    return [float(2 * by_w / samples), float(2 * sum(sizes) / samples)]


w, b = parameters_at(0.0, 0.0)
loss_at(w, b).backward()
exact, scale = exact_gradients(w, b), terms(0.0, 0.0)
print("at w = 0, b = 0:")
check_gradient("∂L/∂w", w.grad, exact[0], scale=scale[0])
check_gradient("∂L/∂b", b.grad, exact[1], scale=scale[1])
claim("both are negative: w and b have to grow", w.grad < 0 and b.grad < 0)

# %% [markdown]
# ## 3. Training by hand
#
# The gradient points uphill, so a **step** goes the other way, as far as the
# **learning rate** lr says. Four things in turn, and again and again. The
# same loop trains nearly every network there is:
#
# 1. **predict**: what does the model say now?
# 2. **loss**: how wrong is that?
# 3. **backward**: which way does the loss grow?
# 4. **step**: go a little the other way, unrecorded, and clear the gradients.
#
# Once through all of the data is an **epoch**.

# %%
w, b = parameters_at(0.0, 0.0)
path, losses = [(w.item(), b.item())], []
for _ in range(epochs):
    prediction = w * x + b  # predict
    loss = ((prediction - y) ** 2).mean()  # loss
    loss.backward()  # backward
    with torch.no_grad():  # step
        w.sub_(w.grad, alpha=lr)  # w -= lr * w.grad, rounded once
        b.sub_(b.grad, alpha=lr)
    w.grad.zero_()
    b.grad.zero_()
    losses.append(loss.item())
    path.append((w.item(), b.item()))


def is_tame(*points: tuple[float, float]) -> bool:
    """Say whether nothing has run away: then there is much to compare."""
    return all(abs(value) < 1e4 for point in points for value in point)


tame = is_tame(*path)
losses.append(loss_at(w, b).item())
print("  after epoch        loss         w         b")
for k in sorted(k for k in {0, 1, 2, 10, 100, epochs} if k <= epochs):
    print(
        f"  {k:>11} {losses[k]:>11.5g} {path[k][0]:>9.5g} {path[k][1]:>9.5g}"
    )
if not losses[-1] < losses[0]:
    print(f"the loss has grown: lr = {lr:g} is too large, see part 5")
claim("w and b are still leaves, changed in place", w.is_leaf and b.is_leaf)

# %% tags=["hide-input"]
lines = [k for k in (0, 1, 2, 10, 100) if k < epochs] + [epochs]
lines = [k for k in lines if abs(path[k][0]) + abs(path[k][1]) < 1000]


def plot_fit(axes) -> None:
    axes.set(xlabel="distance x (km)", ylabel="time y (minutes)")
    axes.set_title("The line as it learns: first pale, then blue")
    axes.plot(x.tolist(), y.tolist(), "o", color="C3", label="trips")
    for i, k in enumerate(lines):
        ends = [path[k][0] * end + path[k][1] for end in (1, 4)]
        last = k == epochs
        axes.plot(
            (1, 4),
            ends,
            color="C1" if last else "C0",
            alpha=1 if last else 0.25 + 0.6 * i / len(lines),
            linewidth=2.2 if last else 1.4,
            label=f"after {k} epoch{'s' if k != 1 else ''}",
        )
    axes.legend(frameon=False, fontsize=9)


def plot_loss(axes) -> None:
    height = [v if 0 < v < 1e30 else None for v in losses]
    axes.set(xlabel="after epoch", ylabel="loss (minutes²)")
    axes.set_title("The loss curve")
    axes.plot(height, color="C0", linewidth=2)
    axes.set_yscale("log")
    if epochs > 50:
        axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(0)


picture("fit", draw(plot_fit, plot_loss, width=11))

# %% [markdown]
# ## 4. The exact answer
#
# For a line we can know where training should end. At the bottom of the loss
# both gradients are zero. That makes two linear equations for w and b, the
# **normal equations**, and their solution is the **least-squares** line. Here
# they are solved in fractions.
#
# We can even know each step. The second derivatives of L are the same
# everywhere: ∂²L/∂w² = 2/N · Σ xᵢ², ∂²L/∂w∂b = 2/N · Σ xᵢ and ∂²L/∂b² = 2.
# Together they are the **Hessian** H. A step multiplies the way that is left
# to the solution by (1 - lr·H), so k steps multiply it k times.

# %%
mean_x, mean_xx = sum(X) / samples, sum(xi * xi for xi in X) / samples
mean_y = sum(Y) / samples
mean_xy = sum(xi * yi for xi, yi in zip(X, Y, strict=True)) / samples
slope = (mean_xy - mean_x * mean_y) / (mean_xx - mean_x * mean_x)
best = torch.tensor(
    [float(slope), float(mean_y - slope * mean_x)], dtype=torch.float64
)
print(f"least squares: w = {best[0]:.8g}, b = {best[1]:.8g}")
H = 2 * torch.tensor(
    [[float(mean_xx), float(mean_x)], [float(mean_x), 1]],
    dtype=torch.float64,
)
ones = tuple(parameters_at(1.0, 1.0))
found = torch.autograd.functional.hessian(loss_at, ones)
check_gradient("∂²L/∂w²", found[0][0], H[0, 0])
check_gradient("∂²L/∂w∂b", found[0][1], H[0, 1])
check_gradient("∂²L/∂b²", found[1][1], H[1, 1])

# %% [markdown]
# H is symmetric, so there are two perpendicular directions in which it only
# stretches. How much it stretches is the **curvature** of the loss in that
# direction, an eigenvalue of H, and (1 - lr · curvature)ᵏ of the way is left
# in it after k steps.
#
# Rounding adds a little in every step, which the steps after it shrink as
# well. So far, and no further, may training be from the theory. In a dtype of
# few digits that can be far: near the bottom a step may be so small beside w
# that it is rounded away, and training stands still.

# %%
curvatures, directions = torch.linalg.eigh(H)  # the smaller one first
flattest, steepest = curvatures.tolist()


def after(steps: int, start: torch.Tensor, lr: float) -> torch.Tensor:
    """Where so many steps lead from a start, in theory."""
    along = directions.T @ (start - best)
    return best + directions @ ((1 - lr * curvatures) ** steps * along)


def rounding(steps: int, lr: float, points) -> list[float]:
    """The scale of what rounding adds up to in 1, 2, 3, ... steps."""
    shrink = max(abs(1 - lr * flattest), abs(1 - lr * steepest))
    # Where it grows instead: beyond any tolerance, and still no overflow.
    together = accumulate(min(shrink**k, 1e9) for k in range(steps))
    far = [max(abs(p[i]) for p in (*points, best.tolist())) for i in (0, 1)]
    one_step = max(far) + lr * max(terms(*far))
    return [one_step * sum_of_all for sum_of_all in together]


theory = after(epochs, torch.zeros(2, dtype=torch.float64), lr)
if tame:
    scale = rounding(epochs, lr, path)[-1]
    for name, value, expected in zip("wb", (w, b), theory, strict=True):
        check_value(
            f"{name} at epoch {epochs}",
            value,
            expected,
            scale=scale,
            words=("descent", "theory"),
        )
    print(
        "to the least-squares solution:"
        f" descent {math.dist(path[-1], best.tolist()):.2g},"
        f" theory {math.dist(theory.tolist(), best.tolist()):.2g}"
    )
else:
    print("w and b ran away: there is nothing to compare")


# %% tags=["hide-input"]
def plot_path(points, title: str):
    """Draw the way of w and b over the contours of the loss: ellipses."""
    centre = best.tolist()
    inside = [p for p in points if math.dist(p, centre) < 30]
    reach = [
        1.15 * max(1.0, *(abs(p[i] - centre[i]) for p in inside))
        for i in (0, 1)
    ]
    turns = [
        [math.cos(turn * math.pi / 90), math.sin(turn * math.pi / 90)]
        for turn in range(181)
    ]
    circle = torch.tensor(turns, dtype=torch.float64).T

    def plot(axes) -> None:
        for k in range(-8, 15):  # each twice as high above the bottom
            radii = (2 * 2.0**k / curvatures).sqrt()
            ellipse = best.unsqueeze(1) + directions @ (
                radii.unsqueeze(1) * circle
            )
            axes.plot(*ellipse.tolist(), color="C3", linewidth=0.5)
        axes.plot(*zip(*inside, strict=True), "o-", color="C0", markersize=3)
        axes.plot(*centre, "*", color="C1", markersize=13)
        limits = [(c - r, c + r) for c, r in zip(centre, reach, strict=True)]
        axes.set(xlim=limits[0], ylim=limits[1])
        axes.set(title=title, xlabel="w", ylabel="b")

    return plot


picture("path", draw(plot_path(path, "The way of w and b to the bottom, ★")))

# %% [markdown]
# ## 5. How large may a step be?
#
# The factor 1 - lr · curvature shrinks the way that is left as long as it
# lies between -1 and 1, in the steepest direction too. So lr has to stay
# below **2 / the largest eigenvalue of H**. Just below it, each step jumps
# across the bottom and lands a little nearer. Just above, every step lands a
# little further away.

# %%
limit = 2 / steepest
print(f"curvatures {flattest:.4g} and {steepest:.4g}: limit {limit:.4g}")
print(f"lr = {lr:g} is {lr / limit:.3g} times the limit")


def descend(start: torch.Tensor, lr: float, steps: int, x=x, y=y):
    """Train by hand where x and y are; return where w and b were."""
    w, b = (x.new_tensor(v, requires_grad=True) for v in start.tolist())
    points = [(w.item(), b.item())]
    for _ in range(steps):
        by_w, by_b = torch.autograd.grad(loss_at(w, b, x, y), (w, b))
        with torch.no_grad():
            w.sub_(by_w, alpha=lr)
            b.sub_(by_b, alpha=lr)
        points.append((w.item(), b.item()))
    return points


# Away from the solution in the steepest direction, as far as it is large.
away = best + directions[:, 1] * best.norm()
left = {}
for part in (0.95, 1.05):
    points = descend(away, part * limit, 30)
    first, last = (math.dist(points[k], best.tolist()) for k in (0, -1))
    left[part] = last / first
    predicted = abs(1 - 2 * part) ** 30
    print(f"  {part:.2f} × the limit, 30 steps: ", end="")
    print(f"{left[part]:.3g} of the way left, theory {predicted:.3g}")
claim("below the limit training comes nearer", left[0.95] < 1)
claim("above the limit it runs away", left[1.05] > 1)

# %% tags=["hide-input"]
zero = torch.zeros(2, dtype=torch.float64)
kinds = {"Too small": 0.01, "Right": 0.6, "Too large": 1.02}
picture(
    "steps",
    draw(
        *(
            plot_path(
                descend(zero, part * limit, 25), f"{kind}: {part:g} × limit"
            )
            for kind, part in kinds.items()
        ),
        width=13,
    ),
)

# %% [markdown]
# ## 6. The same with PyTorch's parts
#
# Nobody writes the bookkeeping by hand for a million parameters:
#
# * An `nn.Module` holds its parameters and computes the prediction in
#   `forward`. An `nn.Parameter` is a leaf that tracks and that its module
#   knows.
# * `nn.MSELoss()` is the loss.
# * `torch.optim.SGD(model.parameters(), lr=lr)` holds on to the parameters:
#   `step()` changes them in place, `zero_grad()` clears their gradients.
#
# The loop stays the same, whatever the model is.


# %%
class Line(nn.Module):
    """Predict w·x + b. x: (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros((), **where))
        self.b = nn.Parameter(torch.zeros((), **where))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * x + self.b


def train(model: nn.Module, optim, x, y, epochs: int) -> list[float]:
    """Train a model in place and return the loss of each epoch."""
    criterion = nn.MSELoss()
    losses = []
    for _ in range(epochs):
        prediction = model(x)  # predict
        loss = criterion(prediction, y)  # loss
        optim.zero_grad()
        loss.backward()  # backward
        optim.step()  # step
        losses.append(loss.item())
    return losses


line = Line()
sgd = torch.optim.SGD(line.parameters(), lr=lr)
module_losses = train(line, sgd, x, y, epochs)

# %% [markdown]
# PyTorch has this model too: `nn.Linear(1, 1)`, one input feature, one
# output. It wants a row for each trip, (N, 1), and then the targets have to
# have that shape as well: (N,) against (N, 1) would broadcast to (N, N)
# without an error. It starts at random; here it is set to zero as the others.

# %%
linear = nn.Linear(1, 1, **where)
nn.init.zeros_(linear.weight)
nn.init.zeros_(linear.bias)
sgd = torch.optim.SGD(linear.parameters(), lr=lr)
rows, targets = x.unsqueeze(1), y.unsqueeze(1)
print(f"x {tuple(x.shape)}, rows of nn.Linear {tuple(rows.shape)}")
train(linear, sgd, rows, targets, epochs)
wrong = linear(rows) - y
claim("(N, 1) - (N,) has (N, N) errors", wrong.shape == (samples, samples))

# %% [markdown]
# Is it the same? The own module does what the loop by hand did, operation by
# operation. `nn.Linear` multiplies matrices, which may add in another order,
# and then it differs by what rounding adds up to.

# %%
if tame:
    trained = {
        "w, own module": (line.w, w),
        "b, own module": (line.b, b),
        "w, nn.Linear": (linear.weight.squeeze(), w),
        "b, nn.Linear": (linear.bias.squeeze(), b),
    }
    for name, (value, hand) in trained.items():
        check_value(name, value, hand, scale=scale, words=("SGD", "by hand"))
else:
    print("w and b ran away: there is nothing to compare")

# %% [markdown]
# ## 7. Other optimizers
#
# The loop does not care how a step is made of the gradients. The limit of
# part 5 is that of plain gradient descent; each of these has its own:
#
# * **SGD** takes lr times the gradient.
# * **Momentum** takes lr times a running sum of the gradients, in which an
#   older one counts 0.9 times as much with every step: it builds up speed
#   along a valley.
# * **Adam** divides a running mean of the gradients by the root of a running
#   mean of their squares, for each parameter alone. So its first step is lr
#   long, however steep it is, and later ones are seldom longer.


# %%
def make_optimizer(name: str, parameters) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(parameters, lr=lr)
    momentum = 0.9 if name == "momentum" else 0
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum)


one_step = Line()
train(one_step, torch.optim.SGD(one_step.parameters(), lr=lr), x, y, 1)
models, firsts = {"sgd": line}, {"sgd": one_step.w.item()}
for name in ("momentum", "adam"):
    model = models[name] = Line()
    chosen = make_optimizer(name, model.parameters())
    train(model, chosen, x, y, 1)
    firsts[name] = model.w.item()
    train(model, chosen, x, y, epochs - 1)
for name, model in models.items():
    print(
        f"  {name:<9} w = {firsts[name]:<8.4g} after one step, then"
        f" w = {model.w.item():.4g}, b = {model.b.item():.4g}"
    )
g = abs(exact[0])
first = torch.tensor(firsts["adam"], **where)
check_value("Adam's first step", first, lr * g / (g + 1e-8))
claim(
    "momentum's first step is that of SGD",
    firsts["momentum"] == firsts["sgd"],
)

# %% [markdown]
# The optimizer that you chose, and its gradients where it ended, beside their
# closed form. Near the bottom so much cancels that many ulps of the small sum
# may be right.

# %%
model = models[optimizer]
ended = (model.w.item(), model.b.item())
print(f"{optimizer} at epoch {epochs}:")
if is_tame(ended):
    model.zero_grad()
    loss = nn.MSELoss()(model(x), y)
    loss.backward()
    exact, sizes = exact_gradients(model.w, model.b), terms(*ended)
    check_gradient("∂L/∂w, trained", model.w.grad, exact[0], scale=sizes[0])
    check_gradient("∂L/∂b, trained", model.b.grad, exact[1], scale=sizes[1])
    W, B = map(Fraction, ended)
    squares = [(W * xi + B - yi) ** 2 for xi, yi in zip(X, Y, strict=True)]
    sums = [abs(W) * xi + abs(B) + yi for xi, yi in zip(X, Y, strict=True)]
    if loss.isfinite():  # a square can overflow where w and b do not
        check_value(
            "L, trained",
            loss,
            float(sum(squares) / samples),
            scale=float(max(sums) ** 2),
            words=("loss", "exact"),
        )
else:
    print("w and b ran away: there is nothing to compare")

# %% [markdown]
# ## 8. Using the model
#
# A trained model is asked about trips that it has not seen. Two switches
# belong to that, and they are not the same:
#
# * `model.eval()` tells layers such as dropout that training is over, and
#   `model.train()` that it goes on. A line has no such layers.
# * `torch.no_grad()` stops the recording, as in lesson 05.

# %%
model.eval()
claim("eval() does not stop the recording", model(x).requires_grad)
new_x, new_y = draw_trips(samples)
with torch.no_grad():
    predicted = model(new_x)
    old_loss, new_loss = (
        nn.MSELoss()(model(distances), times).item()
        for distances, times in ((x, y), (new_x, new_y))
    )
    in_between = model(torch.tensor(2.5, **where))
claim("under no_grad() nothing tracks", not predicted.requires_grad)
print(
    f"2.5 km: {in_between.item():.4g} min, by the line behind {behind(2.5)}"
)
print(f"loss: {old_loss:.4g} on the trips of the training, ", end="")
print(f"{new_loss:.4g} on {samples} new ones")
model.train()

# %% [markdown]
# ## 9. Why training on two right machines parts
#
# Train this once more on the same device, and every bit is the same. (Not
# every operation promises that: some add in the order in which threads come.
# `torch.use_deterministic_algorithms(True)` refuses those.) Another device
# rounds in other places. It is just as right, and still its numbers are
# others: training on two machines **drifts** apart.
#
# Below, the other machine is the CPU, or, if you are on it, one that adds the
# trips in the opposite order. The tolerance is the rule of all comparisons
# here, 16 roundings of what was added, taken to what all steps add up to.
# `make verify` judges a device by that number too, one gradient at a time.

# %%
again = Line()
sgd = torch.optim.SGD(again.parameters(), lr=lr)
again_losses = train(again, sgd, x, y, epochs)


def exactly(model: nn.Module, losses: list[float]) -> str:
    """Every digit of them; as text, because nan is not equal to nan."""
    return str([[p.item() for p in model.parameters()], losses])


claim(
    "trained again: the same losses and parameters, bit by bit",
    exactly(again, again_losses) == exactly(line, module_losses),
)

if torch_device.type == "cpu":
    other_x, other_y = x.flip(0), y.flip(0)
else:
    other_x, other_y = x.cpu(), y.cpu()

if tame:
    there = descend(torch.zeros(2), lr, epochs, other_x, other_y)
    scales = torch.tensor(rounding(epochs, lr, path), dtype=torch.float64)
    drift = compare(
        torch.tensor(path[1:], **where),
        torch.tensor(there[1:], dtype=torch.float64),
        scale=scales.unsqueeze(1).expand(epochs, 2),
    )
    gaps, allowed = drift.absolute.amax(1), drift.tolerance.amax(1)
    print("  epoch     apart   allowed")
    for k in sorted({k for k in (1, 2, 5, 10, 100) if k < epochs} | {epochs}):
        print(f"  {k:>5} {gaps[k - 1]:>9.2g} {allowed[k - 1]:>9.2g}")
    claim("the drift never exceeds the tolerance", drift.ratio <= 1)
else:
    print("w and b ran away: there is nothing to compare")

# %% [markdown]
# Below the limit a line forgives: every step shrinks the errors of the steps
# before, so the drift stays small for as long as you train, and often it is
# gone in the end. That is no law. Where a step **stretches** what is left, it
# stretches every rounding error as well.
#
# The loss of a network is not curved the same everywhere. Take the smallest
# one, two layers that share one weight, ŷ = u·u·x, one trip of 1 km and 1
# minute, and a step that is too large at the bottom and right elsewhere. One
# machine squares the error, u·u - 1. The other multiplies the square out,
# u·u·u·u - 2·u·u + 1. Each operation of both is rounded correctly.


# %%
def train_curve(loss_of, lr: float, steps: int) -> list[float]:
    u = torch.tensor(0.5, **where, requires_grad=True)
    curve = []
    for _ in range(steps):
        loss = loss_of(u)
        (by_u,) = torch.autograd.grad(loss, u)
        with torch.no_grad():
            u -= lr * by_u
        curve.append(loss.item())
    return curve


squared = train_curve(lambda u: (u * u - 1) ** 2, 0.45, 100)
expanded = train_curve(lambda u: u * u * u * u - 2 * u * u + 1, 0.45, 100)
apart = [abs(p - q) for p, q in zip(squared, expanded, strict=True)]
parted = next((k for k, gap in enumerate(apart) if gap > 0.4), len(apart))
for k in (0, 5, 10, 20, 40, 80):
    print(f"  epoch {k:>2}: losses {squared[k]:.6f} and {expanded[k]:.6f}")
claim(
    f"the losses part: by epoch {parted} they are more than 0.4 apart",
    parted < len(apart),
)


# %% tags=["hide-input"]
def plot_parting(axes) -> None:
    axes.set(xlabel="epoch", ylabel="loss", ylim=(0, 1.3))
    axes.set_title("Two layers on two right machines")
    axes.plot(squared, color="C0", label="u·u - 1, squared")
    axes.plot(expanded, "--", color="C1", label="multiplied out")
    axes.legend(frameon=False, ncols=2, loc="upper right")


def plot_drift(axes) -> None:
    axes.set(xlabel="epoch", ylabel="w or b, loss", title="How far apart")
    axes.plot(
        [gap or None for gap in apart], color="C1", label="two layers, loss"
    )
    if tame:
        few = range(1, min(epochs, len(apart)) + 1)
        line_gaps = [gaps[k - 1].item() or None for k in few]
        axes.plot(few, line_gaps, "o", color="C0", label="a line, w or b")
        limits = [allowed[k - 1].item() for k in few]
        axes.plot(few, limits, ":", color="C0", label="tolerance of the line")
    axes.set_yscale("log")
    axes.legend(loc="center right", framealpha=1)


picture("drift", draw(plot_parting, plot_drift, width=11))

# %% [markdown]
# So curves of two right machines may part, and curves alone do not tell a
# wrong machine from a right one. Compare gradients, where nothing has piled
# up yet: that is what `make verify` does.
#
# ## What to take along
#
# * Training is four things in turn: predict → loss → backward → step.
# * A step goes against the gradient, lr times as far. For plain descent lr
#   has to stay below 2 / the largest curvature.
# * `nn.Module`, `nn.MSELoss` and `torch.optim` do the bookkeeping. The loop
#   stays the same, and so does its result, up to rounding.
# * Clear the gradients in every step, and give prediction and target one
#   shape.
# * Evaluate with `model.eval()` *and* `torch.no_grad()`.
# * On one device this training can be repeated to the bit. On two it drifts.
#
# Now practise: `make exercises LESSON=06`.
