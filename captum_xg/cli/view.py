"""captum-xg view: a page to look at the attributions of a data set."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg.cli.options import positive
from captum_xg.cli.parser import add_command, say
from captum_xg.errors import MissingPackageError, OptionError

if TYPE_CHECKING:
    from captum_xg.analysis.clusters import Clusters
    from captum_xg.cli.parser import Commands
    from captum_xg.datasets.attributions import Attributions
    from captum_xg.viewer import Page

_NONE = "none"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "view",
        run,
        help="a page to look at the attributions of a data set",
        description="Write a page with all examples that captum-xg attribute has explained: to sort and to filter, one "
        "by one in full, two runs beside each other, mean maps of classes and clusters. A browser opens it from disk; "
        "nothing is loaded from elsewhere. The data are read again and compared with what was explained. Exit status: "
        "0 done, 2 wrong arguments, 3 could not run, which leaves an earlier page as it was.",
        epilog="examples: captum-xg view scan;  captum-xg view scan --compare scan-of-the-other --to page",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="what captum-xg attribute or explain_dataset wrote")
    add("--compare", type=Path, metavar="DIR", help="a second run over the same data, shown beside the first")
    add(
        "--to",
        type=Path,
        metavar="PAGE",
        help="the folder of the page; one with a page is replaced (default: DIR-page)",
    )
    add(
        "--data",
        metavar="DATA",
        help="where the data are now, in the forms of captum-xg attribute, if not where they were; none: the page "
        "shows attributions alone",
    )
    add("--classes", metavar="NAMES", help="of the classes: with commas, or a file with one in each line")
    add("--names", metavar="NAMES", help="of the features of a table, likewise")
    add("--vocabulary", metavar="FILE", help="the words of token ids from 0 on, one in each line")
    add("--no-clusters", action="store_true", help="leave clusters out, for which all is read twice more")
    add("--title", help="of the page (default: the name of DIR)")
    add(
        "--thumbnail",
        type=positive,
        default=96,
        metavar="PIXELS",
        help="of pictures side by side (default: %(default)s)",
    )
    add("--detail", type=positive, default=224, metavar="PIXELS", help="of one alone (default: %(default)s)")
    add(
        "--input",
        type=_count,
        default=0,
        metavar="N",
        help="which of several inputs or layers, from 0 on (default: %(default)s)",
    )
    add("--workers", type=_count, default=0, metavar="N", help="processes that read the data (default: %(default)s)")
    add("--quiet", action="store_true", help="show no progress bar")


def run(options: argparse.Namespace) -> int:
    """Write the page, say where it is, and return the exit status."""
    # What data sets of users print is not what the command says.
    with redirect_stdout(sys.stderr):
        page = _written(options)
    print(page)
    print(f"Open it in a browser: {page.path.resolve().as_uri()}")
    return 0


def _written(options: argparse.Namespace) -> Page:
    from captum_xg.datasets.attributions import Attributions
    from captum_xg.scan.sources import class_names
    from captum_xg.viewer import write_page

    attributions = Attributions(options.folder)
    if options.input >= (several := len(attributions.inputs)):
        raise OptionError(
            f"--input {options.input}: "
            + ("there is a single input, 0." if several == 1 else f"there are {several}, from 0 to {several - 1}.")
        )
    command = attributions.command
    data = None if options.data == _NONE or _is_text(attributions) else _data(options, command)
    classes = _listed(options.classes, "--classes") or class_names(data, str(options.data or command.get("data")))
    clusters = None if options.no_clusters else _clusters(attributions, classes, options.input)
    return write_page(
        attributions,
        data,
        options.to or _beside(options.folder),
        compare=options.compare,
        classes=classes,
        names=_listed(options.names, "--names"),
        vocabulary=_listed(options.vocabulary, "--vocabulary"),
        mean=command.get("mean"),
        std=command.get("std"),
        clusters=clusters,
        title=options.title,
        thumbnail=options.thumbnail,
        detail=options.detail,
        input=options.input,
        workers=options.workers,
        progress=not options.quiet,
    )


def _beside(folder: Path) -> Path:
    """Return where the page of a folder is put: DIR-page beside it."""
    named = folder if folder.name not in ("", "..") else Path(os.path.abspath(folder))  # such as .
    return named.with_name(f"{named.name}-page")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be 0 or a positive number, not {text!r}")
    return int(text)


def _is_text(attributions: Attributions) -> bool:
    return len(attributions) > 0 and "tokens" in next(attributions.batches(1))


def _data(options: argparse.Namespace, command: dict[str, Any]) -> Any:
    from captum_xg.scan.sources import opened

    if options.data is None and "data" not in command:
        raise OptionError(
            f"{options.folder}: explain_dataset has made it, so that nothing says where the data are. Give --data, or "
            f"--data {_NONE} to show attributions alone."
        )
    return opened(command if options.data is None else {**command, "data": options.data})


def _clusters(attributions: Attributions, classes: Sequence[str] | None, input: int) -> Clusters | None:
    from captum_xg.analysis import cluster

    largest = max(int(attributions.predictions.max()), 0) if len(attributions) else 0
    names = classes or [] if classes is not None and largest < len(classes) else []
    try:
        return cluster(attributions, classes=names, input=input)
    except (MissingPackageError, OptionError) as error:
        say(f"captum-xg view: the page has no clusters. {error}")
        return None


def _listed(given: str | None, option: str) -> list[str] | None:
    """Return names that a command line lists, or a file has in its lines."""
    from captum_xg._core.reading import require_file, unreadable

    if given is None:
        return None
    if option != "--vocabulary" and not Path(given).is_file():
        return [name.strip() for name in given.split(",")]
    path = require_file(given)
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, f"{option} takes text in UTF-8, and it is none ({type(error).__name__})") from error
