"""Inference of INT8 and FP32 MobileNetV2, 10 classes, 32x32 random pixels, made-up weights: `make bench-int8`.

Ours is the project's INT8 ONNX program in ONNX Runtime, made by the functions that the stages call. All sides of a
comparison run in this process, in turns, on one thread and on all; medians over the rounds are reported.

Goals are set for CPUs with VNNI. Writes `int8_<hardware>_<versions>.csv` and a picture beside it; with --profile,
`int8_profile_<hardware>_<versions>.csv` instead. Leave the machine alone meanwhile.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import torch
from int8_cases import ALL_PEERS, BATCHES, CASES, OPENVINO_FP32, ORT_FP32, ORT_STATIC, Case, Setting
from int8_models import Models
from int8_picture import draw
from int8_profile import OperatorTime, operator_times, profile_table
from int8_report import Result, sentence, table
from int8_sides import PEERS, ours
from machine import has_vnni, machine_slug

from selectq.errors import UserError
from selectq.files import write_csv
from selectq.latency.operators import profile
from selectq.latency.turns import TURNS, Timing, Turns, images_per_second, time_sides
from selectq.programs.manifest import INPUT_NAME
from selectq.stage import run

HERE = Path(__file__).resolve().parent
OURS = "ours"

QUICK_TURNS = Turns(repeats=2, rest=0.0, burn_in=0.0, seconds=0.0)

PROFILED_IMAGES = 1024
QUICK_PROFILED_IMAGES = 64
"""For each batch size; so many inferences as take that many images."""


def main() -> None:
    """Measure or profile every case, and write what was found."""
    arguments = _arguments()
    hardware = machine_slug(torch.device("cpu"), _packages())
    prefix = "quick_int8" if arguments.quick else "int8"
    if arguments.profile:
        path = arguments.output / f"{prefix}_profile_{hardware}.csv"
        _profile(path, QUICK_PROFILED_IMAGES if arguments.quick else PROFILED_IMAGES)
    else:
        path = arguments.output / f"{prefix}_{hardware}.csv"
        turns = QUICK_TURNS if arguments.quick else dataclasses.replace(TURNS, repeats=arguments.repeats)
        _measure(path, turns, hardware.replace("_", ", "))
    print(f"written: {path}")


def _measure(path: Path, turns: Turns, title: str) -> None:
    _say_what_is_missing()
    results = [result for case in CASES for result in _measure_case(case, turns)]
    write_csv(path, table(results))
    draw(results, title, path.with_suffix(".png"))


def _measure_case(case: Case, turns: Turns) -> list[Result]:
    all_threads = torch.get_num_threads()
    settings = [Setting(batch, threads) for threads in sorted({1, all_threads}) for batch in BATCHES]
    with tempfile.TemporaryDirectory() as folder:
        models = Models(case, Path(folder))
        results = [result for setting in settings for result in _measure_setting(case, models, setting, turns)]
    torch.set_num_threads(all_threads)
    return results


def _measure_setting(case: Case, models: Models, setting: Setting, turns: Turns) -> list[Result]:
    """All sides made ready, timed, and dropped again."""
    torch.set_num_threads(setting.threads)
    torch.compiler.reset()
    peers = [name for name in case.peers if PEERS[name].installed]
    sides = {OURS: ours(models, setting)} | {name: PEERS[name].prepare(models, setting) for name in peers}
    label = f"{case.name}, batch {setting.batch}, threads {setting.threads}"
    timed = time_sides(sides, turns, label)
    speeds = {name: images_per_second(seconds, setting.batch) for name, seconds in timed.items()}
    goals = {name: case.goal(name, setting) if has_vnni() else None for name in peers}
    results = [Result(case.name, setting, name, goals[name], Timing(speeds[OURS], speeds[name])) for name in peers]
    print(*map(sentence, results), sep="\n", flush=True)
    return results


def _profile(path: Path, images: int) -> None:
    profiles: dict[tuple[str, int], list[OperatorTime]] = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            models = Models(case, Path(folder))
            files = {OURS: models.int8_onnx, ORT_FP32: models.fp32_onnx, ORT_STATIC: models.static_onnx}
            for side, file in files.items():
                inputs = models.pixels if side == OURS else models.images
                for batch in BATCHES:
                    nodes = profile(file, {INPUT_NAME: inputs[:batch]}, images // batch, threads=1)
                    profiles[f"{case.name}: {side}", batch] = operator_times(nodes)
    write_csv(path, profile_table(profiles))


def _packages() -> list[str]:
    """Whose versions belong to the file's name."""
    return ["onnxruntime", "torch", *(["openvino"] if PEERS[OPENVINO_FP32].installed else [])]


def _say_what_is_missing() -> None:
    for name in ALL_PEERS:
        if not PEERS[name].installed:
            print(f"left out: {name} ({PEERS[name].package} is not installed)")
    if not has_vnni():
        print("no goals: this CPU has no VNNI")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the table and the picture")
    parser.add_argument("--repeats", type=int, default=TURNS.repeats, help="how often each side is timed")
    parser.add_argument("--profile", action="store_true", help="where the time goes, instead of how much it is")
    parser.add_argument("--quick", action="store_true", help="shows that it runs, measures nothing")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        raise UserError(f"--repeats: {arguments.repeats} is out of range; allowed: 1 or more")
    return arguments


if __name__ == "__main__":
    run(main)
