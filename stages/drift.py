"""Measure where quantization changes the activations; writes drift, channel ranges and histograms as CSV."""

import _src  # noqa: F401

# isort: split
import argparse
from functools import partial
from pathlib import Path

from selectq.data.augment import EVALUATION_BATCH, image_batches, normalise
from selectq.data.packed import read_dataset
from selectq.drift.distributions import channel_ranges, level_histograms, require_convolutions
from selectq.drift.measure import measure_drift
from selectq.files import only_writer, write_csv
from selectq.models.parent import read_parent
from selectq.params.load import load_params
from selectq.progress import progress
from selectq.quantization.post_training import fold_parent
from selectq.quantization.quantized import read_quantized
from selectq.stage import run
from selectq.training.device import choose_device
from selectq.training.simulation import quantized_forward

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")
OUTPUT = Path("metrics/drift")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", required=True, help="quantized configurations to compare with FP32")
    names: list[str] = parser.parse_args().names
    params = load_params()
    with only_writer(OUTPUT):
        device = choose_device()
        test = read_dataset(IMAGES).to(device).test
        images = test.images
        sample = normalise(test.sample(params.drift.histogram_images, params.seed).images)
        parent = fold_parent(read_parent(PARENT, params.range_skew, params.seed), device)
        require_convolutions(parent, params.drift.inspect)
        quantized = {
            name: read_quantized(Path(f"models/quantized/{name}.safetensors")).network.to(device) for name in names
        }
        batches = -(-len(images) // EVALUATION_BATCH)

        simulate = partial(quantized_forward, device=device)
        drift = measure_drift(parent, quantized, progress(image_batches(images), batches, "drift"), simulate)
        ranges = channel_ranges(
            parent, params.drift.inspect, progress(image_batches(images), batches, "channel ranges")
        )
        histograms = level_histograms(quantized, params.drift.inspect, sample)
        write_csv(OUTPUT / "drift.csv", drift)
        write_csv(OUTPUT / "channel_ranges.csv", ranges)
        write_csv(OUTPUT / "histograms.csv", histograms, digits=8)


if __name__ == "__main__":
    run(main)
