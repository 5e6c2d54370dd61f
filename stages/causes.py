"""Split the error of every layer of a quantized network into where it comes from; writes a CSV."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

from selectq.data.augment import EVALUATION_BATCH, image_batches
from selectq.data.packed import read_dataset
from selectq.drift.causes import measure_causes
from selectq.files import only_writer, write_csv
from selectq.models.parent import read_parent
from selectq.params.load import choose, load_params
from selectq.progress import progress
from selectq.quantization.post_training import fold_parent
from selectq.quantization.quantized import read_quantized
from selectq.quantization.repairs.repaired import equivalent_parent
from selectq.stage import run
from selectq.training.device import choose_device

IMAGES = Path("data/images.safetensors")
PARENT = Path("models/fp32.safetensors")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration listed under convert in params.yaml")
    name: str = parser.parse_args().name
    params = load_params()
    choose(dict.fromkeys(params.convert), name, "convert")
    output = Path(f"metrics/causes/{name}.csv")
    with only_writer(output):
        device = choose_device()
        images = read_dataset(IMAGES).to(device).test.sample(params.drift.cause_images, params.seed)
        checkpoint = read_quantized(Path(f"models/quantized/{name}.safetensors"))
        original = read_parent(PARENT, params.range_skew, params.seed)
        parent = fold_parent(equivalent_parent(original, checkpoint.repairs), device)
        batches = progress(image_batches(images), -(-len(images) // EVALUATION_BATCH), f"{name}: causes")
        causes = measure_causes(parent, checkpoint.network.to(device), batches)
        causes.insert(0, "config", name)
        write_csv(output, causes, digits=8)


if __name__ == "__main__":
    run(main)
