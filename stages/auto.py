"""Do what the plan says: quantize, and retrain the layers that it names, where it names any; writes what `qat` does."""

from _src import stage

from pathlib import Path

from selectq.config.configs import AUTO, Params
from selectq.config.planned import PLANNED, read_planned
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evaluate import evaluate
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv, write_json
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.ptq.metrics import simulated_metrics
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, write_quantized
from selectq.quantization.scopes import count_parameters, parameters_in_scope
from selectq.training.oscillation import oscillation_table
from selectq.training.parallel import training_workers
from selectq.training.qat import carry_out
from selectq.training.resume import TrainingState, learning_curve, run_key


@stage(load_checked_params, writes="models/quantized/auto.safetensors")
def main(params: Params, output: Path) -> None:
    planned, device = read_planned(), choose_device(params.deterministic)
    with training_workers(device) as workers:
        fp32 = read_skewed(FP32, params.range_skew, params.seed)
        dataset = read_dataset(IMAGES).to(device).normalised(fp32.normalization)
        decisive = params.deterministic, params.range_skew, params.seed
        state = TrainingState(output, run_key(decisive, [IMAGES, FP32, PLANNED]))
        network, history = carry_out(planned, fp32, dataset, params.seed, state, workers=workers)

        if not workers.first:
            return
        algorithms, scheme = planned.algorithm_names, Scheme(planned.config.weights, planned.config.activations)
        write_quantized(output, QuantizedCheckpoint(AUTO, network, fp32.config, fp32.classes, scheme, algorithms))
        write_csv(Path(f"metrics/learning/{AUTO}.csv"), learning_curve(AUTO, history))
        oscillation = oscillation_table(history)
        oscillation.insert(0, "config", AUTO)
        write_csv(Path(f"metrics/oscillation/{AUTO}.csv"), oscillation)
        top1 = evaluate(quantized_forward(network, device), dataset.validation, f"{AUTO} validation")["top1"]
        learnt = count_parameters(fp32.model, parameters_in_scope(fp32.model, planned.scope))
        write_json(Path(f"metrics/simulated/{AUTO}.json"), simulated_metrics(fp32, algorithms, top1, learnt))
        state.discard()
        print(f"{AUTO}: simulated top-1 {top1:.2f} % on the validation images")
