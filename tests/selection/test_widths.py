"""The curve of mixed widths: sizes as stored, random choices of equal size, and choices that no test image decides."""

import dataclasses
import json
import random
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from small_networks import calibration, coloured_dataset, coloured_noise, trained

from selectq.config.configs import ActivationScheme, PtqConfig, WeightScheme
from selectq.data.evaluate import evaluate
from selectq.data.packed import Dataset
from selectq.errors import UserError
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.network import Network
from selectq.quantization.post_training import fold_fp32
from selectq.selection.allocation import Option
from selectq.selection.widths import CHOSEN, TOLERANCE, Curve, measure_curve, random_widths, stored_bytes

CURVE = Curve(8, 3, ActivationScheme(8, symmetric=False), steps=3, draws=2, seed=0)
DATASET = coloured_dataset(validation=24, test=24)


def float_network() -> Network:
    return fold_fp32(trained(width_mult=1.0), torch.device("cpu"))


def measured(dataset: Dataset = DATASET, **changes: Any) -> pd.DataFrame:
    return measure_curve(float_network(), dataset, calibration(), dataclasses.replace(CURVE, **changes))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return measured()


@pytest.mark.parametrize(("bits", "size"), [(2, 3), (3, 3), (4, 3), (5, 5), (8, 5)], ids=lambda value: f"{value}")
def test_up_to_four_bits_are_stored_two_in_a_byte(bits: int, size: int) -> None:
    assert stored_bytes(5, bits) == size


def test_sizes_go_evenly_from_all_wide_to_all_narrow(table: pd.DataFrame) -> None:
    chosen = table[table.choice == CHOSEN].set_index("step")
    weights = [layer.weight.numel() for layer in float_network().layers()]
    biases = sum(layer.bias.numel() for layer in float_network().layers())
    ends = [(sum(weights) + 4 * biases) / 1e6, (sum(-(-count // 2) for count in weights) + 4 * biases) / 1e6]
    assert chosen.size_mb[[0, 3]].tolist() == pytest.approx(ends)
    for step in (1, 2):
        budget = ends[0] - (ends[0] - ends[1]) * step / 3
        assert budget - 0.01 * ends[0] < chosen.size_mb[step] <= budget
    assert chosen.predicted_loss.is_monotonic_increasing and chosen.predicted_loss.is_unique
    assert json.loads(chosen.bits[0]) == {"all": 8}
    assert json.loads(chosen.bits[3]) == {"all": 8, **{layer.name: 3 for layer in float_network().layers()}}


def test_random_choices_are_as_large_and_predicted_to_lose_more(table: pd.DataFrame) -> None:
    ends = table[table.step.isin([0, 3])].size_mb
    for step in (1, 2):
        rows = table[table.step == step]
        assert rows.choice.tolist() == [CHOSEN, "random1", "random2"] and rows.bits.is_unique
        saved = ends.max() - rows.size_mb
        wanted = (ends.max() - ends.min()) * step / 3
        assert saved.between(wanted - 1e-6, wanted * (1 + TOLERANCE)).all()
        assert (rows.predicted_loss.iloc[1:] > rows.predicted_loss.iloc[0]).all()
    assert set(table[table.step.isin([0, 3])].choice) == {CHOSEN}, "there is only one choice at the ends"


def test_written_bits_are_those_of_a_configuration(table: pd.DataFrame) -> None:
    """What a row says of itself gives, as `weights.bits` of a PTQ entry, the accuracy that it names."""
    for _, row in table[table.step > 0].iterrows():
        weights = WeightScheme(json.loads(row.bits), "channel")
        config = PtqConfig(weights, CURVE.activations, calibration(), ())
        network = ptq_pipeline(trained(width_mult=1.0), DATASET, config, CURVE.seed)
        assert evaluate(network, DATASET.validation, "again")["top1"] == pytest.approx(row.validation_top1)
        assert evaluate(network, DATASET.test, "again")["top1"] == pytest.approx(row.test_top1)


def test_measured_loss_grows_from_end_to_end(table: pd.DataFrame) -> None:
    loss = table[table.choice == CHOSEN].validation_loss
    assert 0 < loss.iloc[0] < loss.iloc[-1]


def test_test_images_decide_nothing(table: pd.DataFrame) -> None:
    others = dataclasses.replace(DATASET, test=coloured_noise(24, seed=77))
    again = measured(dataclasses.replace(others, test=dataclasses.replace(others.test, labels=others.test.labels * 0)))
    pd.testing.assert_frame_equal(table.drop(columns="test_top1"), again.drop(columns="test_top1"), check_exact=True)
    assert (table.test_top1 != again.test_top1).any()


def test_same_seed_same_table(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(table, measured(), check_exact=True)
    other = measured(seed=1)
    drawn = table.choice != CHOSEN
    assert (table[drawn].bits != other[drawn].bits).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wide": 9}, r"bits\.all: 9 is out of range; allowed: 2 to 8"),
        ({"narrow": 1}, r"bits\.\S+: 1 is out of range; allowed: 2 to 8"),
    ],
)
def test_bits_out_of_range_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        measured(**changes)


def two_layers(large: int, small: int) -> dict[str, list[Option[int]]]:
    return {
        name: [Option(8, 0.0, {"size": size}), Option(4, 1.0, {"size": size / 2})]
        for name, size in (("large", large), ("small", small))
    }


def draw(budget: float) -> Callable[[], dict[str, int]]:
    generator = random.Random(0)
    return lambda: random_widths(two_layers(1000, 100), budget, generator)


def test_random_choice_passes_over_what_does_not_fit() -> None:
    assert {tuple(draw(1050)().values()) for _ in range(20)} == {(8, 4)}


def test_size_that_no_set_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"^--steps: too few random sets of layers come within 1% of 250 bytes saved$"):
        draw(850)()
