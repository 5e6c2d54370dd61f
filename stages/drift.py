"""Measure where quantization changes the activations, and the causes of every layer's error; writes CSV files."""

from _src import stage

from functools import partial
from pathlib import Path

from selectq.analysis.distributions import level_histograms
from selectq.analysis.drift import measure_drift
from selectq.analysis.error_decomposition import measure_causes
from selectq.config.configs import Params
from selectq.data.augment import image_batches, shown_batches
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evenly import evenly
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv
from selectq.graph.parameters import inspected_convolutions
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.ptq.pipeline import equivalent_fp32
from selectq.quantization.post_training import fold_fp32
from selectq.quantization.quantized import read_quantized


@stage(load_checked_params, writes="metrics/drift/{name}.csv", names="convert")
def main(params: Params, output: Path, name: str) -> None:
    device = choose_device()
    checkpoint = read_quantized(Path(f"models/quantized/{name}.safetensors"))
    original = read_skewed(FP32, params.range_skew, params.seed)
    test = read_dataset(IMAGES).to(device).normalised(original.normalization).test
    fp32 = fold_fp32(equivalent_fp32(original, checkpoint.algorithms), device)
    inspected = inspected_convolutions(fp32.graph, params.drift.inspect)
    quantized = checkpoint.network.to(device)

    spread = test.part(evenly(len(test), params.drift.images))
    drift = measure_drift(
        fp32, quantized, shown_batches(spread, f"{name}: drift"), partial(quantized_forward, device=device)
    )
    causes_sample = test.sample(params.drift.cause_images, params.seed)
    causes = measure_causes(fp32, quantized, shown_batches(causes_sample, f"{name}: causes"))
    sample = test.sample(params.drift.histogram_images, params.seed)
    histograms = level_histograms(quantized, inspected, image_batches(sample))
    for table in (drift, causes, histograms):
        table.insert(0, "config", name)
    write_csv(output, drift)
    write_csv(Path(f"metrics/drift/{name}.histograms.csv"), histograms, digits=8)
    write_csv(Path(f"metrics/causes/{name}.csv"), causes, digits=8)
