"""Retrain the layers in scope under fake quantization; writes the checkpoint, accuracy, learning curve, oscillation."""

from _src import stage

from pathlib import Path

from selectq.config.configs import Params
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv, write_json
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.ptq.metrics import simulated_metrics
from selectq.quantization.quantized import QuantizedCheckpoint, write_quantized
from selectq.quantization.scopes import count_parameters, parameters_in_scope
from selectq.training.oscillation import oscillation_table
from selectq.training.parallel import training_workers
from selectq.training.qat import Retraining, retrain
from selectq.training.resume import TrainingState, learning_curve, run_key


@stage(load_checked_params, writes="models/quantized/{name}.safetensors", names="qat")
def main(params: Params, output: Path, name: str) -> None:
    retraining = Retraining(params.qat[name], params.qat_training, params.seed)
    device = choose_device(params.deterministic)
    with training_workers(device) as workers:
        fp32 = read_skewed(FP32, params.range_skew, params.seed)
        dataset = read_dataset(IMAGES).to(device).normalised(fp32.normalization)
        state = TrainingState(output, run_key((params.deterministic, params.range_skew, retraining), [IMAGES, FP32]))
        network, history = retrain(retraining, fp32, dataset, state, workers)

        if not workers.first:
            return
        algorithms = retraining.training.algorithm_names
        write_quantized(
            output, QuantizedCheckpoint(name, network, fp32.config, fp32.classes, retraining.scheme, algorithms)
        )
        write_csv(Path(f"metrics/learning/{name}.csv"), learning_curve(name, history))
        oscillation = oscillation_table(history)
        oscillation.insert(0, "config", name)
        write_csv(Path(f"metrics/oscillation/{name}.csv"), oscillation)
        top1 = history[-1]["top1"]
        learnt = count_parameters(fp32.model, parameters_in_scope(fp32.model, retraining.config.scope))
        metrics = simulated_metrics(fp32, algorithms, top1, learnt)
        write_json(Path(f"metrics/simulated/{name}.json"), metrics)
        state.discard()
        print(f"{name}: simulated top-1 {top1:.2f} % on the validation images")
