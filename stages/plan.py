"""Find the cheapest treatment that is enough on the validation images; writes the plan, and what is to be done."""

from _src import stage

from itertools import chain
from pathlib import Path

from selectq.config.configs import Params
from selectq.config.planned import PLANNED
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evaluate import predict_logits
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_json
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.quantization.post_training import fold_fp32
from selectq.quantization.quantized import read_quantized
from selectq.selection.ladder import Retrainer, climb, untrained_rungs
from selectq.selection.plan import Plan
from selectq.selection.retraining import alone_pct, require_layers
from selectq.selection.trial import Trial
from selectq.stale import drop_others
from selectq.statistics.schemas import RIGHT, SENSITIVITY

VALIDATION = Path("metrics/validation")


@stage(load_checked_params, writes="results/plan.json")
def main(params: Params, output: Path) -> None:
    goal, confidence, device = params.plan, params.statistics.confidence, choose_device(params.deterministic)
    drop_others(VALIDATION, params.ptq)
    right = RIGHT.gather(VALIDATION, ".csv", goal.ptq)
    scores = SENSITIVITY.read(Path("metrics/sensitivity.csv"))
    fp32 = read_skewed(FP32, params.range_skew, params.seed)
    require_layers(alone_pct(fp32.model, fp32.graph, scores, goal.cost), goal.budgets_pct, goal.cost)
    dataset = read_dataset(IMAGES).to(device).normalised(fp32.normalization)
    goal.require_images(len(dataset.validation), confidence)
    logits = predict_logits(fold_fp32(fp32, device), dataset.validation, "FP32 validation")
    trial = Trial(fp32, dataset, logits, params.seed, confidence)

    start = read_quantized(Path(f"models/quantized/{goal.start}.safetensors")).network.to(device)
    untrained = untrained_rungs(trial, {name: params.ptq[name] for name in goal.ptq}, right, {goal.start: start})
    retrainer = Retrainer(trial, goal, params.qat_training)
    retrained = retrainer.rungs(untrained[goal.start], scores)
    climbed = climb(chain(untrained.values(), retrained), goal, lambda rung: print(f"{rung.name}: {rung.gap_text}"))
    plan = Plan(trial, goal, climbed, untrained[goal.start], scores)
    write_json(output, plan.to_json())
    write_json(PLANNED, plan.planned.entries())
    print(plan.reason)
