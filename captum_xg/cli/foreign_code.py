"""Code that a command runs for its user: imported modules and files, and every way in which they may fail.

Whatever such code raises, SystemExit with status 0 and errors that cannot be printed included, becomes one line that
says what failed and at which line of the user's; it must never end the command, nor look like a verdict.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

from captum_xg._core.text import in_one_line
from captum_xg.errors import FileError, OptionError

FORMS = "Write module:factory, path/to/file.py:factory or torchvision:NAME."


def module_named(name: str, text: str) -> ModuleType:
    """Return a module, imported from the current directory or the installed packages."""
    with running(text, f"importing {name}"), _importable(Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):  # what the module itself imports
                raise
            missing = error.name
    raise OptionError(
        f"TARGET {text!r}: there is no module {missing!r} in {Path.cwd()} or among the installed packages. {FORMS}"
    )


def file_at(path: Path, text: str) -> ModuleType:
    """Return a Python file as a module."""
    if not os.path.isfile(path):  # that of Path raises an error for names that are too long
        raise FileError(f"TARGET {text!r}: there is no file {path}. {FORMS}")
    # A name of its own, so that it neither hides nor is hidden by an installed module; registered, as dataclasses ask.
    name = f"_captum_xg_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise FileError(f"TARGET {text!r}: {path} cannot be imported as Python code. {FORMS}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with running(text, f"running {path}"), _importable(path.resolve().parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(directory: Path) -> Iterator[None]:
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))


def running(text: str, what: str) -> AbstractContextManager[None]:
    """Turn whatever goes wrong within into an error that names the target."""
    return failing_as(lambda error: f"TARGET {text!r}: {what} failed with {error}.")


@contextmanager
def failing_as(message: Callable[[str], str], *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever foreign code raises, SystemExit too, into an error whose message is made from its description.

    What is ``passing`` is told in full already.
    """
    try:
        yield
    except passing:
        raise
    except (Exception, SystemExit) as error:
        raise OptionError(message(_described(error))) from error


def _described(error: BaseException) -> str:
    """Return type and text of an error, and the line outside of libraries that it comes from."""
    import torch

    libraries = (str(Path(file).parent) for file in (torch.__file__, importlib.__file__))
    # The innermost line that a user can do something about: neither PyTorch's, nor Python's, nor the package's own.
    own = (str(Path(__file__).parents[1]), *libraries, "<frozen")
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(own)]
    return in_one_line(error) + (f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else "")
