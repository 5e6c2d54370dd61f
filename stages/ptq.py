"""Quantize the FP32 network after training; writes the quantized checkpoint and its simulated accuracy."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

import torch

from selectq.data.counts import load_checked_params
from selectq.data.packed import read_dataset
from selectq.files import only_writer, write_json
from selectq.networks.parent import read_parent
from selectq.params.load import choose
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, write_quantized
from selectq.quantization.repairs.repaired import quantize_repaired
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
        dataset = read_dataset(IMAGES).to(device)
        parent = read_parent(PARENT, params.range_skew, params.seed)
        scheme = Scheme(config.weights, config.activations)
        network = quantize_repaired(parent, dataset, config, params.seed)
        validation = evaluate(quantized_forward(network, device), dataset.validation, f"{name} validation")
        checkpoint = QuantizedCheckpoint(name, network, parent.config, parent.classes, scheme, config.repairs)
        write_quantized(checkpoint_path, checkpoint)
        write_json(
            Path(f"metrics/simulated/{name}.json"),
            {
                "validation_top1": round(validation["top1"], 4),
                "parameters": sum(parameter.numel() for parameter in parent.model.parameters()),
                "params_retrained": 0,
                "torch": torch.__version__,
            },
        )
        print(f"{name}: simulated top-1 {validation['top1']:.2f} % on the validation images")


if __name__ == "__main__":
    run(main)
