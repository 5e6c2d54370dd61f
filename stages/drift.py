"""Measure where quantization changes the activations, and the causes of every layer's error; writes CSV files."""

import _src  # noqa: F401

# isort: split
import argparse
from functools import partial
from pathlib import Path

from selectq.data.augment import image_batches, shown_batches
from selectq.data.counts import load_checked_params
from selectq.data.evenly import evenly
from selectq.data.packed import read_dataset
from selectq.drift.causes import measure_causes
from selectq.drift.distributions import level_histograms
from selectq.drift.measure import measure_drift
from selectq.files import only_writer, write_csv
from selectq.graph.parameters import inspected_convolutions
from selectq.networks.parent import read_parent
from selectq.params.load import choose
from selectq.ptq.pipeline import equivalent_parent
from selectq.quantization.post_training import fold_parent
from selectq.quantization.quantized import read_quantized
from selectq.stage import run
from selectq.training.device import choose_device
from selectq.training.simulation import quantized_forward

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration listed under convert in params.yaml")
    name: str = parser.parse_args().name
    params = load_checked_params(IMAGES)
    choose(dict.fromkeys(params.convert), name, "convert")
    output = Path(f"metrics/drift/{name}.csv")
    with only_writer(output):
        device = choose_device()
        checkpoint = read_quantized(Path(f"models/quantized/{name}.safetensors"))
        original = read_parent(PARENT, params.range_skew, params.seed)
        test = read_dataset(IMAGES).to(device).normalised(original.normalization).test
        parent = fold_parent(equivalent_parent(original, checkpoint.algorithms), device)
        inspected = inspected_convolutions(parent.graph, params.drift.inspect)
        quantized = checkpoint.network.to(device)

        spread = test.part(evenly(len(test), params.drift.images))
        drift = measure_drift(
            parent, quantized, shown_batches(spread, f"{name}: drift"), partial(quantized_forward, device=device)
        )
        causes_sample = test.sample(params.drift.cause_images, params.seed)
        causes = measure_causes(parent, quantized, shown_batches(causes_sample, f"{name}: causes"))
        sample = test.sample(params.drift.histogram_images, params.seed)
        histograms = level_histograms(quantized, inspected, image_batches(sample))
        for table in (drift, causes, histograms):
            table.insert(0, "config", name)
        write_csv(output, drift)
        write_csv(Path(f"metrics/drift/{name}.histograms.csv"), histograms, digits=8)
        write_csv(Path(f"metrics/causes/{name}.csv"), causes, digits=8)


if __name__ == "__main__":
    run(main)
