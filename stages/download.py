"""Fetch and check the images, split them, and pack them into one file of uint8 images and labels."""

import _src  # noqa: F401

# isort: split

from pathlib import Path

from selectq.data.fetch import data_folders
from selectq.data.packed import write_dataset
from selectq.data.sources import load_dataset
from selectq.files import only_writer
from selectq.params.load import load_params
from selectq.stage import run

OUTPUT = Path("data/images.safetensors")


def main() -> None:
    """Write the packed data set that `params.yaml` asks for."""
    config = load_params().data
    folders = data_folders()
    with only_writer(OUTPUT):
        write_dataset(OUTPUT, load_dataset(config, folders))


if __name__ == "__main__":
    run(main)
