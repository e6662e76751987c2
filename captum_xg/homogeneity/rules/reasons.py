"""Reasons against a proof that the observers of a forward pass give, in words, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass

from captum_xg._core.provenance import Site
from captum_xg.homogeneity.degree import Reason


@dataclass(frozen=True)
class Located(Reason):
    """A reason and where it arose.

    Attributes:
        site: The module and source line.
        order: How many operations had run.
    """

    site: Site = Site("", "", "", "")  # noqa: RUF009  frozen
    order: int = 0


SPOILT = Reason(
    "has NaN among its constants, multiplies by infinity or divides by zero, so F has no finite gradient",
    "Give the model finite constants",
    kind="unknown",
)
NO_VALUES = Reason(
    "works on a tensor on the meta device, which has no values", "Put it where the inputs are", kind="unknown"
)
STATISTICS = Reason("is overwritten by statistics of the batch", "Call model.eval()", kind="unknown")
DECIDES = Reason(
    "hands a value that depends on the input to Python (a branch, .item(), float()), where it can decide what runs",
    "Use torch.where, or masks, so that the same operations run for every input",
    kind="unknown",
)
BITS = Reason("reads the bits of numbers as other numbers", "Convert the dtype instead", kind="unknown")
RAISES = Reason(
    "raises an error that the forward function catches, so that values of the input decide what runs",
    "Use torch.where, or masks, so that the same operations run for every input",
    kind="unknown",
)
SHAPE = Reason(
    "returns a tensor whose shape depends on values of the input, which Python can read",
    "Use a mask and torch.where, so that shapes are the same for every input",
    kind="unknown",
)
SAVED = Reason(
    "has hooks on the tensors that autograd saves, which may change the gradient", "Remove the hooks", kind="unknown"
)
BEYOND = Reason(
    "reads memory beyond the tensor it is a view of (as_strided), where its gradient does not reach",
    "Take the view of the whole tensor",
    kind="unknown",
)
PAST_PYTHON = Reason(
    "runs operations that Python does not call one by one: a script of torch.jit, or C++",
    "Certify the model before torch.jit, or use PyTorch's own operations",
    kind="unknown",
)
OUTSIDE = Reason(
    "was computed where operations are not seen: in another thread or process, or before the forward pass",
    "Compute it in the forward pass, in one thread",
    kind="unknown",
)
SMUGGLED = Reason(
    "works on memory of another tensor through a tensor that PyTorch does not know to share it (DLPack, NumPy)",
    "Use views",
    kind="unknown",
)
READ_ELSEWHERE = Reason(
    "writes values that depend on the input into memory that others than PyTorch's operations may read: it was there "
    "before the call, or was handed out (NumPy, DLPack, a storage)",
    "Write to a new tensor, or to one whose memory nothing else shares: all of copy.deepcopy(model) has memory of its "
    "own",
    kind="unknown",
)
REWRITTEN = Reason(
    "uses constants in memory that is written to during the call where no operation is seen (NumPy)",
    "Write to it before the call, or with PyTorch's operations",
    kind="unknown",
)
CUT = Reason(
    "is cut off from autograd (detach, .data or no_grad), so the gradient is not the gradient of F",
    "Let the gradient pass, or compute it from constants",
    kind="gradient",
)
OVERWRITTEN = Reason(
    "overwrites values behind autograd's back (through detach, .data or no_grad), so the gradient is not that of F",
    "Write to a copy, or let autograd see it",
    kind="gradient",
)
LAPS = Reason(
    "writes in place to memory that lies on top of itself, or of what it reads", "Write to a copy", kind="unknown"
)


def no_rule(operation: str) -> Reason:
    """Return the reason that an operation is unknown."""
    return Reason(
        f"runs {operation}, for which there is no rule",
        "Write one (captum_xg.homogeneity.degree_rule), or use operations that have one",
        kind="unknown",
    )


def custom_function(name: str) -> Reason:
    """Return the reason that a custom autograd function is on the path."""
    remedy = (
        "Pass use_reentrant=False to torch.utils.checkpoint"
        if name == "CheckpointFunction"
        else "Write it with PyTorch's own operations; or as an operation (torch.library.custom_op, register_autograd) "
        "with a rule of its own (captum_xg.homogeneity.degree_rule)"
    )
    return Reason(
        f"goes through the custom autograd function {name}, whose backward pass is not analysed", remedy, kind="unknown"
    )


def is_generated(function: str, operation: str) -> bool:
    """Return whether a Python autograd function is what ``torch.library`` wraps the gradient of an operation in."""
    return function.startswith(f"GeneratedBackwardFor_{operation.replace('::', '_')}_")


def not_followed(operator: str) -> Reason:
    """Return the reason that an operator runs functions as a whole: control flow, flex_attention."""
    return Reason(
        f"runs the operator {operator}, and the functions that it is given are not followed",
        "Use Python's own control flow where it does not depend on the input, and torch.where where it does",
        kind="unknown",
    )


def of_argument(reason: Reason) -> Reason:
    """Return a reason against a constant in terms of the additional forward argument that it is."""
    return Reason(
        f"{reason.what} (an additional forward argument, held constant while the input is scaled)",
        "Pass it among the inputs if it is to be scaled and attributed to with them; to keep it as it is, use "
        "XGradient(…, on_violation='integrate')",
        reason.kind,
    )
