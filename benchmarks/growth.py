"""How speed changes with the network's width, the images' size and the batch."""

import dataclasses
from dataclasses import dataclass

import ours
import torch
from report import Comparison
from timing import Side, time_in_turns
from workload import IMAGE_SIZE, Workload, random_dataset

from selectq.latency.turns import Timing

BATCH = 128
REFERENCE = f"width 1.0, {IMAGE_SIZE} px, batch {BATCH}"


@dataclass(frozen=True)
class Variant:
    """One point, the others at the reference."""

    width: float = 1.0
    size: int = IMAGE_SIZE
    batch: int = BATCH

    @property
    def name(self) -> str:
        """What differs from the reference."""
        parts = {"width": self.width, "px": self.size, "batch": self.batch}
        usual = {"width": 1.0, "px": IMAGE_SIZE, "batch": BATCH}
        return "_".join(f"{part}-{value}" for part, value in parts.items() if value != usual[part])


VARIANTS = [
    *(Variant(width=width) for width in (0.5, 1.4)),
    *(Variant(size=size) for size in (64, 96)),
    *(Variant(batch=batch) for batch in (32, 64, 256, 512, 1024)),
]


def growth(workload: Workload, variants: list[Variant], repeats: int, steps: int) -> list[Comparison]:
    """Images/s of FP32 and full QAT steps at each variant beside the reference, measured in turns."""
    found = []
    for variant in variants:
        other = _workload(workload, variant)
        for kind, build in (("fp32", ours.fp32), ("qat", lambda load: ours.qat(load, "full"))):
            sides = {
                name: Side(build(load).step, deterministic=True, steps=steps)
                for name, load in (("reference", workload), ("variant", other))
            }
            speeds = time_in_turns(sides, repeats, f"{kind} {variant.name}")
            timing = Timing(speeds["variant"], speeds["reference"])
            found.append(Comparison(f"growth_{kind}_{variant.name}", timing, REFERENCE, None))
    return found


def _workload(reference: Workload, variant: Variant) -> Workload:
    params = reference.params
    calibration = dataclasses.replace(params.qat_training.calibration, images=min(BATCH, variant.batch))
    params = dataclasses.replace(
        params,
        finetune=dataclasses.replace(params.finetune, batch_size=variant.batch),
        qat_training=dataclasses.replace(params.qat_training, batch_size=variant.batch, calibration=calibration),
    )
    dataset = reference.dataset
    if variant.size != IMAGE_SIZE or variant.batch > len(dataset.train):
        dataset = random_dataset(2 * variant.batch, torch.device(reference.device), variant.size)
    return Workload(params, dataset, variant.width)
