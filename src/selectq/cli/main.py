"""The `selectq` command.

What a command needs is imported when it is asked for: a command that needs no torch starts without it.
"""

import argparse
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selectq.errors import UserError
from selectq.stage import run

if TYPE_CHECKING:
    from selectq.deploy.ladder import Goal
    from selectq.programs.images import ToPixels


def main() -> None:
    """Parse the command line and run what it asks for; exit status 2 for a user's mistake."""
    arguments = _parser().parse_args()
    run(lambda: arguments.command(arguments))


def _checkout() -> Path:
    from selectq.study import find_checkout  # noqa: PLC0415

    return find_checkout()


def _study(arguments: argparse.Namespace) -> None:
    from selectq.study import run_study  # noqa: PLC0415

    run_study(_checkout(), arguments.profile, arguments.keep, arguments.jobs)


def _search(arguments: argparse.Namespace) -> None:
    from selectq.search import run_search  # noqa: PLC0415

    run_search(_checkout(), arguments.profile)


def _share(arguments: argparse.Namespace) -> None:
    from selectq.team.share import share  # noqa: PLC0415

    share(_checkout())


def _fetch(arguments: argparse.Namespace) -> None:
    from selectq.team.share import fetch  # noqa: PLC0415

    fetch(_checkout())


def _verify(arguments: argparse.Namespace) -> None:
    from selectq.team.verify import verify  # noqa: PLC0415

    verify(_checkout(), arguments.mend)


def _plots_page(arguments: argparse.Namespace) -> None:
    from selectq.team.plots_page import install_plots_page  # noqa: PLC0415

    install_plots_page(_checkout())


def _fanout(arguments: argparse.Namespace) -> None:
    checkout = _checkout()
    if arguments.engine == "ray":
        from selectq.team.fanout import fan_out, job_template  # noqa: PLC0415
        from selectq.team.ray_engine import ray_engine  # noqa: PLC0415

        template = job_template(checkout, arguments.repository, arguments.folder, arguments.threads or 1)
        fan_out(checkout, ray_engine(arguments.address), arguments.jobs, template)
    else:
        from selectq.team.parallel import fan_out_here  # noqa: PLC0415

        fan_out_here(checkout, arguments.jobs, arguments.threads)


def _merge_lock(arguments: argparse.Namespace) -> None:
    from selectq.team.merge_lock import merge_files  # noqa: PLC0415

    merge_files(arguments.base, arguments.ours, arguments.theirs)


def _predict(arguments: argparse.Namespace) -> None:
    from selectq.cli.predict import json_lines, run_predict, text_lines  # noqa: PLC0415

    to_lines = json_lines if arguments.json else text_lines
    _end_quietly_with_the_reader()
    to_pixels = _to_pixels(arguments)
    skip_bad: bool = arguments.skip_bad
    run_predict(arguments.model, arguments.images, arguments.top, to_pixels, skip_bad=skip_bad, to_lines=to_lines)


def _evaluate(arguments: argparse.Namespace) -> None:
    from selectq.cli.evaluate import run_evaluate  # noqa: PLC0415

    _end_quietly_with_the_reader()
    run_evaluate(arguments.model, arguments.data, arguments.output, _to_pixels(arguments), arguments.skip_bad)


def _to_pixels(arguments: argparse.Namespace) -> "ToPixels":
    """How `--resize`, or its absence, makes pixels of an image file."""
    from selectq.programs.images import exact_pixels, resized_pixels  # noqa: PLC0415

    return resized_pixels if arguments.resize else exact_pixels


def _inspect(arguments: argparse.Namespace) -> None:
    from selectq.cli.inspect import run_inspect  # noqa: PLC0415

    _end_quietly_with_the_reader()
    run_inspect(arguments.model, arguments.layers_csv)


def _bench(arguments: argparse.Namespace) -> None:
    from selectq.cli.bench import Plan, run_bench  # noqa: PLC0415

    _end_quietly_with_the_reader()
    plan = Plan(arguments.batch, arguments.threads, arguments.seconds, arguments.layers)
    run_bench(arguments.files, plan, arguments.json)


def _quantize(arguments: argparse.Namespace) -> None:
    from selectq.cli.quantize import Choices, run_quantize  # noqa: PLC0415
    from selectq.config.configs import ExportConfig  # noqa: PLC0415
    from selectq.deploy.candidates import scheme_of  # noqa: PLC0415
    from selectq.deploy.trained import TrainedNetwork  # noqa: PLC0415

    _end_quietly_with_the_reader()
    network = arguments.network, dict(arguments.arguments), arguments.mean, arguments.std
    given = arguments.size, arguments.out, arguments.seed, arguments.keep_relu6, arguments.skip_bad
    largest, goal = _retraining(arguments)
    export = ExportConfig(arguments.input, arguments.layout)
    choices = Choices(*given, export, scheme_of(*arguments.bits), largest, goal)
    run_quantize(TrainedNetwork(arguments.weights, *network), arguments.images, choices)


def _retraining(arguments: argparse.Namespace) -> "tuple[Mapping[str, int], Goal | None]":
    """How many images are used, and the goal for which layers may be retrained.

    Raises:
        UserError: an option of `--retrain` without it, or out of its range.
    """
    from selectq.deploy.ladder import Goal  # noqa: PLC0415
    from selectq.deploy.lots import LARGEST  # noqa: PLC0415
    from selectq.deploy.trained import named_by_options  # noqa: PLC0415

    given = {name: getattr(arguments, name) for name in RETRAINING}
    if not arguments.retrain:
        for name, value in given.items():
            if value is not None:
                raise UserError(f"--{name.replace('_', '-')}: goes with --retrain alone; add that")
        return LARGEST, None
    chosen = {name: default if given[name] is None else given[name] for name, default in RETRAINING.items()}
    training, validation = chosen.pop("train_images"), chosen.pop("validation_images")
    with named_by_options():
        return {"train": training, "validation": validation}, Goal.from_mapping(chosen, "goal")


def _widths(arguments: argparse.Namespace) -> None:
    from selectq.cli.widths import Recipe, run_widths  # noqa: PLC0415
    from selectq.config.configs import ActivationScheme  # noqa: PLC0415
    from selectq.selection.widths import Curve  # noqa: PLC0415

    _end_quietly_with_the_reader()
    activations = ActivationScheme(arguments.activations, symmetric=False)
    numbers = arguments.steps, arguments.random, arguments.seed
    curve = Curve(arguments.wide, arguments.narrow, activations, *numbers)
    recipe = Recipe(arguments.calibration, arguments.estimator, tuple(arguments.algorithms))
    run_widths(arguments.checkpoint, arguments.images, recipe, curve, arguments.out)


def _import_weights(arguments: argparse.Namespace) -> None:
    from selectq.cli.import_weights import run_import_weights  # noqa: PLC0415

    run_import_weights(_checkout(), arguments.profile, arguments.source, arguments.out)


def _controls(arguments: argparse.Namespace) -> None:
    from selectq.cli.controls import run_controls  # noqa: PLC0415

    _end_quietly_with_the_reader()
    run_controls(_checkout(), arguments.names, arguments.count, arguments.seed)


def _claims(_arguments: argparse.Namespace) -> None:
    from selectq.cli.claims import run_claims  # noqa: PLC0415

    run_claims(_checkout())


def _end_quietly_with_the_reader() -> None:
    """End where the output is no longer read (`| head`), without a traceback."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selectq", description="Which layers must be retrained for INT8.")
    commands = parser.add_subparsers(title="commands", required=True)
    study = commands.add_parser("study", help="run the pipeline under a profile, apart from the checkout's own run")
    study.add_argument("profile", metavar="PROFILE", help="profiles/PROFILE.yaml is laid over params.yaml")
    study.add_argument(
        "--keep",
        action="store_true",
        help="copy small tables to results/PROFILE/, and models and cards to models/kept/PROFILE/",
    )
    study.add_argument(
        "--jobs", metavar="N", type=_positive, default=1, help="configurations at a time, sharing the cores (default 1)"
    )
    study.set_defaults(command=_study)
    search = commands.add_parser("search", help="what the validation images say of a profile's configurations")
    search.add_argument("profile", metavar="PROFILE", help="profiles/PROFILE.yaml is laid over params.yaml")
    search.set_defaults(command=_search)
    share = commands.add_parser("share", help="push everything that ran to the team's remote, with the run cache")
    share.set_defaults(command=_share)
    fetch = commands.add_parser("fetch", help="get everything that the team ran, without training")
    fetch.set_defaults(command=_fetch)
    verify = commands.add_parser("verify", help="hash the cache and the outputs, and name what is damaged")
    verify.add_argument("--mend", action="store_true", help="remove it, or replace it where a healthy copy is at hand")
    verify.set_defaults(command=_verify)
    plots_page = commands.add_parser("plots-page", help="have `dvc plots show` work without a network")
    plots_page.set_defaults(command=_plots_page)
    _add_fanout(commands.add_parser("fanout", help="run independent stages at the same time, here or on a Ray cluster"))
    merge_lock = commands.add_parser("merge-lock", help="merge dvc.lock stage by stage (git's merge driver)")
    for name in ("base", "ours", "theirs"):
        merge_lock.add_argument(name, metavar=name.upper(), type=Path)
    merge_lock.set_defaults(command=_merge_lock)
    _add_predict(commands.add_parser("predict", help="name the class of each image"))
    _add_evaluate(commands.add_parser("evaluate", help="measure accuracy on labelled images, by class too"))
    _add_inspect(commands.add_parser("inspect", help="say what a model is, layer by layer and byte by byte"))
    _add_quantize(
        commands.add_parser("quantize", help="make an INT8 program of your trained network, and say what it lost")
    )
    _add_widths(commands.add_parser("widths", help="accuracy against size, from all layers at 8 bits to all at 4"))
    _add_bench(commands.add_parser("bench", help="time programs on this machine, side by side"))
    _add_controls(commands.add_parser("controls", help="print random scopes of equal size, as entries of a profile"))
    _add_import_weights(commands.add_parser("import-weights", help="make a checkpoint of another framework's weights"))
    claims = commands.add_parser(
        "claims", help="write results/claims.md, docs/networks.md, docs/results.md and README's table"
    )
    claims.set_defaults(command=_claims)
    return parser


def _add_controls(controls: argparse.ArgumentParser) -> None:
    controls.add_argument("names", metavar="NAME", nargs="+", help="a configuration under qat in params.yaml")
    controls.add_argument("--count", metavar="N", type=_positive, default=3, help="controls of each (default 3)")
    controls.add_argument("--seed", metavar="N", type=int, default=0, help="of the random choice (default 0)")
    controls.set_defaults(command=_controls)


def _add_import_weights(weights: argparse.ArgumentParser) -> None:
    weights.add_argument("source", metavar="FILE", type=Path, help="TensorFlow's 8-bit MobileNetV2, a .tflite")
    weights.add_argument("--out", metavar="FILE", type=Path, required=True, help="a .safetensors file to write")
    weights.add_argument("--profile", metavar="NAME", help="for the network and the images of a profile")
    weights.set_defaults(command=_import_weights)


def _add_fanout(fanout: argparse.ArgumentParser) -> None:
    fanout.add_argument("--engine", choices=("local", "ray"), default="local", help="where jobs run (default local)")
    fanout.add_argument("--jobs", metavar="N", type=_positive, default=2, help="how many at a time (default 2)")
    fanout.add_argument(
        "--threads", metavar="N", type=_positive, help="of each job (default: a share of the cores; 1 on Ray)"
    )
    fanout.add_argument("--address", default="auto", help="of the Ray cluster (default: this machine's)")
    fanout.add_argument("--repository", metavar="URL", default=".", help="what the cluster's machines clone")
    fanout.add_argument("--folder", default="/tmp/selectq-fanout", help="where they put clones and logs")
    fanout.set_defaults(command=_fanout)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def _add_predict(predict: argparse.ArgumentParser) -> None:
    _add_model(predict)
    predict.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="image files, or folders of them")
    predict.add_argument("--top", metavar="K", type=int, default=1, help="name the K most probable classes (default 1)")
    _add_image_options(predict)
    predict.add_argument("--json", action="store_true", help="print one JSON object for each image, on its own line")
    predict.set_defaults(command=_predict)


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    _add_model(evaluate)
    evaluate.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="data/images.safetensors (its test images), or a folder, zip or tar of <class>/<image> or"
        " test/<class>/<image>",
    )
    evaluate.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="where confusion.csv, per_class.csv and confusion.png go (default: evaluation/<model's file name>/)",
    )
    _add_image_options(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _add_inspect(inspect: argparse.ArgumentParser) -> None:
    _add_model(inspect)
    inspect.add_argument("--layers-csv", metavar="FILE", type=Path, help="write the table of the layers as CSV too")
    inspect.set_defaults(command=_inspect)


def _add_bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="an INT8 program (.onnx, .pt2 or .pte), or any ONNX file with one input of uint8 or float32 images",
    )
    bench.add_argument("--batch", metavar="N", nargs="+", type=int, default=[1], help="images at once (default 1)")
    bench.add_argument("--threads", metavar="N", nargs="+", type=int, default=[1], help="of each program (default 1)")
    bench.add_argument("--layers", action="store_true", help="profile ONNX files node by node, too")
    bench.add_argument(
        "--seconds", metavar="S", type=float, default=2.0, help="on the clock, for each row of the tables (default 2)"
    )
    bench.add_argument("--json", metavar="FILE", type=Path, help="write the figures as JSON too")
    bench.set_defaults(command=_bench)


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""The usual normalization of pixels from 0 to 1, for red, green and blue."""


def _add_quantize(quantize: argparse.ArgumentParser) -> None:
    quantize.add_argument("weights", metavar="WEIGHTS", type=Path, help="the state dict, alone or in a checkpoint")
    quantize.add_argument(
        "images",
        metavar="IMAGES",
        type=Path,
        help="a folder, zip or tar of <class>/<image>, or of train/, val/, test/ of such, or data/images.safetensors",
    )
    quantize.add_argument(
        "--network", metavar="NAME", required=True, help="torchvision's, timm:NAME or FILE.py:FUNCTION"
    )
    quantize.add_argument(
        "--arguments", metavar="NAME=VALUE", nargs="+", type=_argument, default=[], help="the network's own"
    )
    quantize.add_argument("--size", metavar="PX", type=int, help="height and width of the images (default 224)")
    for name, values in IMAGENET.items():
        default = ",".join(map(str, values))
        quantize.add_argument(
            f"--{name}", metavar="R,G,B", type=_three, default=values, help=f"of the normalization (default {default})"
        )
    quantize.add_argument(
        "--out", metavar="FILE", type=Path, help="ends in .onnx, .pt2 or .pte (default: WEIGHTS' name.int8.onnx, here)"
    )
    quantize.add_argument(
        "--input",
        choices=("uint8", "float32"),
        default="uint8",
        help="what the program takes: pixels as decoded (default), or normalised as the network takes them",
    )
    quantize.add_argument(
        "--layout", choices=("nchw", "nhwc"), default="nchw", help="channels first (default), or last"
    )
    quantize.add_argument("--seed", metavar="N", type=int, default=0, help="of the division of the images (default 0)")
    quantize.add_argument("--keep-relu6", action="store_true", help="do not try ReLU in place of ReLU6")
    quantize.add_argument(
        "--bits", metavar="W8A8", type=_bits, default=(8, 8), help="of weights and activations, 2 to 8 (default W8A8)"
    )
    _add_skip_bad(quantize)
    _add_retraining(quantize)
    quantize.set_defaults(command=_quantize)


RETRAINING: dict[str, Any] = {
    "max_loss": 0.5,
    "budgets": [2.0, 5.0, 10.0, 25.0, 46.51, 100.0],
    "epochs": 4,
    "train_images": 10_000,
    "validation_images": 5_000,
}
"""What goes with `--retrain`, and its default. 46.51 % is what the paper's depthwise and projection layers hold."""


def _add_retraining(quantize: argparse.ArgumentParser) -> None:
    quantize.add_argument(
        "--retrain", action="store_true", help="retrain the fewest layers that are enough, and none where that will do"
    )
    group = quantize.add_argument_group("with --retrain")
    loss, budgets, epochs, training, validation = RETRAINING.values()
    group.add_argument("--max-loss", metavar="POINTS", type=float, help=f"of top-1 below FP32 (default {loss})")
    listed = " ".join(f"{budget:g}" for budget in budgets)
    group.add_argument(
        "--budgets", metavar="PCT", nargs="+", type=float, help=f"of the parameters, retrained (default {listed})"
    )
    group.add_argument("--epochs", metavar="N", type=_positive, help=f"of a retraining (default {epochs})")
    group.add_argument("--train-images", metavar="N", type=_positive, help=f"used at most (default {training})")
    group.add_argument(
        "--validation-images", metavar="N", type=_positive, help=f"that decide, at most (default {validation})"
    )


def _bits(text: str) -> tuple[int, int]:
    found = re.fullmatch("W([2-8])A([2-8])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no widths, such as W4A8; allowed: 2 to 8")
    return int(found[1]), int(found[2])


def _add_widths(widths: argparse.ArgumentParser) -> None:
    widths.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="FP32, such as models/fp32.safetensors")
    widths.add_argument("images", metavar="IMAGES", type=Path, help="packed, such as data/images.safetensors")
    for name, bits, default in (("wide", range(5, 9), 8), ("narrow", range(2, 5), 4), ("activations", range(2, 9), 8)):
        widths.add_argument(f"--{name}", type=int, choices=bits, default=default, help=f"bits (default {default})")
    widths.add_argument("--steps", metavar="N", type=_positive, default=10, help="between both ends (default 10)")
    widths.add_argument(
        "--random", metavar="N", type=_positive, default=0, help="random choices beside each step's (default 0)"
    )
    widths.add_argument(
        "--calibration", metavar="N", type=int, default=512, help="training images for ranges and scores (default 512)"
    )
    widths.add_argument("--estimator", metavar="NAME", default="minmax", help="of activation ranges (default minmax)")
    widths.add_argument(
        "--algorithms", metavar="NAME", nargs="+", default=[], help="PTQ algorithms on FP32, such as equalize"
    )
    widths.add_argument("--seed", metavar="N", type=int, default=0, help="of all that is drawn (default 0)")
    widths.add_argument("--out", metavar="FILE", type=Path, default=Path("widths.csv"), help="(default widths.csv)")
    widths.set_defaults(command=_widths)


def _argument(text: str) -> tuple[str, object]:
    import yaml  # noqa: PLC0415

    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as width_mult=0.5")
    return name, yaml.safe_load(value)


def _three(text: str) -> tuple[float, ...]:
    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers, such as 0.485,0.456,0.406") from None
    return red, green, blue


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", type=Path, help="an INT8 program: .onnx, .pt2 or .pte")


def _add_image_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--resize",
        action="store_true",
        help="bring the shorter side of an image of another size to the model's, and cut out the centre",
    )
    _add_skip_bad(command)


def _add_skip_bad(command: argparse.ArgumentParser) -> None:
    command.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read, and name them")
