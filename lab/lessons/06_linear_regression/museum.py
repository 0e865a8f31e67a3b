"""The error museum of training: what layers and optimizers refuse, and what
they do without a word.

As in lesson 05: an exhibit is the smallest code that does it, its mend and
the advice that is often given. The messages that both lessons meet, such as
a loss that was not recorded, stand there. Numbers go on from there.
"""

# A list is not what a module is meant to be given.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import torch

from lab.practise import Exhibit


def samples_in_a_row() -> None:
    """A layer takes a row for each sample and a column for each feature. This
    input has another number of columns than the layer has inputs.

    Three samples of one feature are a column, (3, 1). Here they lie in one
    row, as one sample of three features.
    """
    model = torch.nn.Linear(1, 1)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    model(x)


def samples_in_a_column() -> object:
    """Give every sample a row of its own. unsqueeze(1) makes (N, 1) of (N,)
    by adding a dimension.
    """
    model = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(model.weight)
    torch.nn.init.zeros_(model.bias)
    x = torch.tensor([1.0, 2.0, 3.0]).unsqueeze(1)
    return model(x).sum().item()


def layer_for_the_row() -> object:
    """Make the layer fit: torch.nn.Linear(3, 1).

    It runs, and it is another model: one sample whose three features have a
    weight each, where there were three samples and one weight.
    """
    model = torch.nn.Linear(3, 1)
    torch.nn.init.constant_(model.weight, 0.5)
    torch.nn.init.zeros_(model.bias)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    return model(x).sum().item()


def data_in_double() -> None:
    """The layer and its input have different dtypes. Give both one: usually
    the model's, float32.

    Data that come from Python numbers by way of NumPy are float64, and the
    parameters of a layer are float32 unless you ask for something else.
    """
    model = torch.nn.Linear(1, 1)
    x = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    model(x)


def data_in_the_dtype_of_the_model() -> object:
    """Convert the data once, when they are loaded."""
    model = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(model.weight)
    torch.nn.init.zeros_(model.bias)
    x = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    return model(x.to(torch.float32)).sum().item()


def layers_in_a_list() -> None:
    """The optimizer was given no parameters at all: the module knows of none.

    A module knows the parameters, and the modules, that are its attributes.
    It does not look into a Python list, so those of the layer in it would
    not be trained, moved or saved either.
    """
    model = torch.nn.Module()
    model.layers = [torch.nn.Linear(1, 1)]
    torch.optim.SGD(model.parameters(), lr=0.5)


def layers_in_a_module_list() -> object:
    """nn.ModuleList is a list that a module looks into; for parameters of
    your own, nn.Parameter as an attribute, or nn.ParameterList.
    """
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
    torch.optim.SGD(model.parameters(), lr=0.5)
    return len(list(model.parameters()))


def a_parameter_for_the_optimizer() -> object:
    """Give the optimizer some tensor that requires grad.

    It is content, and trains that tensor. The layer in the list stays
    unknown.
    """
    model = torch.nn.Module()
    model.layers = [torch.nn.Linear(1, 1)]
    some = torch.zeros((), requires_grad=True)
    torch.optim.SGD([*model.parameters(), some], lr=0.5)
    return len(list(model.parameters()))


def column_against_row() -> object:
    """A column minus a row is a square: every prediction was compared with
    every target, and the loss is the mean over all of these pairs.

    The predictions of a layer have the shape (N, 1), the targets (N,). Here
    each prediction is exactly its target, so the loss should be 0.
    """
    prediction = torch.tensor([[1.0], [2.0], [3.0]])
    target = torch.tensor([1.0, 2.0, 3.0])
    return ((prediction - target) ** 2).mean()


def columns_against_columns() -> object:
    """Give the targets the shape of the predictions, once, where the data are
    made.
    """
    prediction = torch.tensor([[1.0], [2.0], [3.0]])
    target = torch.tensor([1.0, 2.0, 3.0]).unsqueeze(1)
    return ((prediction - target) ** 2).mean()


def mean_of_the_rows() -> object:
    """Reduce the loss once more: mean over the rows, then over the rest.

    The order does not matter: these are still all pairs.
    """
    prediction = torch.tensor([[1.0], [2.0], [3.0]])
    target = torch.tensor([1.0, 2.0, 3.0])
    return ((prediction - target) ** 2).mean(0).mean()


def dropout_while_evaluating() -> object:
    """no_grad() stops the recording and nothing else: dropout went on, and
    the answers are a matter of chance.

    With dropout of 1/2 each of the six ones is left out or doubled, so that
    none of them stays. Evaluation has to be told to the model itself.
    """
    model = torch.nn.Dropout(0.5)
    with torch.no_grad():
        answers = model(torch.ones(6))
    return (answers == 1).sum()


def dropout_switched_off() -> object:
    """eval() for the layers and no_grad() for the recording: both."""
    model = torch.nn.Dropout(0.5)
    model.eval()
    with torch.no_grad():
        answers = model(torch.ones(6))
    return (answers == 1).sum()


def dropout_with_a_seed() -> object:
    """Set the seed before you evaluate.

    Then the answers are wrong in the same way every time.
    """
    torch.manual_seed(0)
    model = torch.nn.Dropout(0.5)
    with torch.no_grad():
        answers = model(torch.ones(6))
    return (answers == 1).sum()


_ROWS = "mat1 and mat2 shapes cannot be multiplied"
_DTYPES = "mat1 and mat2 must have the same dtype"
_EMPTY = "optimizer got an empty parameter list"

# fmt: off
MUSEUM = (
    Exhibit(7, column_against_row, "",
        mend=columns_against_columns, right=0.0, advice=mean_of_the_rows),
    Exhibit(7, dropout_while_evaluating, "",
        mend=dropout_switched_off, right=6.0, advice=dropout_with_a_seed),
    Exhibit(15, samples_in_a_row, _ROWS,
        mend=samples_in_a_column, right=6.0, advice=layer_for_the_row),
    Exhibit(16, data_in_double, _DTYPES,
        mend=data_in_the_dtype_of_the_model, right=6.0),
    Exhibit(17, layers_in_a_list, _EMPTY,
        mend=layers_in_a_module_list, right=2.0,
        advice=a_parameter_for_the_optimizer),
)
# fmt: on
