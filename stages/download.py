"""Fetch and check the images, split them, and pack them into one file of uint8 images and labels."""

from _src import stage

from pathlib import Path

from selectq.config.configs import Params
from selectq.config.load import load_params
from selectq.data.fetch import data_folders
from selectq.data.packed import write_dataset
from selectq.data.sources import load_dataset


@stage(load_params, writes="data/images.safetensors")
def main(params: Params, output: Path) -> None:
    write_dataset(output, load_dataset(params.data, data_folders()))
