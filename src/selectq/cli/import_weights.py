"""`selectq import-weights`: another framework's ImageNet weights as a checkpoint that `model.weights` can name."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selectq.config.load import PARAMS_FILE, load_params
from selectq.data.packed import read_dataset
from selectq.errors import UserError
from selectq.files import sha256, write_tensors
from selectq.networks.build import build_network
from selectq.study import Study, reproduced

IMAGES = Path("data/images.safetensors")
STATISTICS_IMAGES = 512
SUFFIX = ".safetensors"


def run_import_weights(checkout: Path, source: Path, *, out: Path, profile: str | None = None) -> None:
    """Write the weights of a TFLite file for the network of the parameters, and print the lines that use them.

    Args:
        checkout: of whose parameters the network is, and of whose training images the statistics are.
        source (FILE): TensorFlow's 8-bit MobileNetV2, a .tflite
        out (FILE): a .safetensors file to write
        profile (NAME): for the network and the images of a profile

    Raises:
        UserError: bad parameters, a file that is not that network, no images yet, or the extra is not installed.
    """
    if out.suffix != SUFFIX:
        raise UserError(f"--out: {out} does not end in {SUFFIX}")
    try:
        from selectq.quantization.tflite_weights import read_folded, unfold  # noqa: PLC0415  # an optional extra
    except ImportError:
        raise UserError("import-weights needs the reader of TFLite files; install selectq[weights]") from None
    folded = read_folded(source)
    with _inputs(checkout, profile) as folder:
        model = dataclasses.replace(load_params(folder / PARAMS_FILE).model, activation="as_is")
        images = read_dataset(folder / IMAGES).train.images[:STATISTICS_IMAGES]
        state = unfold(build_network(model, 1), folded, images)
    write_tensors(out, state, {"source": source.name, "source_sha256": sha256(source)})
    print(f"model:\n  weights: {out.name}\n  weights_sha256: {sha256(out)}\n  new_classifier: true")


@contextmanager
def _inputs(checkout: Path, profile: str | None) -> Iterator[Path]:
    """Where parameters and images are: in the checkout, or in a profile's workspace after its download."""
    if profile is None:
        yield checkout
        return
    study = Study(checkout, profile)
    with reproduced(study, ("download",)):
        yield study.workspace
