"""Where the time of a training step goes: before, without needless filling, and with the kernels: `make bench`.

Writes `profile_<hardware>_<versions>.csv`. The profiler slows small operators down; shares are what counts.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import ours
import pandas as pd
import torch
from machine import machine_slug
from peers import plain
from torch.profiler import ProfilerActivity, profile
from workload import Workload, random_dataset, study_params

from selectq.data.device import choose_device
from selectq.files import write_csv
from selectq.stage import run
from selectq.training.forward import training_forward

HERE = Path(__file__).resolve().parent
IMAGES = 1500
STEPS = 4
SHOWN = 10
STEPS_OF = {"fp32": ours.fp32, "qat_full": lambda workload, way: ours.qat(workload, "full", way)}


def main() -> None:
    """Profile every step on every path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the table")
    output: Path = parser.parse_args().output
    device = choose_device()
    workload = Workload(study_params(), random_dataset(IMAGES, device))
    tables = []
    for step, build in STEPS_OF.items():
        tables.append(_profile(build(workload, training_forward).step, step, "kernels"))
        tables.append(_profile(build(workload, plain).step, step, "plain modules"))
        torch.utils.deterministic.fill_uninitialized_memory = True
        tables.append(_profile(build(workload, plain).step, step, "plain modules, new tensors filled"))
        torch.utils.deterministic.fill_uninitialized_memory = False
    path = output / f"profile_{machine_slug(device)}.csv"
    write_csv(path, pd.concat(tables), digits=2)
    print(f"written: {path}")


def _profile(work: Callable[[], int], step: str, path: str) -> pd.DataFrame:
    """The operators that take most of a step, and the rest in one row."""
    for _ in range(2):
        work()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            work()
    times = {event.key: event.self_cpu_time_total / STEPS / 1000 for event in profiler.key_averages()}
    whole = sum(times.values())
    largest = sorted(times, key=lambda name: -times[name])[:SHOWN]
    rows = [(step, path, name, times[name], 100 * times[name] / whole) for name in largest]
    rest = whole - sum(times[name] for name in largest)
    rows.append((step, path, "everything else", rest, 100 * rest / whole))
    print(f"{step}, {path}: {whole:.0f} ms", flush=True)
    return pd.DataFrame(rows, columns=["step", "path", "operator", "ms_per_step", "share_pct"])


if __name__ == "__main__":
    run(main)
