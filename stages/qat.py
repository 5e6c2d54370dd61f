"""Retrain the layers in scope under fake quantization; writes the checkpoint, its accuracy and learning curve."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

import pandas as pd

from selectq.data.packed import read_dataset
from selectq.files import write_csv, write_json
from selectq.models.parent import read_parent
from selectq.params.load import choose, load_params
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, write_quantized
from selectq.quantization.scopes import count_parameters, freeze_outside, parameters_in_scope, quantizers_in_scope
from selectq.stage import run
from selectq.training.device import choose_device
from selectq.training.loop import Plan, fit
from selectq.training.parallel import training_workers
from selectq.training.qat import RangeFollower, batches_and_forward, build_optimizer
from selectq.training.resume import TrainingState, run_key
from selectq.training.schedules import qat_schedule
from selectq.training.simulation import quantized_forward

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration under qat in params.yaml")
    name: str = parser.parse_args().name
    params = load_params()
    config, training = choose(params.qat, name, "qat"), params.qat_training
    checkpoint_path = Path(f"models/quantized/{name}.safetensors")
    device = choose_device(params.deterministic)
    with training_workers(device) as workers, workers.only_writer(checkpoint_path):
        dataset = read_dataset(IMAGES).to(device)
        parent = read_parent(PARENT, params.range_skew, params.seed)
        scope = parameters_in_scope(parent.model, config.scope)
        scheme = Scheme(config.weights, config.activations)
        network = quantize(parent, dataset, training.calibration, scheme, params.seed)
        optimizer = build_optimizer(freeze_outside(network, scope), config, training)
        batches, forward = batches_and_forward(network, dataset.train, config, training, params.seed, workers=workers)
        follower = RangeFollower(quantizers_in_scope(network), training, workers)
        schedule, predict = qat_schedule(config, training), quantized_forward(network, device)
        plan = Plan(config.epochs, batches, forward, predict, schedule, params.seed, follower, workers)
        key = run_key((params.seed, params.deterministic, params.range_skew, training, config), [IMAGES, PARENT])
        state = TrainingState(checkpoint_path, key)
        history = fit(network, optimizer, dataset, plan, state)

        if not workers.first:
            return
        write_quantized(checkpoint_path, QuantizedCheckpoint(name, network, parent.config, parent.classes, scheme))
        learning = pd.DataFrame(history).assign(config=name)[["config", "epoch", "split", "loss", "top1"]]
        write_csv(Path(f"metrics/learning/{name}.csv"), learning)
        write_json(
            Path(f"metrics/simulated/{name}.json"),
            {
                "validation_top1": round(history[-1]["top1"], 4),
                "parameters": sum(parameter.numel() for parameter in parent.model.parameters()),
                "params_retrained": count_parameters(parent.model, scope),
            },
        )
        state.discard()
        print(f"{name}: simulated top-1 {history[-1]['top1']:.2f} % on the validation images")


if __name__ == "__main__":
    run(main)
