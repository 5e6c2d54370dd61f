"""Retrain a configuration from another seed; writes the simulated logits, which are those of its integer program."""

from _src import stage

from pathlib import Path

from selectq.config.configs import Params
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evaluate import predict_logits, top1
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_tensors
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.training.parallel import training_workers
from selectq.training.qat import Retraining, retrain
from selectq.training.resume import TrainingState, run_key


@stage(load_checked_params, writes="models/logits/repeats/{name}-{seed}.safetensors", names="qat")
def main(params: Params, output: Path, name: str, seed: int) -> None:
    retraining = Retraining(params.qat[name], params.qat_training, seed)
    device = choose_device(params.deterministic)
    with training_workers(device) as workers:
        fp32 = read_skewed(FP32, params.range_skew, params.seed)
        dataset = read_dataset(IMAGES).to(device).normalised(fp32.normalization)
        state = TrainingState(output, run_key((params.deterministic, params.range_skew, retraining), [IMAGES, FP32]))
        network, _ = retrain(retraining, fp32, dataset, state, workers)

        if workers.first:
            logits = predict_logits(quantized_forward(network, device), dataset.test, "test")
            write_tensors(output, {"logits": logits}, {"config": name, "seed": seed, "split": "test"})
            state.discard()
            print(f"{name}, seed {seed}: top-1 {top1(logits, dataset.test.labels):.2f} % on the test images")
