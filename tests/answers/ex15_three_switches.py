"""Other answers to ex15_three_switches."""

from contextlib import nullcontext

import torch


def by_a_table(f, x, case):
    switches = {
        "score": torch.inference_mode,
        "serve": torch.inference_mode,
        "features": torch.no_grad,
        "teacher": torch.no_grad,
    }
    with switches.get(case, nullcontext)():
        return f(x).detach()


def by_decorators(f, x, case):
    match case:
        case "log" | "weight":
            return f(x).data
        case "features" | "teacher":
            return torch.no_grad()(f)(x)
        case _:
            return torch.inference_mode()(f)(x)


def by_set_grad_enabled(f, x, case):
    with torch.inference_mode(case in ("score", "serve")), torch.set_grad_enabled(case in ("log", "weight")):
        result = f(x)
    return result.detach().clone() if case in ("log", "weight") else result


def a_number_for_the_log(f, x, case):
    if case in ("log", "weight"):
        made = f(x)
        return torch.tensor(made.item(), dtype=made.dtype, device=made.device)
    return by_a_table(f, x, case)


def no_grad_by_decorator(f, x, case):
    @torch.no_grad()
    def run():
        return f(x)

    return run()


def serve_and_train(f, x, case):
    with torch.inference_mode(case not in ("log", "weight")):
        return f(x).detach()


def all_by_data(f, x, case):
    return f(x).data


def eager_no_grad(f, x, case):
    if case in ("score", "serve"):
        return torch.inference_mode()(f)(x)
    return torch.no_grad()(f)(x)


RIGHT = (
    by_a_table,
    by_decorators,
    by_set_grad_enabled,
    a_number_for_the_log,
)

MISTAKES = {
    no_grad_by_decorator: "score_no_grad",
    serve_and_train: "features_inference",
    all_by_data: "score_detach",
    eager_no_grad: "log_no_grad",
}
