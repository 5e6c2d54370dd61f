"""Score every layer: what it loses quantized, and what retraining it may win, without retraining it."""

from _src import stage

from pathlib import Path

from selectq.config.configs import Params
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.packed import IMAGES, read_dataset
from selectq.files import write_csv
from selectq.networks.checkpoint import FP32
from selectq.networks.range_skew import read_skewed
from selectq.ptq.pipeline import equivalent_fp32
from selectq.quantization.post_training import fold_fp32
from selectq.quantization.quantized import read_quantized
from selectq.selection.sensitivity import retraining_scores


@stage(load_checked_params, writes="metrics/sensitivity.csv")
def main(params: Params, output: Path) -> None:
    device, plan = choose_device(), params.plan
    fp32 = read_skewed(FP32, params.range_skew, params.seed)
    images = read_dataset(IMAGES).to(device).normalised(fp32.normalization).train
    start = read_quantized(Path(f"models/quantized/{plan.start}.safetensors"))
    network = fold_fp32(equivalent_fp32(fp32, start.algorithms), device)
    sample = images.sample(plan.score_images, params.seed)
    scores = retraining_scores(network, start.network.to(device), sample, params.seed)
    write_csv(output, scores, digits=12)
    print(f"{plan.start}: {len(scores)} layers scored; the most to win: {scores.loc[scores['gain'].idxmax(), 'layer']}")
