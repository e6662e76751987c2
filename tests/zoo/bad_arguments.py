"""Arguments that mean nothing to any method on paths from a baseline, each with the class of its error."""

from captum_xg.errors import BaselineError, InputError, OptionError, OptionTypeError, TargetError


def bad_arguments(x, b):
    """Return (arguments, error) for inputs ``(N, features)`` with N ≥ 3, and their baselines."""
    return [
        ({"inputs": x[0, 0]}, InputError),
        ({"inputs": x[:0]}, InputError),
        ({"inputs": x * float("nan")}, InputError),
        ({"inputs": [x]}, InputError),
        ({"inputs": x > 0}, InputError),
        ({"inputs": x.to("meta")}, InputError),
        ({"baselines": b[:2]}, BaselineError),
        ({"baselines": b[:, :3]}, BaselineError),
        ({"baselines": (b, b)}, BaselineError),
        ({"baselines": "zero"}, BaselineError),
        ({"baselines": float("inf")}, BaselineError),
        ({"baselines": b * float("nan")}, BaselineError),
        ({"baselines": b.to("meta")}, BaselineError),
        ({"baselines": b > 0}, BaselineError),
        ({"baselines": b.to_sparse()}, BaselineError),
        ({"target": 3}, TargetError),
        ({"target": None}, TargetError),
        ({"target": [0, 1]}, TargetError),
        ({"n_steps": 0}, OptionError),
        ({"method": "simpson"}, OptionError),
        ({"internal_batch_size": 0}, OptionError),
        ({"return_report": "yes"}, OptionTypeError),
        ({"return_convergence_delta": 3}, OptionTypeError),
    ]
