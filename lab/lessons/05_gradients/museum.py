"""The error museum: the messages that learners meet, and the mistakes that
make none.

Each exhibit is a function with the smallest code that does it, one with the
mend and, where there is one, the advice that is often given and what it
causes. What they print and raise is never typed: `lab errors` runs them, and
docs/errors.md holds what they did on the torch that it names.

The first paragraph of an exhibit's docstring says what the message means;
the rest says why. To add an exhibit, write its functions and its row.
"""

# A type checker cannot see that .grad is not None, and some code is wrong on
# purpose.
# mypy: disable-error-code="no-untyped-call,union-attr,operator"

from __future__ import annotations

import torch

from lab.practise import Exhibit


def second_backward() -> None:
    """backward() frees the graph that it went through, and this one was used
    before. Build the expression again, or keep the graph with
    retain_graph=True.

    What an operation saved for its derivative is given up as soon as
    backward() has used it, because a training step needs it once. Here the
    second walk finds nothing.
    """
    x = torch.tensor(2.0, requires_grad=True)
    y = x**3
    y.backward()
    y.backward()


def keep_the_graph() -> object:
    """Ask the first walk to keep the graph; the second then adds to .grad.
    Where you want the gradient once, call backward() once.
    """
    x = torch.tensor(2.0, requires_grad=True)
    y = x**3
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


def state_carried() -> None:
    """The graph of an earlier step is still attached to something that you
    carried into this one. backward() has freed it: detach what you carry.

    The state of the second step was computed from that of the first, so the
    second backward() walks into the first step again.
    """
    w = torch.tensor(2.0, requires_grad=True)
    state = torch.tensor(1.0)
    for _ in range(3):
        state = state * w
        state.backward()
        with torch.no_grad():
            w -= 0.25


def detach_the_state() -> object:
    """Carry the value and not its history. Each step then differentiates
    itself alone, and the gradients of three steps add up.
    """
    w = torch.tensor(2.0, requires_grad=True)
    state = torch.tensor(1.0)
    for _ in range(3):
        state = state.detach() * w
        state.backward()
        with torch.no_grad():
            w -= 0.25
    return w.grad


def retain_everywhere() -> None:
    """Use retain_graph=True.

    The message itself says so. Every step then walks through all steps before
    it, slower each time, and meets a w that was updated since.
    """
    w = torch.tensor(2.0, requires_grad=True)
    state = torch.tensor(1.0)
    for _ in range(3):
        state = state * w
        state.backward(retain_graph=True)
        with torch.no_grad():
            w -= 0.25


def cut_by_tensor() -> None:
    """No tracked tensor leads to this result: it was made of constants,
    detached, computed under no_grad, or is a gradient without
    create_graph=True. Compute it from the inputs themselves.

    torch.tensor(...) copies numbers, and numbers have no history. item(),
    tolist() and float() give such numbers.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = [(number**2).item() for number in x]
    torch.tensor(losses).sum().backward()


def stack_the_losses() -> object:
    """Put tensors together with torch.stack or torch.cat, which record."""
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = [number**2 for number in x]
    torch.stack(losses).sum().backward()
    return x.grad


def track_the_loss() -> object:
    """Set requires_grad=True on the loss.

    The message is gone, and so is the gradient: the loss is now a leaf of its
    own with nothing behind it.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = [(number**2).item() for number in x]
    torch.tensor(losses, requires_grad=True).sum().backward()
    return x.grad


def cut_by_argmax() -> None:
    """The result went through a choice or a comparison, such as argmax,
    round to whole numbers or ==. A choice does not move when its inputs are
    nudged, so nothing is recorded.

    argmax returns the index of the largest entry, an integer. Whatever is
    computed from it is no function of the scores any more.
    """
    scores = torch.tensor([1.0, 3.0], requires_grad=True)
    wrong = (scores.argmax() != 0).float()
    wrong.backward()


def score_smoothly() -> object:
    """Train on something that moves with the scores, here the cross-entropy
    of class 0, and keep the count of wrong answers for the report.
    """
    scores = torch.tensor([1.0, 3.0], requires_grad=True)
    loss = -scores.log_softmax(0)[0]
    loss.backward()
    return scores.grad


def track_choice() -> object:
    """Call requires_grad_() on it.

    On an integer that raises the message of whole numbers; on a float it
    makes a leaf that leads nowhere, and the scores get no gradient.
    """
    scores = torch.tensor([1.0, 3.0], requires_grad=True)
    wrong = (scores.argmax() != 0).float().requires_grad_()
    wrong.backward()
    return scores.grad


def cut_by_no_grad() -> None:
    """The result was computed under no_grad(), where nothing is recorded.
    Leave the block before you compute the loss.

    Under no_grad() a result does not track, whatever it was computed from.
    The block, or a function decorated with @torch.no_grad(), reaches further
    than was meant.
    """
    x = torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        loss = x**2
    loss.backward()


def compute_outside() -> object:
    """Keep under no_grad() only what is nothing to differentiate: evaluation,
    and the update of the parameters.
    """
    x = torch.tensor(2.0, requires_grad=True)
    loss = x**2
    loss.backward()
    with torch.no_grad():
        x -= 0.25 * x.grad
    return x.grad


def track_what_was_not_recorded() -> object:
    """Call requires_grad_() on the loss.

    Tracking starts at the loss then, and x, which is before it, gets nothing.
    """
    x = torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        loss = x**2
    loss.requires_grad_()
    loss.backward()
    return x.grad


def non_leaf_grad() -> object:
    """This tensor was computed, so it is no leaf, and backward() keeps the
    gradients of leaves alone. Ask for it with retain_grad() before
    backward().

    The gradient did pass through y on its way to x. It was dropped there,
    because a network has far more results than parameters.
    """
    x = torch.tensor(2.0, requires_grad=True)
    y = x**2
    (3 * y).backward()
    return y.grad


def retain_the_middle() -> object:
    """retain_grad() on the result, before backward()."""
    x = torch.tensor(2.0, requires_grad=True)
    y = x**2
    y.retain_grad()
    (3 * y).backward()
    return y.grad


def make_it_a_leaf() -> object:
    """Make it a leaf with detach().requires_grad_().

    Now y has its gradient, but the way from x to y is cut: x trains no more.
    """
    x = torch.tensor(2.0, requires_grad=True)
    y = (x**2).detach().requires_grad_()
    (3 * y).backward()
    return x.grad


def moved_leaf() -> object:
    """.to(), .cuda() or .double() behind requires_grad=True returns a result
    of the leaf, and your name stands for that result. Make the tensor where
    it belongs, or track it after it was moved.

    The leaf is the tensor before .to(), and no name is left for it: its
    gradient arrives where nobody looks. .to("cuda") does the same. Where
    there is nothing to convert, as with .to("cpu") on a CPU, .to() returns
    the leaf itself, so the mistake waits until there is a GPU.
    """
    w = torch.tensor(2.0, requires_grad=True).to(torch.float64)
    (w**2).backward()
    return w.grad


def track_after_the_move() -> object:
    """Move first, track last: w is a leaf, and a step reaches it."""
    w = torch.tensor(2.0).to(torch.float64).requires_grad_()
    (w**2).backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    return w.item()


def retain_the_moved() -> object:
    """Call retain_grad() on it.

    The gradient shows, and the step reaches the copy only: the leaf, which is
    the parameter, stays where it was.
    """
    w = torch.tensor(2.0, requires_grad=True)
    moved = w.to(torch.float64)
    moved.retain_grad()
    (moved**2).backward()
    with torch.no_grad():
        moved -= 0.1 * moved.grad
    return w.item()


def saved_value_modified() -> None:
    """backward() needs a value that was overwritten after it was saved. Write
    the result into a new tensor.

    The derivative of exp is its result, so exp saved y. Every tensor counts
    its edits; backward() compares the count with that at saving time and
    stops, rather than compute with the wrong number.
    """
    x = torch.tensor(0.0, requires_grad=True)
    y = x.exp()
    y += 1
    y.backward()


def write_a_new_tensor() -> object:
    """y = y + 1 makes a new tensor and leaves the saved one alone."""
    x = torch.tensor(0.0, requires_grad=True)
    y = x.exp()
    y = y + 1
    y.backward()
    return x.grad


def edit_uncounted() -> object:
    """Edit y.data.

    That hides the edit from the count. The message is gone, and the gradient
    is wrong: it is computed from the edited value.
    """
    x = torch.tensor(0.0, requires_grad=True)
    y = x.exp()
    y.data += 1
    y.backward()
    return x.grad


def stepped_too_early() -> None:
    """A parameter was updated between the forward pass and the backward()
    that needs its old value. Call every backward() first, then make the step.

    Both losses were computed with the old w, and w**3 saved it. The step of
    the first loss is an edit in place, which the second backward() notices.
    Two networks trained against each other meet this.
    """
    w = torch.tensor(2.0, requires_grad=True)
    one, other = w**2, w**3
    one.backward()
    with torch.no_grad():
        w -= 0.25
    other.backward()


def step_last() -> object:
    """Both gradients at the same w, then the step."""
    w = torch.tensor(2.0, requires_grad=True)
    one, other = w**2, w**3
    one.backward()
    other.backward()
    with torch.no_grad():
        w -= 0.25
    return w.grad


def step_uncounted() -> object:
    """Update w.data instead.

    Nobody counts that edit, and the second loss is differentiated at a w at
    which it was never computed.
    """
    w = torch.tensor(2.0, requires_grad=True)
    one, other = w**2, w**3
    one.backward()
    w.data -= 0.25
    other.backward()
    return w.grad


def leaf_in_place() -> None:
    """A leaf was changed in place while it was tracked. To clear its
    gradient, zero x.grad and not x. To change x itself, do it under
    torch.no_grad(); x = x + 1 instead of x += 1 would make x a non-leaf,
    whose .grad is None.

    A leaf is where a gradient ends up. Edited while recording is on, it would
    become a result of itself, with no leaf left to hold the gradient.
    """
    x = torch.tensor(2.0, requires_grad=True)
    x += 1
    (x**2).backward()


def edit_unrecorded() -> object:
    """A step is nothing to differentiate: make it under no_grad(). x stays
    the same leaf.
    """
    x = torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        x += 1
    (x**2).backward()
    return x.grad


def rebind_the_name() -> object:
    """Write x = x + 1.

    That is a new tensor, computed from the leaf. The name x has left the
    leaf, and .grad of what it now stands for is None.
    """
    x = torch.tensor(2.0, requires_grad=True)
    x = x + 1
    (x**2).backward()
    return x.grad


def leaf_view_in_place() -> None:
    """Part of a leaf was overwritten while it was tracked. Change it under
    torch.no_grad(), or build a new tensor.

    x[0] is a view: it shares the memory of x. Writing there edits the leaf.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    x[0] = 5
    (x**2).sum().backward()


def write_unrecorded() -> object:
    """Under no_grad() the leaf has the new value and is a leaf as before."""
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with torch.no_grad():
        x[0] = 5
    (x**2).sum().backward()
    return x.grad


def clone_then_write() -> object:
    """Clone it first.

    A clone is a result. Under the same name it hides the leaf, and .grad of
    the clone is None. Give it another name, and the gradient arrives in x: 0
    for the part that was overwritten.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    x = x.clone()
    x[0] = 5
    (x**2).sum().backward()
    return x.grad


def vector_output() -> None:
    """A gradient is that of one number. Sum or pick one, or say with
    backward(v) how the outputs are weighted.

    Two outputs have two rows of derivatives, and backward() computes one
    weighted sum of them. Without weights it would have to guess.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    y.backward()


def weigh_the_outputs() -> object:
    """One weight for each output. All ones give what y.sum().backward()
    gives.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    y.backward(torch.tensor([1.0, 1.0]))
    return x.grad


def average_the_outputs() -> object:
    """Call mean(): it is the same.

    It is not: the gradient is that of the sum divided by the number of
    outputs. Choose it where an average is what you mean.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    y.mean().backward()
    return x.grad


def forgotten_zero() -> object:
    """backward() adds to .grad. What it shows is the sum of two gradients.

    Adding is on purpose: large batches are split in parts, and several losses
    share a parameter. Only you know where a new sum begins.
    """
    x = torch.tensor(2.0, requires_grad=True)
    (x**2).backward()
    (x**2).backward()
    return x.grad


def clear_between() -> object:
    """Clear before the next backward(). optimizer.zero_grad() does it for all
    parameters.
    """
    x = torch.tensor(2.0, requires_grad=True)
    (x**2).backward()
    x.grad = None
    (x**2).backward()
    return x.grad


def clear_too_late() -> object:
    """Zero the gradients in every step.

    True, but not between backward() and the step that reads them: nothing
    would ever be learned.
    """
    x = torch.tensor(2.0, requires_grad=True)
    (x**2).backward()
    x.grad.zero_()
    return x.grad


def data_edit() -> object:
    """An edit through .data is not counted, so backward() computes with the
    edited value and says nothing.

    The derivative of a sigmoid p is p(1 - p), so p was saved. Rounded to 0 or
    1, it makes every gradient 0, as if the network had converged.
    """
    x = torch.tensor([0.0, 2.0], requires_grad=True)
    p = torch.sigmoid(x)
    p.data.round_()  # to count the right answers
    p.sum().backward()
    return x.grad


def round_a_copy() -> object:
    """round() without the underscore makes a new tensor. The p that was saved
    stays as it was.
    """
    x = torch.tensor([0.0, 2.0], requires_grad=True)
    p = torch.sigmoid(x)
    p.detach().round()  # to count the right answers
    p.sum().backward()
    return x.grad


def detach_and_edit() -> None:
    """Use .detach() in place of .data.

    That is better and not yet right: it shares the memory of p too, but the
    edit is counted, and the mistake makes a message. What has to go is the
    edit.
    """
    x = torch.tensor([0.0, 2.0], requires_grad=True)
    p = torch.sigmoid(x)
    p.detach().round_()  # to count the right answers
    p.sum().backward()


def nan_through_where() -> object:
    """torch.where hides an infinite derivative from the result and not from
    the gradient: there it is multiplied by 0, which makes nan.

    Both branches are computed, and both get a gradient; that of the branch
    not taken is 0. The derivative of a square root at 0 is infinite, and 0
    times infinity is nan.
    """
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    y = torch.where(x > 0, x.sqrt(), 0.0)
    y.sum().backward()
    return x.grad


def where_twice() -> object:
    """Keep the dangerous value away from the square root: choose before it as
    well as after it.
    """
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    safe = torch.where(x > 0, x, 1.0)
    y = torch.where(x > 0, safe.sqrt(), 0.0)
    y.sum().backward()
    return x.grad


def mend_the_result() -> object:
    """Put nan_to_num() on the result.

    The result has no nan: it is the gradient that does.
    """
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    y = torch.where(x > 0, x.sqrt(), 0.0)
    y.nan_to_num().sum().backward()
    return x.grad


def numpy_of_tracked() -> None:
    """NumPy does not record. Detach first: x.detach().numpy().

    The array would share its memory with a tracked tensor, and what is
    computed from it would be missing in the graph. So you have to say that
    you mean it.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    x.numpy()


def detach_for_numpy() -> object:
    """Detach what you show or store; add .cpu() before .numpy() for a tensor
    on a GPU. Compute the loss with torch. The array shares its memory with x:
    copy it before you edit it.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    x.detach().numpy()
    (x**2).sum().backward()
    return x.grad


def compute_in_numpy() -> None:
    """Detach, compute in NumPy, and make a tensor of it.

    The way through NumPy is not recorded: the graph is cut, and backward()
    says so.
    """
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    squares = x.detach().numpy() ** 2
    torch.from_numpy(squares).sum().backward()


def integer_leaf() -> None:
    """Whole numbers cannot be nudged, so they have no gradient. Make a
    floating point tensor.

    A derivative asks what a small change does. Between 1 and 2 there is no
    integer to change to. Python's 1 makes an integer tensor, 1.0 a float.
    """
    torch.tensor([1, 2], requires_grad=True)


def write_floats() -> object:
    """Write 1.0, or say dtype=torch.float32."""
    x = torch.tensor([1, 2], dtype=torch.float32, requires_grad=True)
    (x**2).sum().backward()
    return x.grad


def integer_tracked_later() -> None:
    """Whole numbers cannot be nudged, so they have no gradient. Convert the
    tensor with .float() before requires_grad_().

    The same rule as for requires_grad=True, found later: the tensor exists
    already, often read from a data set, and holds integers.
    """
    x = torch.tensor([1, 2])
    x.requires_grad_()


def convert_then_track() -> object:
    """Convert, then track. The converted tensor is the leaf."""
    x = torch.tensor([1, 2]).float().requires_grad_()
    (x**2).sum().backward()
    return x.grad


def convert_late() -> None:
    """Convert it in the loss.

    The message is gone with requires_grad_(), and nothing tracks any more.
    """
    x = torch.tensor([1, 2])
    (x.float() ** 2).sum().backward()


def zero_before_backward() -> None:
    """Something is None here. The .grad of a leaf is None until a backward()
    has brought it something, and that of a non-leaf stays None.

    None is not 0: no gradient has been computed yet. An optimiser's
    zero_grad() makes it None again.
    """
    x = torch.tensor(2.0, requires_grad=True)
    x.grad.zero_()
    (x**2).backward()


def clear_with_none() -> object:
    """x.grad = None clears whether there is a gradient or not."""
    x = torch.tensor(2.0, requires_grad=True)
    x.grad = None
    (x**2).backward()
    return x.grad


def step_without_gradient() -> None:
    """A .grad in this line is None: no backward() has brought it anything.
    Either it has not run, or the result does not depend on that tensor, or
    the tensor is no leaf.

    The loss was computed from a copy of w that does not track, so the
    gradient stopped at the other leaf.
    """
    w = torch.tensor(2.0, requires_grad=True)
    b = torch.tensor(1.0, requires_grad=True)
    (w.detach() ** 2 + b).backward()
    with torch.no_grad():
        w -= 0.25 * w.grad


def depend_on_it() -> object:
    """Compute the loss from w itself."""
    w = torch.tensor(2.0, requires_grad=True)
    b = torch.tensor(1.0, requires_grad=True)
    (w**2 + b).backward()
    with torch.no_grad():
        w -= 0.25 * w.grad
    return w.item()


def skip_what_is_none() -> object:
    """Guard it: if w.grad is not None.

    Right for a parameter that a step may leave out. Here it hides that w
    never trains.
    """
    w = torch.tensor(2.0, requires_grad=True)
    b = torch.tensor(1.0, requires_grad=True)
    (w.detach() ** 2 + b).backward()
    with torch.no_grad():
        if w.grad is not None:
            w -= 0.25 * w.grad
    return w.item()


def second_derivative() -> None:
    """The gradient that you differentiate again has no graph. Ask for one
    with create_graph=True where it is computed. The message is the same as
    for any result that was not recorded.

    A gradient is computed like any result, but not recorded unless asked,
    because training needs it once.
    """
    x = torch.tensor(2.0, requires_grad=True)
    (first,) = torch.autograd.grad(x**3, x)
    torch.autograd.grad(first, x)


def create_the_graph() -> object:
    """create_graph=True records the computation of the gradient itself: the
    second derivative of x³ is 6x.
    """
    x = torch.tensor(2.0, requires_grad=True)
    (first,) = torch.autograd.grad(x**3, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    return second


def retain_only() -> None:
    """Use retain_graph=True.

    That keeps the graph of x³, which is another one. The gradient has none,
    and the message is the same.
    """
    x = torch.tensor(2.0, requires_grad=True)
    (first,) = torch.autograd.grad(x**3, x, retain_graph=True)
    torch.autograd.grad(first, x)


def inference_tensor() -> None:
    """A tensor made under inference_mode cannot be saved for backward, which
    this operation needs. Make it under no_grad.

    inference_mode() leaves out the count of edits, without which backward()
    cannot tell whether a saved value is still the same. A product saves both
    of its factors.
    """
    x = torch.tensor(2.0, requires_grad=True)
    with torch.inference_mode():
        scale = torch.tensor(3.0)
    (x * scale).backward()


def no_grad_instead() -> object:
    """no_grad() makes ordinary tensors. Where inference_mode() is not yours
    to change, scale.clone() outside of it is one too.
    """
    x = torch.tensor(2.0, requires_grad=True)
    with torch.no_grad():
        scale = torch.tensor(3.0)
    (x * scale).backward()
    return x.grad


def everything_in_inference() -> None:
    """Compute all of it under inference_mode().

    Then nothing is recorded, and there is no graph for backward().
    """
    x = torch.tensor(2.0, requires_grad=True)
    with torch.inference_mode():
        scale = torch.tensor(3.0)
        y = x * scale
    y.backward()


def inference_edit() -> None:
    """A tensor made under inference_mode may not be edited outside of it.
    Write the result into a new tensor, or make it under no_grad.

    The edit would have to be counted, and this tensor has no count.
    """
    with torch.inference_mode():
        scale = torch.tensor(3.0)
    scale += 1


def edit_a_clone() -> object:
    """scale + 1 is a new, ordinary tensor; so is scale.clone()."""
    with torch.inference_mode():
        scale = torch.tensor(3.0)
    return scale + 1


def freeze_a_result() -> None:
    """Only a leaf can be switched off, and this tensor was computed. Use its
    .detach().

    requires_grad of a result follows from how it was computed; it is no
    switch.
    """
    x = torch.tensor(2.0, requires_grad=True)
    y = x**2
    y.requires_grad = False
    (x * y).backward()


def freeze_by_detach() -> object:
    """y.detach() has the same value and no history. The gradient of x·y with
    y held fixed is y.
    """
    x = torch.tensor(2.0, requires_grad=True)
    y = (x**2).detach()
    (x * y).backward()
    return x.grad


def freeze_the_leaf() -> None:
    """Set it on the leaf.

    That freezes x wherever it is used, and not the one way through y.
    """
    x = torch.tensor(2.0, requires_grad=True)
    x.requires_grad = False
    y = x**2
    (x * y).backward()


def unused_input() -> None:
    """The result was not computed from this tensor, perhaps from a copy of
    it. Differentiate with respect to the tensor that was used.

    copy has the value of x and is another tensor. The graph of y leads to x.
    """
    x = torch.tensor(2.0, requires_grad=True)
    copy = x.clone()
    y = x**2
    torch.autograd.grad(y, copy)


def use_the_input() -> object:
    """Name the tensor that the result was computed from."""
    x = torch.tensor(2.0, requires_grad=True)
    y = x**2
    (gradient,) = torch.autograd.grad(y, x)
    return gradient


def allow_unused() -> object:
    """Set allow_unused=True.

    The message itself says so. Right where a result may or may not depend on
    an input. Here it turns the mistake into None, which raises something else
    later.
    """
    x = torch.tensor(2.0, requires_grad=True)
    copy = x.clone()
    y = x**2
    (gradient,) = torch.autograd.grad(y, copy, allow_unused=True)
    return gradient


# Words of each message that every supported torch says.
_SECOND = r"backward through the graph a second time"
_CUT = r"does not require grad and does not have a grad_fn"
_NO_LEAF = r"attribute of a Tensor that is not a leaf"
_EDITED = r"modified by an inplace operation"
_LEAF = r"a leaf Variable that requires grad"
_VIEW = r"a view of a leaf Variable that requires grad"
_VECTOR = r"grad can be implicitly created only for scalar"
_NUMPY = r"Can't call numpy\(\) on Tensor that requires grad"
_WHOLE = r"only Tensors of floating point"
_NONE = r"'NoneType' object has no attribute"
_WITH_NONE = r"unsupported operand.*'NoneType'"
_INFERENCE = r"Inference tensors cannot be saved for backward"
_INFERENCE_EDIT = r"Inplace update to inference tensor"
_FREEZE = r"change requires_grad flags of leaf variables"
_UNUSED = r"appears to not have been used in the graph"

# fmt: off
MUSEUM = (
    Exhibit(1, second_backward, _SECOND,
        mend=keep_the_graph, right=24.0),
    Exhibit(1, state_carried, _SECOND,
        mend=detach_the_state, right=6.5, advice=retain_everywhere),
    Exhibit(2, cut_by_tensor, _CUT,
        mend=stack_the_losses, right=[2.0, 4.0], advice=track_the_loss),
    Exhibit(2, cut_by_argmax, _CUT,
        mend=score_smoothly, right=[-0.8808, 0.8808], advice=track_choice),
    Exhibit(2, cut_by_no_grad, _CUT,
        mend=compute_outside, right=4.0, advice=track_what_was_not_recorded),
    Exhibit(3, non_leaf_grad, _NO_LEAF,
        mend=retain_the_middle, right=3.0, advice=make_it_a_leaf),
    Exhibit(3, moved_leaf, _NO_LEAF,
        mend=track_after_the_move, right=1.6, advice=retain_the_moved),
    Exhibit(4, saved_value_modified, _EDITED,
        mend=write_a_new_tensor, right=1.0, advice=edit_uncounted),
    Exhibit(4, stepped_too_early, _EDITED,
        mend=step_last, right=16.0, advice=step_uncounted),
    Exhibit(5, leaf_in_place, _LEAF,
        mend=edit_unrecorded, right=6.0, advice=rebind_the_name),
    Exhibit(5, leaf_view_in_place, _VIEW,
        mend=write_unrecorded, right=[10.0, 4.0], advice=clone_then_write),
    Exhibit(6, vector_output, _VECTOR,
        mend=weigh_the_outputs, right=[2.0, 4.0], advice=average_the_outputs),
    Exhibit(7, forgotten_zero, "",
        mend=clear_between, right=4.0, advice=clear_too_late),
    Exhibit(7, data_edit, "",
        mend=round_a_copy, right=[0.25, 0.104994], advice=detach_and_edit),
    Exhibit(7, nan_through_where, "",
        mend=where_twice, right=[0.0, 0.25], advice=mend_the_result),
    Exhibit(8, numpy_of_tracked, _NUMPY,
        mend=detach_for_numpy, right=[2.0, 4.0], advice=compute_in_numpy),
    Exhibit(9, integer_leaf, _WHOLE,
        mend=write_floats, right=[2.0, 4.0]),
    Exhibit(9, integer_tracked_later, _WHOLE,
        mend=convert_then_track, right=[2.0, 4.0], advice=convert_late),
    Exhibit(10, zero_before_backward, _NONE,
        mend=clear_with_none, right=4.0),
    Exhibit(10, step_without_gradient, _WITH_NONE,
        mend=depend_on_it, right=1.0, advice=skip_what_is_none),
    Exhibit(11, second_derivative, _CUT,
        mend=create_the_graph, right=12.0, advice=retain_only),
    Exhibit(12, inference_tensor, _INFERENCE,
        mend=no_grad_instead, right=3.0, advice=everything_in_inference),
    Exhibit(12, inference_edit, _INFERENCE_EDIT,
        mend=edit_a_clone, right=4.0),
    Exhibit(13, freeze_a_result, _FREEZE,
        mend=freeze_by_detach, right=4.0, advice=freeze_the_leaf),
    Exhibit(14, unused_input, _UNUSED,
        mend=use_the_input, right=4.0, advice=allow_unused),
)
# fmt: on
