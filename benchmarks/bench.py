"""Speed, memory and start-up beside what one would otherwise use, on random pixels: `make bench`.

All training steps and passes take turns in this process, and ratios are taken round by round. FP32 steps include
loading and augmentation. QAT steps do not: all sides take the same batches from memory and follow activation ranges.
The process keeps freed memory in large pages, which the peers have the good of, too.

Writes `speed_<hardware>_<versions>.csv` and a picture beside it. Leave the machine alone meanwhile.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
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
from timing import Side, Timing, time_in_turns
from workload import Workload, random_dataset, shrunk

from selectq.errors import UserError
from selectq.files import write_csv
from selectq.params.load import PARAMS_FILE, load_params
from selectq.quantization.scopes import parameters_in_scope
from selectq.stage import run
from selectq.training.device import choose_device

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
    "cuda": Effort(images=5000, repeats=7, steps=200, growth_repeats=3, growth_steps=50, variants=VARIANTS),
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
    Case("qat_full_step", "qat_full", "torch.ao as torchvision's script, NCHW", "ao_nchw", {"cpu": 4.5, "cuda": 5.0}),
    Case("qat_full_step", "qat_full", "torch.ao, channels_last", "ao_channels_last", {"cpu": 3.2}),
    Case("qat_full_step", "qat_full", "torchao pt2e, channels_last", "ao_pt2e", {"cpu": 3.2}),
    Case("qat_full_step", "qat_full", "the same by torch.compile", "qat_compiled", {}),
    Case("qat_full_step", "qat_full", "our FP32 step", "fp32", {"cpu": 1.0}),
    Case("qat_clf_epoch", "qat_clf", "our full QAT epoch", "qat_full", {"cpu": 50.0, "cuda": 50.0}),
    Case("evaluation", "evaluation", "plain forward pass", "float_pass", {"cpu": 0.8}),
    Case("calibration", "calibration", "plain forward pass", "float_pass", {"cpu": 0.8}),
    Case("drift", "drift", "plain forward passes, as many", "float_pass", {"cpu": 0.8}),
]

PARTIAL = ("dw", "dwpw")


def main() -> None:
    """Measure everything and write the table and the picture."""
    arguments = _arguments()
    device = choose_device()
    params, effort = load_params(HERE.parent / PARAMS_FILE), QUICK if arguments.quick else EFFORT[device.type]
    params = shrunk(params, QUICK_BATCH, QUICK.images) if arguments.quick else params
    workload = Workload(params, random_dataset(effort.images, device))
    hardware = machine_slug(device)
    path = arguments.output / f"{'quick' if arguments.quick else 'speed'}_{hardware}.csv"
    sections: list[Callable[[], list[Comparison]]] = [
        lambda: _training(workload, effort, arguments.repeats or effort.repeats),
        lambda: growth(workload, effort.variants, effort.growth_repeats, effort.growth_steps),
    ]
    other = _announce(_costs(effort, arguments.dvc))  # first, while this process has the machine's memory to spare
    results: list[Comparison] = []
    for section in sections:  # what was measured stays, whatever comes after
        results += _announce(section())
        write_csv(path, table([*results, *other]))
        draw([*results, *other], hardware.replace("_", ", "), path.with_suffix(".png"))
    print(f"written: {path} and .png")


def _training(workload: Workload, effort: Effort, repeats: int) -> list[Comparison]:
    speeds = time_in_turns(_sides(workload, effort.steps), repeats, "training steps and passes")
    device = workload.device.type
    found = [
        Comparison(case.name, Timing(speeds[case.ours], speeds[case.peer]), case.peer_name, case.goals.get(device))
        for case in CASES
    ]
    return [*found, *_beside_theory(workload, speeds)]


def _beside_theory(workload: Workload, speeds: dict[str, list[float]]) -> list[Comparison]:
    """The steps beside the machine's ceilings, and what freezing layers saves beside what it could."""
    ceilings, model = measure_ceilings(workload.device), workload.network()
    full = count_work(workload, all_parameters(workload))
    name = f"bound: {full.operations / 1e6:.0f} MFLOP, {full.bytes / 1e6:.1f} MB an image"
    found = [Comparison.with_bound("fp32_step", speeds["fp32"], full.images_per_second(ceilings), name)]
    found += [Comparison.with_bound("qat_full_step", speeds["qat_full"], full.images_per_second(ceilings), name)]
    for config in PARTIAL:
        work = count_work(workload, parameters_in_scope(model, workload.params.qat[config].scope))
        allowed = round(full.operations / work.operations, 2)
        timing = Timing(speeds[f"qat_{config}"], speeds["qat_full"])
        found.append(Comparison(f"qat_{config}_step", timing, f"our full step; {allowed} x its operations", allowed))
    return found


def _sides(workload: Workload, steps: int) -> dict[str, Side]:
    mine = {
        "fp32": ours.fp32(workload).step,
        "qat_full": ours.qat(workload, "full").step,
        **{f"qat_{name}": ours.qat(workload, name).step for name in PARTIAL},
    }
    passes = {
        "float_pass": ours.float_pass(workload),
        "evaluation": ours.evaluation(workload),
        "calibration": ours.calibration(workload),
        "drift": ours.drift(workload),
    }
    usual = {
        "data_loader": peers.data_loader_loop(workload).step,
        "fp32_compiled": peers.compiled_fp32(workload).step,
        "fp32_bfloat16": peers.bfloat16_fp32(workload).step,
        "qat_compiled": peers.compiled_qat(workload).step,
        "ao_nchw": peers.torch_ao_nchw(workload).step,
        "ao_channels_last": peers.torch_ao_channels_last(workload).step,
        "ao_pt2e": peers.torchao_pt2e(workload).step,
    }
    epoch = 50 * steps  # of the classifier alone: a step is too short to be timed
    return {
        **{name: Side(step, True, steps) for name, step in mine.items()},
        "qat_clf": Side(ours.classifier(workload, "clf").step, True, epoch),
        **{name: Side(work, True, 1) for name, work in passes.items()},
        **{name: Side(step, False, steps) for name, step in usual.items()},
    }


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
    arguments = parser.parse_args()
    if arguments.repeats is not None and arguments.repeats < 1:
        raise UserError(f"--repeats: {arguments.repeats} is out of range; allowed: 1 or more")
    return arguments


if __name__ == "__main__":
    torch.set_num_interop_threads(1)
    run(main)
