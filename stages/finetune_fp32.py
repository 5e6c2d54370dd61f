"""Train the FP32 network, or take a trained one; writes its checkpoint, logits, accuracy and learning curve."""

import _src  # noqa: F401

# isort: split
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from selectq.data.counts import load_checked_params
from selectq.data.fetch import data_folders
from selectq.data.normalization import Normalization
from selectq.data.packed import Dataset, read_dataset
from selectq.files import write_csv, write_json, write_tensors
from selectq.networks.build import build_network, check_logits
from selectq.networks.checkpoint import Fp32Checkpoint, write_fp32
from selectq.networks.weights import load_weights
from selectq.params.configs import FinetuneConfig
from selectq.stage import run
from selectq.training.batches import AugmentedImages
from selectq.training.device import choose_device
from selectq.training.evaluate import evaluate, predict_logits, top1
from selectq.training.finetune import finetune_forward, finetune_optimizer
from selectq.training.loop import Plan, fit
from selectq.training.parallel import Workers, training_workers
from selectq.training.resume import Row, TrainingState, run_key
from selectq.training.schedules import finetune_schedule

IMAGES = Path("data/images.safetensors")
CHECKPOINT = Path("models/fp32.safetensors")
LOGITS = Path("models/logits/fp32.safetensors")
METRICS = Path("metrics/fp32.json")
LEARNING = Path("metrics/learning/fp32.csv")


def main() -> None:
    """Run the stage."""
    params = load_checked_params(IMAGES)
    device = choose_device(params.deterministic)
    with training_workers(device) as workers, workers.only_writer(CHECKPOINT):
        dataset = read_dataset(IMAGES).to(device).normalised(Normalization.of(params.model.normalization))
        classes = len(dataset.classes)
        torch.manual_seed(params.seed)
        model = build_network(params.model, classes)
        check_logits(model, params.model, dataset.train.images.shape[-1], classes)
        load_weights(model, params.model, classes, data_folders())
        model.to(device, memory_format=torch.channels_last)
        state = TrainingState(
            CHECKPOINT, run_key((params.seed, params.deterministic, params.model, params.finetune), [IMAGES])
        )
        if params.model.is_trained:
            history = [{"epoch": 0, "split": "validation", **evaluate(model.eval(), dataset.validation, "validation")}]
        else:
            history = train(model, dataset, params.finetune, params.seed, state, workers=workers)

        if not workers.first:
            return
        logits = predict_logits(model, dataset.test, "test")
        write_fp32(CHECKPOINT, Fp32Checkpoint(model, params.model, dataset.classes))
        write_tensors(LOGITS, {"logits": logits}, {"config": "fp32", "split": "test"})
        write_csv(LEARNING, pd.DataFrame(history).assign(config="fp32")[["config", "epoch", "split", "loss", "top1"]])
        metrics = {
            "validation_top1": round(history[-1]["top1"], 4),
            "test_top1": round(top1(logits, dataset.test.labels), 4),
            "test_images": len(dataset.test),
            "data": f"{dataset.origin['name']} {dataset.origin['source']}",
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "size_bytes": CHECKPOINT.stat().st_size,
            "torch": torch.__version__,
        }
        write_json(METRICS, metrics)
        state.discard()
        print(
            f"fp32: top-1 {metrics['validation_top1']:.2f} % on the validation images, {metrics['test_top1']:.2f} % on"
            f" {len(dataset.test)} test images{', as loaded' if params.model.is_trained else ''}"
        )


def train(
    model: nn.Module, dataset: Dataset, config: FinetuneConfig, seed: int, state: TrainingState, *, workers: Workers
) -> list[Row]:
    """Train the network in place; a row for each epoch and split."""
    device = dataset.train.device
    optimizer = finetune_optimizer(model, config)
    batches = AugmentedImages(dataset.train, config.batch_size, config.augment, workers)
    forward = finetune_forward(model, device, config, workers)
    schedule = finetune_schedule(config)
    plan = Plan(config.epochs, batches, forward, model, schedule, seed, config.label_smoothing, workers=workers)
    return fit(model, optimizer, dataset, plan, state)


if __name__ == "__main__":
    run(main)
