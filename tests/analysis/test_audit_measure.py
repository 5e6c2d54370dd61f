"""The audit: which trials there are, on which images, and what a row says."""

import dataclasses

import pytest
import torch
from small_networks import calibration, coloured_dataset, coloured_noise, committed_params, same_tensors, trained

from selectq.analysis.audit import audit, list_trials, spread_and_mixed
from selectq.analysis.flaws import FLAWS
from selectq.config.configs import AuditConfig, AuditFlaws
from selectq.data.normalization import INTEGER_GRID
from selectq.data.packed import Split
from selectq.errors import UserError

COMMITTED = committed_params().audit


def config(**settings: tuple[object, ...]) -> AuditConfig:
    nothing: dict[str, tuple[object, ...]] = dict.fromkeys(FLAWS, ())
    combined = ({"inference_pixels": "unit", "fusion": "none"},)
    return dataclasses.replace(
        COMMITTED,
        images=8,
        calibration=calibration(),
        flaws=AuditFlaws(**{**nothing, **settings}),  # type: ignore[arg-type]
        combined=combined,
    )


def test_sound_setup_then_each_alone_then_together() -> None:
    assert list_trials(config(range_skew=(0.5, 1.0), fusion=("none",))) == [
        {},
        {"fusion": "none"},
        {"range_skew": 0.5},
        {"range_skew": 1.0},
        {"inference_pixels": "unit", "fusion": "none"},
    ]


def test_rows_say_what_was_tried_and_what_came_out() -> None:
    fp32, dataset = trained(width_mult=1.0), coloured_dataset()
    found = audit(fp32.model, dataset, config(range_skew=(3.0,)), seed=0)
    assert list(found["flaw"]) == [*["none"] * 2, *["range_skew"] * 2, *["inference_pixels + fusion"] * 2]
    assert list(found["setting"]) == [*[""] * 2, *["3.0"] * 2, *["unit + none"] * 2]
    assert list(found["granularity"]) == ["tensor", "channel"] * 3
    assert set(found["images"]) == {8} and set(found["classes"]) == {3}
    chosen, rows = spread_and_mixed(dataset.test, 8, 0), found.set_index(["flaw", "granularity"])
    expected = 100 * (fp32.model(INTEGER_GRID(chosen.images)).argmax(1) == chosen.labels).double().mean().item()
    assert rows.loc[("none", "channel"), "float_top1"] == rows.loc[("range_skew", "channel"), "float_top1"] == expected
    drifts = [rows.loc[(flaw, "tensor"), "drift_last"] for flaw in ("none", "inference_pixels + fusion", "range_skew")]
    assert 0 < drifts[0] < 0.1 < drifts[1] < drifts[2] < 1.5
    sound, unit = (fp32.model.features(pixels) for pixels in (INTEGER_GRID(chosen.images), chosen.images / 255))
    assert drifts[1] == pytest.approx(((unit - sound).norm() / sound.norm()).item(), abs=0.1), "rounding adds little"
    assert same_tensors(fp32.model, trained(width_mult=1.0).model)


def test_images_are_of_all_labels_in_random_order() -> None:
    images = coloured_noise(90, 0)
    order = images.labels.argsort(stable=True)
    sorted_images = Split(images.images[order], images.labels[order])
    one, same, other = (spread_and_mixed(sorted_images, 30, seed) for seed in (0, 0, 1))
    assert one.labels.bincount().tolist() == [10, 10, 10]
    assert len(one.labels[:10].unique()) == 3
    assert torch.equal(one.images, same.images) and not torch.equal(one.images, other.images)


def test_more_images_than_there_are() -> None:
    with pytest.raises(UserError, match=r"audit\.images: 13 images are asked for; allowed: up to 12"):
        spread_and_mixed(coloured_noise(12, 0), 13, seed=0)
