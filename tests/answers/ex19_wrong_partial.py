"""Other answers to ex19_wrong_partial."""

import re
import warnings

import torch


def from_the_message(f, x, y, z):
    inputs = [t.to("cpu", torch.float64).requires_grad_() for t in (x, y, z)]
    try:
        torch.autograd.gradcheck(f, inputs)
    except RuntimeError as error:
        return "xyz"[int(re.search(r"input (\d)", str(error))[1])]
    return "none"


def by_hand(f, x, y, z):
    point = torch.stack([x, y, z]).cpu().double().requires_grad_()
    (slopes,) = torch.autograd.grad(f(*point), point)
    with torch.no_grad():
        nudges = 1e-5 * torch.eye(3, dtype=torch.float64)
        differences = [(f(*(point + n)) - f(*(point - n))) / 2e-5 for n in nudges]
    for name, slope, difference in zip("xyz", slopes, differences, strict=True):
        if abs(slope - difference) > 1e-6 * abs(difference):
            return name
    return "none"


def with_the_others_fixed(f, x, y, z):
    x, y, z = (float(t) for t in (x, y, z))

    def tensor(number, **options):
        return torch.tensor(number, dtype=torch.float64, **options)

    for name, g, at in (
        ("x", lambda t: f(t, tensor(y), tensor(z)), x),
        ("y", lambda t: f(tensor(x), t, tensor(z)), y),
        ("z", lambda t: f(tensor(x), tensor(y), t), z),
    ):
        try:
            torch.autograd.gradcheck(g, tensor(at, requires_grad=True), fast_mode=True)
        except RuntimeError:
            return name
    return "none"


def the_last_first(f, x, y, z):
    at = {"x": x.cpu().double(), "y": y.cpu().double(), "z": z.cpu().double()}
    wrong = "none"
    for name in "zyx":
        point = {n: t.clone().requires_grad_(n == name) for n, t in at.items()}
        if not torch.autograd.gradcheck(f, tuple(point.values()), raise_exception=False):
            wrong = name
    return wrong


def warned_and_ignored(f, x, y, z):
    with warnings.catch_warnings(action="ignore"):
        for tracked in (x, y, z):
            tracked.requires_grad_()
            if not torch.autograd.gradcheck(f, (x, y, z), raise_exception=False):
                return "x" if tracked is x else "y" if tracked is y else "z"
            tracked.requires_grad_(False)
    return "none"


def too_tolerant(f, x, y, z):
    for name in "xyz":
        inputs = [t.cpu().double().requires_grad_(n == name) for t, n in zip((x, y, z), "xyz", strict=True)]
        if not torch.autograd.gradcheck(f, inputs, atol=1, rtol=0.05, raise_exception=False):
            return name
    return "none"


def the_rest(f, x, y, z):
    x, y, z = x.cpu().double(), y.cpu().double(), z.cpu().double()
    if not torch.autograd.gradcheck(lambda x: f(x, y, z), x.clone().requires_grad_(), raise_exception=False):
        return "x"
    if not torch.autograd.gradcheck(lambda y: f(x, y, z), y.clone().requires_grad_(), raise_exception=False):
        return "y"
    return "z"


def unasked(f, x, y, z):
    torch.autograd.gradcheck(f, (x.double(), y.double(), z.double()))
    return "none"


def uncaught(f, x, y, z):
    for i, name in enumerate("xyz"):
        inputs = [t.cpu().double() for t in (x, y, z)]
        inputs[i].requires_grad_()
        if not torch.autograd.gradcheck(f, inputs):
            return name
    return "none"


RIGHT = (
    from_the_message,
    by_hand,
    with_the_others_fixed,
    the_last_first,
)

MISTAKES = {
    warned_and_ignored: "single_precision",
    too_tolerant: "loose",
    the_rest: "by_elimination",
    unasked: "untracked",
    uncaught: "let_it_raise",
}
