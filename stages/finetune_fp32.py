"""Train the FP32 network, or take a trained one; writes its checkpoint, logits, accuracy and learning curve."""

from _src import stage

from pathlib import Path

import torch

from selectq.config.configs import Params
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evaluate import evaluate, predict_logits, top1
from selectq.data.fetch import data_folders
from selectq.data.normalization import Normalization
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv, write_json, write_tensors
from selectq.networks.build import build_network, check_logits
from selectq.networks.checkpoint import Fp32Checkpoint, write_fp32
from selectq.networks.weights import load_weights
from selectq.training.finetune import finetune
from selectq.training.parallel import training_workers
from selectq.training.resume import TrainingState, learning_curve, run_key


@stage(load_checked_params, writes="models/fp32.safetensors")
def main(params: Params, output: Path) -> None:
    device = choose_device(params.deterministic)
    with training_workers(device) as workers:
        dataset = read_dataset(IMAGES).to(device).normalised(Normalization.of(params.model.normalization))
        classes = len(dataset.classes)
        torch.manual_seed(params.seed)
        model = build_network(params.model, classes)
        check_logits(model, params.model, dataset.train.images.shape[-1], classes)
        load_weights(model, params.model, classes, data_folders())
        model.to(device, memory_format=torch.channels_last)
        key = run_key((params.seed, params.deterministic, params.model, params.finetune), [IMAGES])
        state = TrainingState(output, key)
        if params.model.is_trained:
            history = [{"epoch": 0, "split": "validation", **evaluate(model.eval(), dataset.validation, "validation")}]
        else:
            history = finetune(model, dataset, params.finetune, params.seed, state, workers=workers)

        if not workers.first:
            return
        logits = predict_logits(model, dataset.test, "test")
        write_fp32(output, Fp32Checkpoint(model, params.model, dataset.classes))
        write_tensors(Path("models/logits/fp32.safetensors"), {"logits": logits}, {"config": "fp32", "split": "test"})
        write_csv(Path("metrics/learning/fp32.csv"), learning_curve("fp32", history))
        metrics = {
            "validation_top1": round(history[-1]["top1"], 4),
            "test_top1": round(top1(logits, dataset.test.labels), 4),
            "test_images": len(dataset.test),
            "data": f"{dataset.origin['name']} {dataset.origin['source']}",
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "size_bytes": output.stat().st_size,
            "torch": torch.__version__,
        }
        write_json(Path("metrics/fp32.json"), metrics)
        state.discard()
        print(
            f"fp32: top-1 {metrics['validation_top1']:.2f} % on the validation images, {metrics['test_top1']:.2f} % on"
            f" {len(dataset.test)} test images{', as loaded' if params.model.is_trained else ''}"
        )
