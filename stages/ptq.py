"""Quantize the FP32 network after training; writes the checkpoint, and what it is right about in validation."""

from _src import stage

from pathlib import Path

import pandas as pd

from selectq.config.algorithms import RELU6_AS_RELU
from selectq.config.configs import Params
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evaluate import predict_logits, right_of
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv, write_json
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.ptq.metrics import relu6_metrics, simulated_metrics
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, write_quantized


@stage(load_checked_params, writes="models/quantized/{name}.safetensors", names="ptq")
def main(params: Params, output: Path, name: str) -> None:
    config, device = params.ptq[name], choose_device()
    fp32 = read_skewed(FP32, params.range_skew, params.seed)
    dataset = read_dataset(IMAGES).to(device).normalised(fp32.normalization)
    network = ptq_pipeline(fp32, dataset, config, params.seed)
    logits = predict_logits(quantized_forward(network, device), dataset.validation, f"{name} validation")
    right = right_of(logits.numpy(), dataset.validation.labels)
    top1 = 100 * float(right.mean())
    metrics = simulated_metrics(fp32, config.algorithm_names, top1, retrained=0)
    if RELU6_AS_RELU in config.algorithm_names:
        metrics |= relu6_metrics(fp32, dataset.validation)
        print(f"{name}: ReLU for ReLU6 costs {metrics['fp32_relu6_as_relu_cost']} points of the FP32 network")
    scheme = Scheme(config.weights, config.activations)
    checkpoint = QuantizedCheckpoint(name, network, fp32.config, fp32.classes, scheme, config.algorithm_names)
    write_quantized(output, checkpoint)
    write_json(Path(f"metrics/simulated/{name}.json"), metrics)
    rows = pd.DataFrame({"config": name, "image": range(len(right)), "right": right.astype(int)})
    write_csv(Path(f"metrics/validation/{name}.csv"), rows)
    print(f"{name}: simulated top-1 {top1:.2f} % on the validation images")
