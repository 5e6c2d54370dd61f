"""Retrain the layers in scope under fake quantization; writes the checkpoint, accuracy, learning curve, oscillation."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

import pandas as pd
import torch

from selectq.data.counts import load_checked_params
from selectq.data.packed import read_dataset
from selectq.files import write_csv, write_json
from selectq.networks.parent import read_parent
from selectq.params.load import choose
from selectq.quantization.quantized import QuantizedCheckpoint, write_quantized
from selectq.quantization.scopes import count_parameters, parameters_in_scope
from selectq.stage import run
from selectq.training.device import choose_device
from selectq.training.oscillation import oscillation_table
from selectq.training.parallel import training_workers
from selectq.training.qat import Retraining, retrain
from selectq.training.resume import TrainingState, run_key

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration under qat in params.yaml")
    name: str = parser.parse_args().name
    params = load_checked_params(IMAGES)
    retraining = Retraining(choose(params.qat, name, "qat"), params.qat_training, params.seed)
    checkpoint_path = Path(f"models/quantized/{name}.safetensors")
    device = choose_device(params.deterministic)
    with training_workers(device) as workers, workers.only_writer(checkpoint_path):
        parent = read_parent(PARENT, params.range_skew, params.seed)
        dataset = read_dataset(IMAGES).to(device).normalised(parent.normalization)
        key = run_key((params.deterministic, params.range_skew, retraining), [IMAGES, PARENT])
        state = TrainingState(checkpoint_path, key)
        network, history = retrain(retraining, parent, dataset, state, workers)
        scope = parameters_in_scope(parent.model, retraining.config.scope)

        if not workers.first:
            return
        checkpoint = QuantizedCheckpoint(
            name, network, parent.config, parent.classes, retraining.scheme, retraining.training.algorithms
        )
        write_quantized(checkpoint_path, checkpoint)
        learning = pd.DataFrame(history).assign(config=name)[["config", "epoch", "split", "loss", "top1"]]
        write_csv(Path(f"metrics/learning/{name}.csv"), learning)
        oscillation = oscillation_table(history)
        oscillation.insert(0, "config", name)
        write_csv(Path(f"metrics/oscillation/{name}.csv"), oscillation)
        write_json(
            Path(f"metrics/simulated/{name}.json"),
            {
                "validation_top1": round(history[-1]["top1"], 4),
                "parameters": sum(parameter.numel() for parameter in parent.model.parameters()),
                "params_retrained": count_parameters(parent.model, scope),
                "torch": torch.__version__,
            },
        )
        state.discard()
        print(f"{name}: simulated top-1 {history[-1]['top1']:.2f} % on the validation images")


if __name__ == "__main__":
    run(main)
