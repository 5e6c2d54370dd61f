"""Quantize the FP32 network after training; writes the quantized checkpoint and its simulated accuracy."""

import _src  # noqa: F401

# isort: split
import argparse
from collections.abc import Collection
from pathlib import Path

import torch

from selectq.data.counts import load_checked_params
from selectq.data.packed import Split, read_dataset
from selectq.files import only_writer, write_json
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.networks.parent import read_parent
from selectq.params.algorithms import RELU6_AS_RELU
from selectq.params.load import choose
from selectq.ptq.pipeline import equivalent_parent, ptq_pipeline
from selectq.quantization.post_training import fold_parent
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, write_quantized
from selectq.stage import run
from selectq.training.device import choose_device
from selectq.training.evaluate import evaluate
from selectq.training.simulation import quantized_forward

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration under ptq in params.yaml")
    name: str = parser.parse_args().name
    params = load_checked_params(IMAGES)
    config = choose(params.ptq, name, "ptq")
    checkpoint_path = Path(f"models/quantized/{name}.safetensors")
    with only_writer(checkpoint_path):
        device = choose_device()
        parent = read_parent(PARENT, params.range_skew, params.seed)
        dataset = read_dataset(IMAGES).to(device).normalised(parent.normalization)
        scheme = Scheme(config.weights, config.activations)
        network = ptq_pipeline(parent, dataset, config, params.seed)
        validation = evaluate(quantized_forward(network, device), dataset.validation, f"{name} validation")
        fp32 = fp32_top1(parent, dataset.validation, config.algorithms, device)
        checkpoint = QuantizedCheckpoint(name, network, parent.config, parent.classes, scheme, config.algorithms)
        write_quantized(checkpoint_path, checkpoint)
        write_json(
            Path(f"metrics/simulated/{name}.json"),
            {
                "validation_top1": round(validation["top1"], 4),
                "parameters": sum(parameter.numel() for parameter in parent.model.parameters()),
                "params_retrained": 0,
                "torch": torch.__version__,
                **fp32,
            },
        )
        if fp32:
            print("{0}: ReLU for ReLU6 costs {fp32_relu6_as_relu_cost} points of the FP32 network".format(name, **fp32))
        print(f"{name}: simulated top-1 {validation['top1']:.2f} % on the validation images")


def fp32_top1(
    parent: Fp32Checkpoint, validation: Split, algorithms: Collection[str], device: torch.device
) -> dict[str, float]:
    """What ReLU for ReLU6 costs the FP32 network, in points of validation images; empty if that is not asked for."""
    if RELU6_AS_RELU not in algorithms:
        return {}
    forwards = (
        fold_parent(parent, device),
        fold_parent(equivalent_parent(parent, [RELU6_AS_RELU]), device),
    )
    before, after = (evaluate(forward, validation, "FP32 validation")["top1"] for forward in forwards)
    return {
        "fp32_validation_top1": round(before, 4),
        "fp32_relu_validation_top1": round(after, 4),
        "fp32_relu6_as_relu_cost": round(before - after, 4),
    }


if __name__ == "__main__":
    run(main)
