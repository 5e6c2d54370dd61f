"""Try the flaws that an experiment may have on the FP32 network; writes what each costs, per tensor and per channel."""

from _src import stage

from pathlib import Path

from selectq.analysis.audit import audit
from selectq.config.configs import Params
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv
from selectq.networks.checkpoint import FP32, read_fp32


@stage(load_checked_params, writes="metrics/audit.csv")
def main(params: Params, output: Path) -> None:
    device = choose_device()
    fp32 = read_fp32(FP32)
    dataset = read_dataset(IMAGES).to(device).normalised(fp32.normalization)
    found = audit(fp32.model.to(device), dataset, params.audit, params.seed)
    write_csv(output, found)
    print(f"audit: {len(found)} results in {output}")
