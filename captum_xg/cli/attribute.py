"""captum-xg attribute: attributions of a whole data set, in a folder."""

from __future__ import annotations

import argparse
import io
import re
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg.cli.examples import CHECK_DATA
from captum_xg.cli.options import add_target, add_weights, positive, running
from captum_xg.cli.parser import add_command

if TYPE_CHECKING:
    import torch

    from captum_xg.cli.parser import Commands
    from captum_xg.scan.over import Done

METHODS = "xgradient, adaptive, exact, joint, expected[_N], integrated_gradients[_N], input_x_gradient, gradient"
_METHOD = re.compile(
    r"xgradient|adaptive|exact|joint|input_x_gradient|gradient|(?:expected|integrated_gradients)(?:_[1-9][0-9]*)?"
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "attribute",
        run,
        help="attributions of a whole data set, in a folder: resumed, shared among processes, checked",
        description="Explain every example of a data set, and keep outputs, targets and attributions in a folder, "
        "which captum_xg.datasets.Attributions reads and captum-xg view shows. Interrupted or killed, and called "
        "again, it goes on where it was. torchrun --nproc-per-node N --no-python captum-xg attribute … shares the "
        "examples among processes. The model is put in evaluation mode. Exit status: 0 done, 2 wrong arguments, 3 "
        "could not run; what was finished before is kept.",
        epilog="examples: captum-xg attribute captum_xg.demo:demo_model --to scan;  "
        "captum-xg attribute torchvision.models:resnet18 --weights resnet18.pth --data photos --size 224 --mean 0.485 "
        "0.456 0.406 --std 0.229 0.224 0.225 --method adaptive --to scan",
    )
    add_target(parser)
    add_weights(parser)
    _add_data(parser)
    add = parser.add_argument
    add(
        "--to",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder; made if it is missing, completed if it is not",
    )
    add(
        "--method",
        type=_method,
        default="xgradient",
        metavar="NAME",
        help=f"one of {METHODS}: N examples as baselines (16), N steps (50) (default: %(default)s)",
    )
    add(
        "--targets",
        type=_targets,
        default="predicted",
        metavar="WHICH",
        help="which outputs are explained: predicted, true, all, top:K, or numbers with commas (default: %(default)s)",
    )
    add(
        "--layer",
        metavar="NAME",
        help="explain what this layer gives, and not the inputs; of tokens summed over the features of each",
    )
    add(
        "--on-violation",
        choices=("integrate", "record", "raise"),
        default="integrate",
        help="what becomes of an example that is refused: integrate it to a tolerance of 1 %% if the model is not "
        "homogeneous, else note it with the reason; note it; or end (default: %(default)s)",
    )
    add("--dtype", choices=("float16", "float32", "float64"), default="float16", help="as they are kept (%(default)s)")
    add("--batch-size", type=positive, default=64, metavar="N", help="(default: %(default)s)")
    add("--workers", type=_count, default=0, metavar="N", help="processes that read the data (default: %(default)s)")
    add("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 … (default: cuda if there is one)")
    add("--quiet", action="store_true", help="show no progress bar")


def _add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--data",
        default="demo",
        metavar="DATA",
        help="demo (500 Fashion-MNIST test images that come with the package), fashion-mnist:ROOT, FILE.npz with the "
        "arrays images (or inputs) and labels, inputs alone as FILE.npy or FILE.pt, or a folder of pictures, with one "
        "folder for each class or without; with --layer FILE.npz may hold tokens (default: %(default)s)",
    )
    add("--examples", type=positive, metavar="N", help="at most (default: all)")
    add("--size", type=positive, metavar="PIXELS", help="of a folder's pictures: scaled and cropped to")
    add("--mean", type=float, nargs="+", metavar="X", help="subtracted from each channel")
    add("--std", type=float, nargs="+", metavar="X", help="what each channel is divided by then")


def run(options: argparse.Namespace) -> int:
    """Explain the data, say what came of it, and return the exit status."""
    from captum_xg.scan.run import rank_of_launch

    first = rank_of_launch()[0] == 0
    # What the user's code prints is not what the command says, and of several processes one speaks.
    with redirect_stdout(sys.stderr if first else io.StringIO()):
        done = _done(options)
    with nullcontext() if first else redirect_stdout(io.StringIO()):
        from captum_xg.cli.attribute_summary import summary

        for line in summary(done, options):
            print(line)
    return 0


def _done(options: argparse.Namespace) -> Done:
    import torch
    from torch.utils.data import DataLoader

    from captum_xg.cli.attribute_method import method_named, references
    from captum_xg.cli.loaded import loaded_model
    from captum_xg.cli.model_spec import dtype_of
    from captum_xg.scan.over import Wanted, run_over
    from captum_xg.scan.sources import opened

    device = _device(options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights are the same each time, so that a run can go on
        model = loaded_model(options)
    command = _command(options, str(dtype_of(model)).removeprefix("torch."))
    _require_layer_for_tokens(options, model)
    data: Any = opened(command)
    if isinstance(model, torch.nn.Module):
        model = model.eval().to(device)
    shape = (options.batch_size, *references(data).shape[1:])
    with running(options.target, [shape], "examples", CHECK_DATA):
        method, given = method_named(options, model, data, device)
        loader = DataLoader(data, batch_size=options.batch_size, num_workers=options.workers)
        wanted = Wanted(
            options.targets,
            options.on_violation,
            options.dtype,
            given,
            sum_last=bool(command.get("tokens")),
            progress=not options.quiet,
            command=command,
        )
        return run_over(method, loader, options.to, wanted)


def _command(options: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Return what opens the data again, and says where the model was."""
    from captum_xg.scan.sources import holds_tokens

    given = {name: getattr(options, name) for name in ("target", "weights", "data", "examples", "size", "mean", "std")}
    tokens = options.layer is not None and holds_tokens(options.data)
    return {**{k: v for k, v in given.items() if v is not None}, "dtype": dtype, **({"tokens": True} if tokens else {})}


def _require_layer_for_tokens(options: argparse.Namespace, model: object) -> None:
    """Refuse tokens without a layer, and name those that look tokens up."""
    from torch import nn

    from captum_xg.errors import OptionError
    from captum_xg.scan.sources import holds_tokens_alone

    if options.layer is not None or not holds_tokens_alone(options.data):
        return
    named = model.named_modules() if isinstance(model, nn.Module) else ()
    found = [path for path, module in named if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and path]
    raise OptionError(
        f"--data {options.data} holds tokens, which have no gradients. Give the layer that looks them up: --layer "
        f"{' or '.join(found) or 'NAME'}."
    )


def _device(options: argparse.Namespace) -> torch.device:
    import torch

    from captum_xg._core.options import usable_device

    best = "cuda" if torch.cuda.is_available() else "cpu"
    return usable_device(best if options.device is None else options.device, "--device")


def _method(text: str) -> str:
    if not _METHOD.fullmatch(text):
        raise argparse.ArgumentTypeError(f"must be one of {METHODS}, not {text!r}")
    return text


def _targets(text: str) -> str:
    if not re.fullmatch(r"true|predicted|all|top:[1-9][0-9]*|[0-9]+(,[0-9]+)*", text):
        raise argparse.ArgumentTypeError(f"must be predicted, true, all, top:K, or numbers with commas, not {text!r}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")
    return int(text)
