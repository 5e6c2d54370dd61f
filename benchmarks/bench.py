"""Training speed against the usual loops, on random pixels: `make bench`.

Each comparison runs both sides in this process, in turns, and reports medians. FP32 steps include loading and
augmentation. QAT steps do not: both sides take the same batches from memory, follow activation ranges and use the same
optimiser; ours folds batch norms beforehand, torch.ao trains through them.

Writes `speed_<hardware>_<versions>.csv` and a picture beside it. Leave the machine alone meanwhile.
"""

import argparse
from pathlib import Path

import ours
import peers
from machine import machine_slug
from report import Case, Result, draw, sentence, table
from timing import Protocol, time_in_turns
from workload import Workload, random_dataset, shrunk

from selectq.errors import UserError
from selectq.files import write_csv
from selectq.params.load import load_params
from selectq.stage import run
from selectq.training.device import choose_device

HERE = Path(__file__).resolve().parent
PARAMS = HERE.parent / "params.yaml"
IMAGES = 5000
REPEATS = 7
STEPS = {"cpu": 8, "cuda": 200}
BURN_IN_STEPS = 3

QUICK = Protocol(repeats=2, steps=1, burn_in_steps=1)
QUICK_IMAGES = 32
QUICK_BATCH = 4

CASES = [
    Case("fp32", "DataLoader, NCHW", 1.5, ours.fp32, peers.data_loader_loop),
    Case("qat_full", "torch.ao eager, NCHW", 1.5, ours.full_qat, peers.torch_ao_nchw),
    Case("qat_full_channels_last", "torch.ao eager, channels_last", None, ours.full_qat, peers.torch_ao_channels_last),
]


def main() -> None:
    """Measure every case and write the table and the picture."""
    arguments = _arguments()
    device = choose_device()
    params = load_params(PARAMS)
    if arguments.quick:
        protocol, prefix = QUICK, "quick"
        workload = Workload(shrunk(params, QUICK_BATCH, QUICK_IMAGES), random_dataset(QUICK_IMAGES, device))
    else:
        protocol, prefix = Protocol(arguments.repeats, STEPS[device.type], BURN_IN_STEPS), "speed"
        workload = Workload(params, random_dataset(IMAGES, device))
    results = [_measure(case, workload, protocol) for case in CASES]
    hardware = machine_slug(device)
    path = arguments.output / f"{prefix}_{hardware}.csv"
    write_csv(path, table(results))
    draw(results, hardware.replace("_", ", "), path.with_suffix(".png"))
    print(f"written: {path} and .png")


def _measure(case: Case, workload: Workload, protocol: Protocol) -> Result:
    timing = time_in_turns(case.ours(workload), case.peer(workload), protocol, case.name)
    result = Result(case, timing)
    print(sentence(result), flush=True)
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the table and the picture")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="how often each side is timed")
    parser.add_argument("--quick", action="store_true", help="tiny batches: shows that it runs, measures nothing")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        raise UserError(f"--repeats: {arguments.repeats} is out of range; allowed: 1 or more")
    return arguments


if __name__ == "__main__":
    run(main)
