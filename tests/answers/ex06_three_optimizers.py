"""Other answers to ex06_three_optimizers."""

import copy

import torch
from torch.optim import SGD, Adam


def one_after_the_other(model, loss, lr, steps):
    models = [copy.deepcopy(model) for _ in range(3)]
    optimizers = [
        SGD(models[0].parameters(), lr),
        SGD(models[1].parameters(), lr, momentum=0.9, foreach=False),
        Adam(models[2].parameters(), lr, foreach=True),
    ]
    losses = [[], [], []]
    for _ in range(steps):
        for trained, optimizer, row in zip(models, optimizers, losses, strict=True):
            value = loss(trained)
            row.append(value.detach())
            value.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
    return dict(zip(("sgd", "momentum", "adam"), losses, strict=True))


def restored_from_a_copy(model, loss, lr, steps):
    start = copy.deepcopy(model.state_dict())
    found = {}
    for name, kind, more in (("sgd", SGD, {}), ("momentum", SGD, {"momentum": 0.9}), ("adam", Adam, {})):
        optimizer = kind(model.parameters(), lr=lr, **more)
        found[name] = []
        for _ in range(steps):
            model.zero_grad()
            value = loss(model)
            value.backward()
            found[name].append(value.item())
            optimizer.step()
        model.load_state_dict(start)
    model.zero_grad()
    return found


def with_closures(model, loss, lr, steps):
    def run(trained, kind, **more):
        optimizer = kind(trained.parameters(), lr=lr, **more)

        def closure():
            optimizer.zero_grad()
            value = loss(trained)
            value.backward()
            return value

        return [optimizer.step(closure).item() for _ in range(steps)]

    return {
        "adam": run(copy.deepcopy(model), Adam),
        "momentum": run(copy.deepcopy(model), SGD, momentum=0.9),
        "sgd": run(copy.deepcopy(model), SGD),
    }


def by_grad(model, loss, lr, steps):
    losses = {}
    for name in ("sgd", "momentum", "adam"):
        trained = copy.deepcopy(model)
        parameters = list(trained.parameters())
        optimizer = Adam(parameters, lr) if name == "adam" else SGD(parameters, lr, 0.9 * (name == "momentum"))
        losses[name] = torch.zeros(steps, dtype=parameters[0].dtype)
        for step in range(steps):
            value = loss(trained)
            losses[name][step] = value.item()
            for parameter, gradient in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
                parameter.grad = gradient
            optimizer.step()
    return losses


def _run(trained, optimizer, loss, steps, clear=True):
    losses = []
    for _ in range(steps):
        if clear:
            optimizer.zero_grad()
        losses.append(loss(trained))
        losses[-1].backward()
        optimizer.step()
    return [value.item() for value in losses]


def shallow(model, loss, lr, steps):
    one, two, three = (copy.copy(model) for _ in range(3))
    return {
        "sgd": _run(one, SGD(one.parameters(), lr), loss, steps),
        "momentum": _run(two, SGD(two.parameters(), lr, 0.9), loss, steps),
        "adam": _run(three, Adam(three.parameters(), lr), loss, steps),
    }


def a_dict_of_the_state(model, loss, lr, steps):
    start = dict(model.state_dict().items())
    losses = {"sgd": _run(model, SGD(model.parameters(), lr), loss, steps)}
    model.load_state_dict(start)
    losses["momentum"] = _run(model, SGD(model.parameters(), lr, 0.9), loss, steps)
    model.load_state_dict(start)
    losses["adam"] = _run(model, Adam(model.parameters(), lr), loss, steps)
    return losses


def optimizers_first(model, loss, lr, steps):
    optimizers = {
        "sgd": SGD(model.parameters(), lr),
        "momentum": SGD(model.parameters(), lr, 0.9),
        "adam": Adam(model.parameters(), lr),
    }
    return {name: _run(copy.deepcopy(model), optimizer, loss, steps) for name, optimizer in optimizers.items()}


def piled_up(model, loss, lr, steps):
    one, two, three = (copy.deepcopy(model) for _ in range(3))
    return {
        "sgd": _run(one, SGD(one.parameters(), lr), loss, steps, clear=False),
        "momentum": _run(two, SGD(two.parameters(), lr, 0.9), loss, steps, clear=False),
        "adam": _run(three, Adam(three.parameters(), lr), loss, steps, clear=False),
    }


def the_first_on_the_model(model, loss, lr, steps):
    two, three = copy.deepcopy(model), copy.deepcopy(model)
    return {
        "sgd": _run(model, SGD(model.parameters(), lr), loss, steps),
        "momentum": _run(two, SGD(two.parameters(), lr, 0.9), loss, steps),
        "adam": _run(three, Adam(three.parameters(), lr), loss, steps),
    }


def restored_before_each_of_two(model, loss, lr, steps):
    start = copy.deepcopy(model.state_dict())
    losses = {"sgd": _run(model, SGD(model.parameters(), lr), loss, steps)}
    model.load_state_dict(start)
    losses["momentum"] = _run(model, SGD(model.parameters(), lr, 0.9), loss, steps)
    model.load_state_dict(start)
    losses["adam"] = _run(model, Adam(model.parameters(), lr), loss, steps)
    return losses


def started_from_one_new_model(model, loss, lr, steps):
    new = torch.nn.Linear(1, 1)
    one, two, three = (copy.deepcopy(new) for _ in range(3))
    return {
        "sgd": _run(one, SGD(one.parameters(), lr), loss, steps),
        "momentum": _run(two, SGD(two.parameters(), lr, 0.9), loss, steps),
        "adam": _run(three, Adam(three.parameters(), lr), loss, steps),
    }


def reset(model, loss, lr, steps):
    one, two, three = (copy.deepcopy(model) for _ in range(3))
    for trained in (one, two, three):
        trained.reset_parameters()
    return {
        "sgd": _run(one, SGD(one.parameters(), lr), loss, steps),
        "momentum": _run(two, SGD(two.parameters(), lr, 0.9), loss, steps),
        "adam": _run(three, Adam(three.parameters(), lr), loss, steps),
    }


def put_back_and_cleared_once(model, loss, lr, steps):
    start = copy.deepcopy(model.state_dict())
    losses = shallow(model, loss, lr, steps)
    model.load_state_dict(start)
    model.zero_grad()
    return losses


def copied_back_once(model, loss, lr, steps):
    start = [p.detach().clone() for p in model.parameters()]
    losses = shallow(model, loss, lr, steps)
    for p, before in zip(model.parameters(), start, strict=True):
        p.data.copy_(before)
    return losses


def restored_before_each_of_three(model, loss, lr, steps):
    start, losses = copy.deepcopy(model.state_dict()), {}
    for name, kind, more in (("sgd", SGD, {}), ("momentum", SGD, {"momentum": 0.9}), ("adam", Adam, {})):
        model.load_state_dict(start)
        losses[name] = _run(model, kind(model.parameters(), lr=lr, **more), loss, steps)
    return losses


def loaded_into_copies_afterwards(model, loss, lr, steps):
    start, losses = copy.deepcopy(model.state_dict()), {}
    for name, kind, more in (("sgd", SGD, {}), ("momentum", SGD, {"momentum": 0.9}), ("adam", Adam, {})):
        trained = copy.deepcopy(model) if losses else model
        trained.load_state_dict(start)
        losses[name] = _run(trained, kind(trained.parameters(), lr=lr, **more), loss, steps)
    return losses


RIGHT = (
    one_after_the_other,
    restored_from_a_copy,
    with_closures,
    by_grad,
)

MISTAKES = {
    shallow: "goes_on",
    a_dict_of_the_state: "restored_from_itself",
    put_back_and_cleared_once: "one_copy",
    copied_back_once: "put_back_once",
    restored_before_each_of_three: "given_model_trained",
    loaded_into_copies_afterwards: "given_model_trained",
    optimizers_first: "other_parameters",
    piled_up: "never_cleared",
    the_first_on_the_model: "given_model_trained",
    restored_before_each_of_two: "given_model_trained",
    started_from_one_new_model: "new_models",
    reset: "new_models",
}
