"""Parameters that count images, held to what the splits hold before anything is trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from selectq.config.configs import Params
from selectq.config.load import load_params
from selectq.data.packed import IMAGES, SPLITS
from selectq.errors import UserError

CALIBRATION_BATCH = 250
"""Images at a time in the audit, whose `statistics_batches` counts batches."""


Count = tuple[str, int, str]
"""A parameter, how many images it asks for, and the split that they come from."""


def load_checked_params(images: Path = IMAGES) -> Params:
    """The parameters, none of which asks for more images than a split of the packed file `images` holds.

    Raises:
        UserError: bad parameters; no packed file; or all such keys, with what they ask for and how many there are.
    """
    params = load_params()
    check_counts(params, split_sizes(images))
    return params


def split_sizes(path: Path) -> dict[str, int]:
    """The number of images in each split of a packed file, from its header alone.

    Raises:
        UserError: the file is missing, damaged or of another origin.
    """
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_slice(f"{name}.labels").get_shape()[0] for name in SPLITS}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: no packed images ({error}); run the download stage") from None


def check_counts(params: Params, sizes: Mapping[str, int]) -> None:
    """Hold every count to the size of its split.

    Raises:
        UserError: all keys that ask for too many, each with its value and the number of images there.
    """
    asked: dict[str, list[str]] = {}
    for key, images, split in dict.fromkeys(counted(params)):
        if images > sizes[split]:
            asked.setdefault(split, []).append(f"{key}: {images}")
    if asked:
        listed = [f"of {sizes[split]:,} {_NAMES[split]} images {', '.join(keys)}" for split, keys in asked.items()]
        raise UserError(f"more images are asked for than there are: {'; '.join(listed)}")


_NAMES = {"train": "training", "validation": "validation", "test": "test"}


def counted(params: Params) -> Iterator[Count]:
    """Every parameter that counts images of a split."""
    calibrations = {
        **{f"ptq.{name}": config.calibration for name, config in params.ptq.items()},
        "qat_training": params.qat_training.calibration,
        "audit": params.audit.calibration,
    }
    yield "finetune.batch_size", params.finetune.batch_size, "train"
    yield "qat_training.batch_size", params.qat_training.batch_size, "train"
    for key, calibration in calibrations.items():
        yield f"{key}.calibration.images", calibration.images, calibration.split
    sweep = params.calibration_sweep
    for name in sweep.names:
        for number, images in enumerate(sweep.images):
            yield f"calibration_sweep.images[{number}]", images, params.ptq[name].calibration.split
        for split in ("validation", "test"):
            yield "calibration_sweep.evaluation_images", sweep.evaluation_images, split
    yield "plan.score_images", params.plan.score_images, "train"
    yield from _of_the_audit(params)
    for key in ("images", "histogram_images", "cause_images"):
        yield f"drift.{key}", getattr(params.drift, key), "test"
    for key in ("images", "layer_images"):
        yield f"parity.{key}", getattr(params.parity, key), "test"


def _of_the_audit(params: Params) -> Iterator[Count]:
    audit, of_batches = params.audit, f", of {CALIBRATION_BATCH} images"
    yield "audit.images", audit.images, "test"
    for flaw, unit, size in (("calibration_images", "", 1), ("statistics_batches", of_batches, CALIBRATION_BATCH)):
        for number, setting in enumerate(getattr(audit.flaws, flaw)):
            yield f"audit.flaws.{flaw}[{number}]{unit}", setting * size, "train"
        for number, flaws in enumerate(audit.combined):
            yield f"audit.combined[{number}].{flaw}{unit}", flaws.get(flaw, 0) * size, "train"
