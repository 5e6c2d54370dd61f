"""Retrain a configuration from another seed; writes the simulated logits, which are those of its integer program."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

from selectq.data.counts import load_checked_params
from selectq.data.packed import read_dataset
from selectq.files import write_tensors
from selectq.networks.parent import read_parent
from selectq.params.load import choose
from selectq.stage import run
from selectq.training.device import choose_device
from selectq.training.evaluate import predict_logits, top1
from selectq.training.parallel import training_workers
from selectq.training.qat import Retraining, retrain
from selectq.training.resume import TrainingState, run_key
from selectq.training.simulation import quantized_forward

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration under qat in params.yaml")
    parser.add_argument("--seed", required=True, type=int, help="of this training; the parent is the pipeline's own")
    arguments = parser.parse_args()
    name: str = arguments.name
    params = load_checked_params(IMAGES)
    retraining = Retraining(choose(params.qat, name, "qat"), params.qat_training, arguments.seed)
    output = Path(f"models/logits/repeats/{name}-{retraining.seed}.safetensors")
    device = choose_device(params.deterministic)
    with training_workers(device) as workers, workers.only_writer(output):
        parent = read_parent(PARENT, params.range_skew, params.seed)
        dataset = read_dataset(IMAGES).to(device).normalised(parent.normalization)
        state = TrainingState(output, run_key((params.deterministic, params.range_skew, retraining), [IMAGES, PARENT]))
        network, _ = retrain(retraining, parent, dataset, state, workers)

        if not workers.first:
            return
        logits = predict_logits(quantized_forward(network, device), dataset.test, "test")
        write_tensors(output, {"logits": logits}, {"config": name, "seed": retraining.seed, "split": "test"})
        state.discard()
        print(f"{name}, seed {retraining.seed}: top-1 {top1(logits, dataset.test.labels):.2f} % on the test images")


if __name__ == "__main__":
    run(main)
