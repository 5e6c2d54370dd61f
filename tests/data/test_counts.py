"""Counts of images larger than a split: all of them in one line, by key, before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from selectq.config.configs import Params
from selectq.config.load import overlay, read_yaml, validate
from selectq.data.counts import check_counts, counted, load_checked_params, split_sizes
from selectq.data.packed import SPLITS, Dataset, Split, write_dataset
from selectq.errors import UserError

SIZES = {"train": 10_000, "validation": 2_000, "test": 5_000}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return read_yaml(Path(__file__).resolve().parents[2] / "params.yaml")


def changed(document: dict[str, Any], key: str, value: Any) -> Params:
    """The committed parameters with one other value."""
    layer: Any = value
    for name in reversed(key.split(".")):
        layer = {name: layer}
    return validate(overlay(document, layer), "p")


LARGE = {
    "finetune.batch_size": "train",
    "qat_training.batch_size": "train",
    "qat_training.calibration.images": "train",
    "ptq.channel.calibration.images": "train",
    "audit.images": "test",
    "audit.calibration.images": "train",
    "calibration_sweep.evaluation_images": "validation",
    "drift.images": "test",
    "drift.histogram_images": "test",
    "drift.cause_images": "test",
    "parity.images": "test",
    "parity.layer_images": "test",
}


@pytest.mark.parametrize("key", LARGE)
def test_count_larger_than_its_split_is_named(key: str, document: dict[str, Any]) -> None:
    size = SIZES[LARGE[key]]
    check_counts(changed(document, key, size), SIZES)
    with pytest.raises(UserError, match=rf": of {size:,} [a-z]+ images {key}: {size + 1}$"):
        check_counts(changed(document, key, size + 1), SIZES)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("calibration_sweep.images", [128, 10_001], "calibration_sweep.images[1]: 10001"),
        ("audit.flaws.calibration_images", [1, 10_001], "audit.flaws.calibration_images[1]: 10001"),
        ("audit.flaws.statistics_batches", [40, 41], "audit.flaws.statistics_batches[1], of 250 images: 10250"),
        ("audit.combined", [{"calibration_images": 10_001}], "audit.combined[0].calibration_images: 10001"),
        ("audit.combined", [{"statistics_batches": 41}], "audit.combined[0].statistics_batches, of 250 images: 10250"),
    ],
)
def test_count_in_a_list_is_named(key: str, value: Any, named: str, document: dict[str, Any]) -> None:
    with pytest.raises(UserError) as refusal:
        check_counts(changed(document, key, value), SIZES)
    assert str(refusal.value) == f"more images are asked for than there are: of 10,000 training images {named}"


def test_calibration_images_are_of_the_split_that_is_named(document: dict[str, Any]) -> None:
    params = changed(document, "ptq.channel.calibration", {"split": "validation", "images": 2_001})
    with pytest.raises(UserError, match=r"of 2,000 validation images ptq\.channel\.calibration\.images: 2001$"):
        check_counts(params, SIZES)


def test_all_are_named_at_once(document: dict[str, Any]) -> None:
    params = validate(document, "p")
    with pytest.raises(UserError) as refusal:
        check_counts(params, dict.fromkeys(SIZES, 0))
    assert "\n" not in str(refusal.value)
    for key, images, _ in counted(params):
        assert (f"{key}: {images}" in str(refusal.value)) == (images > 0)


def test_committed_counts_fit_the_digits(document: dict[str, Any]) -> None:
    test = document["data"]["digits"]["test_images"]
    validation = document["data"]["validation_images"]
    sizes = {"train": 1797 - test - validation, "validation": validation, "test": test}
    check_counts(validate(document, "p"), sizes)


def test_parameters_are_read_with_the_sizes_of_the_packed_file(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    splits = {
        name: Split(torch.zeros(count, 3, 1, 1, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64))
        for name, count in zip(SPLITS, (600, 200, 199), strict=True)
    }
    write_dataset(Path("images"), Dataset(**splits, classes=("a",), origin={}))
    assert split_sizes(Path("images")) == {"train": 600, "validation": 200, "test": 199}
    Path("params.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=r"of 199 test images .*drift\.images: 200"):
        load_checked_params(Path("images"))


def test_no_packed_file_is_told(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    for name in ("gone", "other"):
        with pytest.raises(UserError, match=r"no packed images \(.*\); run the download stage"):
            split_sizes(tmp_path / name)
