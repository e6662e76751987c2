"""Errors of arguments, models and files: one base, one class per kind of problem."""


class CaptumXGError(Exception):
    """Base of every error that captum_xg raises on purpose.

    Messages say where, what, why and what to do. Whatever is raised, inputs and model are as they were before the call,
    but for an input that the forward function itself overwrites where autograd does not see it.
    """


class InputError(CaptumXGError, ValueError):
    """An input tensor cannot be attributed to: wrong kind, shape, dtype, or not finite."""


class BaselineError(CaptumXGError, ValueError):
    """The baseline is not zero, or does not fit the inputs."""


class TargetError(CaptumXGError, ValueError):
    """The target is missing, out of range, or does not fit the output."""


class ForwardOutputError(CaptumXGError, ValueError):
    """The forward function returns something that is not one finite real number per example once a target is chosen."""


class OptionError(CaptumXGError, ValueError):
    """An option has no such value."""


class OptionTypeError(OptionError, TypeError):
    """An option is of the wrong type, such as a layer in the place of a switch or a class in that of a model."""


class FileError(OptionError, OSError):
    """A file cannot be read or written, or holds something other than it should."""


class GradientError(CaptumXGError, RuntimeError):
    """The output has no finite gradient with respect to an input."""


class DegreeError(CaptumXGError, ValueError):
    """No admissible degree: below 1, not a number, not the same for all examples, or not found."""


class TrainingModeError(CaptumXGError, RuntimeError):
    """The model has dropout, batch norm or the like in training mode: random, mixing examples, or changing itself."""


class ModelStateError(CaptumXGError, RuntimeError):
    """Parameters or buffers hold nothing to compute with: on the meta device, not yet initialised, NaN or infinite."""


class NondeterministicForwardError(CaptumXGError, RuntimeError):
    """The forward function gives different values for the same inputs."""


class CrossExampleError(CaptumXGError, RuntimeError):
    """The value for one example depends on the other examples of the batch."""


class PriorError(CaptumXGError, ValueError):
    """A prior has no meaning for these attributions or arguments: a wrong number of dimensions, a mask that misfits."""


class DisconnectedAttributionError(CaptumXGError, RuntimeError):
    """An attribution has no path to the parameters of the model, so that a prior on it would train nothing."""


class PriorOutputError(ForwardOutputError, DisconnectedAttributionError):
    """A prior returns a number without a graph, of Python or NumPy or an integer, so that it would train nothing."""


class NonFinitePriorError(CaptumXGError, RuntimeError):
    """A prior is NaN or infinite; the message says at which step, and where that began."""


class CheckpointError(CaptumXGError, ValueError):
    """A checkpoint cannot be found or read, holds something other than weights, or does not fit the model."""


class MissingPackageError(CaptumXGError, ImportError):
    """An optional package is needed and not installed; the message says which."""
