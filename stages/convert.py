"""Convert a quantized network to integer programs, one file for each format."""

import _src  # noqa: F401

# isort: split
import argparse
from pathlib import Path

from selectq.data.packed import read_dataset
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.files import only_writer
from selectq.params.load import choose, load_params
from selectq.quantization.quantized import read_quantized
from selectq.stage import run

IMAGES = Path("data/images.safetensors")
PROGRAMS = Path("models/int8")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration listed under convert in params.yaml")
    name: str = parser.parse_args().name
    params = load_params()
    choose(dict.fromkeys(params.convert), name, "convert")
    folder = PROGRAMS / name
    with only_writer(folder):
        checkpoint = read_quantized(Path(f"models/quantized/{name}.safetensors"))
        manifest = describe_program(checkpoint, read_dataset(IMAGES).test.images.shape[-1])
        reference = to_reference(checkpoint.network)
        for ending in params.formats:
            path = folder / f"{name}.{ending}"
            write_program(path, reference, manifest)
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main)
