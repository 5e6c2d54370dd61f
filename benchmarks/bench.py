"""Speed, memory and start-up beside what one would otherwise use, on random pixels: `make bench`.

All training steps and passes take turns in this process, and ratios are taken round by round. FP32 steps include
loading and augmentation. QAT steps do not: all sides take the same batches from memory and follow activation ranges.
The process keeps freed memory in large pages, which the peers have the good of, too.

Writes `speed_<hardware>_<versions>.csv` and a picture beside it; with `--sides` these alone, so name another `--output`
to keep what is there. Leave the machine alone meanwhile.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import costs
import ours
import peers
import torch
from bounds import all_parameters, count_work, measure_ceilings
from growth import VARIANTS, Variant, growth
from machine import machine_slug
from report import Comparison, draw, sentence, table
from timing import Side, Trainer, time_in_turns
from workload import Workload, random_dataset, shrunk, study_params, workload_of

from selectq.data.device import choose_device
from selectq.errors import UserError
from selectq.files import write_csv
from selectq.kernels.forward import kernel_forward
from selectq.latency.turns import Timing
from selectq.quantization.scopes import parameters_in_scope
from selectq.stage import run

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Effort:
    """How much is measured: images in the data set, rounds, steps in a turn."""

    images: int
    repeats: int
    steps: int
    growth_repeats: int
    growth_steps: int
    variants: list[Variant]


EFFORT = {
    "cpu": Effort(images=2500, repeats=5, steps=6, growth_repeats=2, growth_steps=2, variants=VARIANTS),
    "cuda": Effort(images=5000, repeats=7, steps=50, growth_repeats=3, growth_steps=50, variants=VARIANTS),
}
QUICK = Effort(images=32, repeats=2, steps=1, growth_repeats=1, growth_steps=1, variants=[Variant(width=0.5, batch=4)])
QUICK_BATCH = 4


@dataclass(frozen=True)
class Case:
    """Two sides to compare, by name, and the ratio that is aimed at on a CPU and on a GPU, if any is."""

    name: str
    ours: str
    peer_name: str
    peer: str
    goals: dict[str, float]


CASES = [
    Case("fp32_step", "fp32", "torchvision's loop: DataLoader, NCHW", "data_loader", {"cpu": 2.5, "cuda": 5.0}),
    Case("fp32_step", "fp32", "the same by torch.compile", "fp32_compiled", {}),
    Case("fp32_step", "fp32", "the same in bfloat16", "fp32_bfloat16", {}),
    Case("fp32_step", "fp32", "our step, not recorded", "fp32_unrecorded", {}),
    Case("qat_full_step", "qat_full", "torch.ao as torchvision's script, NCHW", "ao_nchw", {"cpu": 4.5, "cuda": 5.0}),
    Case("qat_full_step", "qat_full", "torch.ao, channels_last", "ao_channels_last", {"cpu": 3.2}),
    Case("qat_full_step", "qat_full", "torchao pt2e, channels_last", "ao_pt2e", {"cpu": 3.2}),
    Case("qat_full_step", "qat_full", "the same by torch.compile", "qat_compiled", {}),
    Case("qat_full_step", "qat_full", "our step, not recorded", "qat_full_unrecorded", {}),
    Case("qat_full_step", "qat_full", "our FP32 step", "fp32", {"cpu": 1.0}),
    Case("qat_clf_epoch", "qat_clf", "our full QAT epoch", "qat_full", {"cpu": 50.0, "cuda": 50.0}),
    Case("evaluation", "evaluation", "plain forward pass", "float_pass", {"cpu": 0.8}),
    Case("calibration", "calibration", "plain forward pass", "float_pass", {"cpu": 0.8}),
    Case("drift", "drift", "plain forward passes, as many", "float_pass", {"cpu": 0.8}),
]

PARTIAL = ("dw", "dwpw")
QUANTIZABLE = ("mobilenet_v3_large", "resnet18", "shufflenet_v2_x1_0")
"""Other networks that torchvision has prepared for torch.ao; their strides as they are, batch 64."""

CASES += [
    Case(f"qat_{name}_step", f"qat_{name}", "torch.ao as torchvision's script, NCHW", f"ao_{name}", {"cpu": 2.5})
    for name in QUANTIZABLE
]


def main() -> None:
    """Measure everything and write the table and the picture."""
    arguments = _arguments()
    device = choose_device()
    params, effort = study_params(), QUICK if arguments.quick else EFFORT[device.type]
    params = shrunk(params, QUICK_BATCH, QUICK.images) if arguments.quick else params
    workload = Workload(params, random_dataset(effort.images, device))
    hardware = machine_slug(device)
    path = arguments.output / f"{'quick' if arguments.quick else 'speed'}_{hardware}.csv"
    repeats = arguments.repeats or effort.repeats
    sections: list[Callable[[], list[Comparison]]] = [
        lambda: _training(workload, effort, repeats),
        lambda: growth(workload, effort.variants, effort.growth_repeats, effort.growth_steps),
    ]
    if arguments.sides:
        sections = [lambda: _cases(workload, arguments.sides, effort.steps, repeats)]
    # first, while this process has the machine's memory to spare
    other = [] if arguments.sides else _announce(_costs(effort, arguments.dvc))
    results: list[Comparison] = []
    for section in sections:  # what was measured stays, whatever comes after
        results += _announce(section())
        write_csv(path, table([*results, *other]))
        draw([*results, *other], hardware.replace("_", ", "), path.with_suffix(".png"))
    print(f"written: {path} and .png")


def _training(workload: Workload, effort: Effort, repeats: int) -> list[Comparison]:
    speeds = _speeds(_sides(workload, effort.steps), repeats)
    return [*_compared(speeds, workload.device), *_beside_bounds(workload, speeds), *_beside_full(workload, speeds)]


def _cases(workload: Workload, sides: Sequence[str], steps: int, repeats: int) -> list[Comparison]:
    """The cases both of whose sides are asked for.

    Raises:
        UserError: a side is not timed on this device.
    """
    makers = _sides(workload, steps)
    for name in sides:
        if name not in makers:
            raise UserError(f"--sides: {name} is not timed on this device; allowed here: {', '.join(sorted(makers))}")
    speeds = _speeds({name: makers[name] for name in sides}, repeats)
    return [*_compared(speeds, workload.device), *_beside_full(workload, speeds)]


def _speeds(makers: Mapping[str, Callable[[], Side]], repeats: int) -> dict[str, list[float]]:
    return time_in_turns({name: make() for name, make in makers.items()}, repeats, "training steps and passes")


def _compared(speeds: Mapping[str, list[float]], device: torch.device) -> list[Comparison]:
    return [
        Comparison(case.name, Timing(speeds[case.ours], speeds[case.peer]), case.peer_name, case.goals.get(device.type))
        for case in CASES
        if case.ours in speeds and case.peer in speeds
    ]


def _beside_bounds(workload: Workload, speeds: Mapping[str, list[float]]) -> list[Comparison]:
    """The steps beside the machine's ceilings."""
    work = count_work(workload, all_parameters(workload))
    bound = work.images_per_second(measure_ceilings(workload.device))
    name = f"bound: {work.operations / 1e6:.0f} MFLOP, {work.bytes / 1e6:.1f} MB an image"
    return [Comparison.with_bound(f"{side}_step", speeds[side], bound, name) for side in ("fp32", "qat_full")]


def _beside_full(workload: Workload, speeds: Mapping[str, list[float]]) -> list[Comparison]:
    """What freezing layers saves, beside the share of the operations that it saves."""
    full, model, found = count_work(workload, all_parameters(workload)), workload.network(), []
    for config in (name for name in PARTIAL if {f"qat_{name}", "qat_full"} <= speeds.keys()):
        work = count_work(workload, parameters_in_scope(model, workload.params.qat[config].scope))
        allowed = round(full.operations / work.operations, 2)
        timing = Timing(speeds[f"qat_{config}"], speeds["qat_full"])
        found.append(Comparison(f"qat_{config}_step", timing, f"our full step; {allowed} x its operations", allowed))
    return found


def _sides(workload: Workload, steps: int) -> dict[str, Callable[[], Side]]:
    """What is timed, by name, each made when it is called."""
    mine: dict[str, Callable[[], Trainer]] = {
        "fp32": partial(ours.fp32, workload),
        **{f"qat_{name}": partial(ours.qat, workload, name) for name in ("full", *PARTIAL)},
    }
    if workload.device.type == "cuda":  # where alone a step is recorded
        mine["fp32_unrecorded"] = partial(ours.fp32, workload, kernel_forward)
        mine["qat_full_unrecorded"] = partial(ours.qat, workload, "full", kernel_forward)
    passes: dict[str, Callable[[], Callable[[], int]]] = {
        "float_pass": partial(ours.float_pass, workload),
        "evaluation": partial(ours.evaluation, workload),
        "calibration": partial(ours.calibration, workload),
        "drift": partial(ours.drift, workload),
    }
    usual: dict[str, Callable[[], Trainer]] = {
        "data_loader": partial(peers.data_loader_loop, workload),
        "fp32_compiled": partial(peers.compiled_fp32, workload),
        "fp32_bfloat16": partial(peers.bfloat16_fp32, workload),
        "qat_compiled": partial(peers.compiled_qat, workload),
        "ao_nchw": partial(peers.torch_ao_nchw, workload),
        "ao_channels_last": partial(peers.torch_ao_channels_last, workload),
        "ao_pt2e": partial(peers.torchao_pt2e, workload),
    }
    if workload.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() != "AVX512":
        del usual["fp32_bfloat16"]  # emulated there: a minute a step
    others = {name: partial(workload_of, name, {}, workload.device) for name in QUANTIZABLE}
    mine |= {f"qat_{name}": partial(_trainer, ours.qat, other, "full") for name, other in others.items()}
    usual |= {f"ao_{name}": partial(_trainer, peers.torch_ao_nchw, other) for name, other in others.items()}
    epoch = 50 * steps  # of the classifier alone: a step is too short to be timed
    return {
        **{name: partial(_side_of, make, True, steps) for name, make in mine.items()},
        "qat_clf": partial(_side_of, partial(ours.classifier, workload, "clf"), True, epoch),
        **{name: partial(_side_of_pass, make) for name, make in passes.items()},
        **{name: partial(_side_of, make, False, steps) for name, make in usual.items()},
    }


def _trainer(make: Callable[..., Trainer], workload: Callable[[], Workload], *arguments: str) -> Trainer:
    """Of a workload that is made when the trainer is."""
    return make(workload(), *arguments)


def _side_of(make: Callable[[], Trainer], deterministic: bool, steps: int) -> Side:
    trainer = make()
    return Side(trainer.step, deterministic, steps, trainer.check)


def _side_of_pass(make: Callable[[], Callable[[], int]]) -> Side:
    return Side(make(), True, 1)


def _costs(effort: Effort, dvc: bool) -> list[Comparison]:
    with TemporaryDirectory() as folder:
        memory = costs.peak_memory(Path(folder), min(costs.IMAGES, effort.images))
    start = [costs.start_up(effort.repeats)]
    return [*memory, *start, *([costs.no_op_repro(effort.repeats)] if dvc else [])]


def _announce(results: list[Comparison]) -> list[Comparison]:
    for result in results:
        print(sentence(result), flush=True)
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the table and the picture")
    parser.add_argument("--repeats", type=int, help="rounds of training steps and passes")
    parser.add_argument("--quick", action="store_true", help="tiny batches: shows that it runs, measures nothing")
    parser.add_argument("--no-dvc", dest="dvc", action="store_false", help="leave out `dvc repro` in the checkout")
    names = sorted({f"qat_{name}" for name in PARTIAL}.union(*((case.ours, case.peer) for case in CASES)))
    parser.add_argument(
        "--sides", nargs="+", choices=names, help="time these alone, and compare those that belong together"
    )
    arguments = parser.parse_args()
    if arguments.repeats is not None and arguments.repeats < 1:
        raise UserError(f"--repeats: {arguments.repeats} is out of range; allowed: 1 or more")
    return arguments


if __name__ == "__main__":
    torch.set_num_interop_threads(1)
    run(main)
