"""Try the flaws that an experiment may have on the FP32 network; writes what each costs, per tensor and per channel."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

from selectq.audit.measure import audit
from selectq.data.counts import load_checked_params
from selectq.data.packed import read_dataset
from selectq.files import only_writer, write_csv
from selectq.networks.checkpoint import read_fp32
from selectq.stage import run
from selectq.training.device import choose_device

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")
OUTPUT = Path("metrics/audit.csv")


def main() -> None:
    """Run the stage."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    params = load_checked_params(IMAGES)
    with only_writer(OUTPUT):
        device = choose_device()
        parent = read_fp32(PARENT)
        dataset = read_dataset(IMAGES).to(device).normalised(parent.normalization)
        found = audit(parent.model.to(device), dataset, params.audit, params.seed)
        write_csv(OUTPUT, found)
        print(f"audit: {len(found)} results in {OUTPUT}")


if __name__ == "__main__":
    run(main)
