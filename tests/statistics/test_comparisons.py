"""Which networks are compared with which, and what becomes of it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from selectq.config.configs import (
    ActivationScheme,
    CalibrationConfig,
    PtqConfig,
    QatConfig,
    StatisticsConfig,
    WeightScheme,
)
from selectq.config.configurations import Configuration, list_configurations
from selectq.statistics.comparisons import contrast_table, find_full, method_table, paired_table, seed_table
from selectq.statistics.paired import holm
from selectq.statistics.predictions import Predictions, Right
from selectq.statistics.schemas import CONTRASTS, METHODS, PAIRED, SEEDS, with_written_p

SETTINGS = StatisticsConfig(
    confidence=0.95, margin_points=5.0, contrasts=("part - whole", "part - ptq", "part - part_w4")
)
Algorithms = tuple[str, ...]
CALIBRATION = CalibrationConfig("train", 128, "minmax", 99.99, 0.1)


def configuration(
    name: str, scope: str, *, bits: int = 8, coarse: bool = False, symmetric: bool = True, algorithms: Algorithms = ()
) -> Configuration:
    weights, activations = WeightScheme(bits, "tensor" if coarse else "channel"), ActivationScheme(8, symmetric)
    ptq: dict[str, PtqConfig] = {}
    qat: dict[str, QatConfig] = {}
    if scope == "none":
        ptq[name] = PtqConfig(weights, activations, CALIBRATION, algorithms)
    else:
        qat[name] = QatConfig((scope,), weights, activations, epochs=1, lr=0.1)
    (one,) = list_configurations(ptq, qat, algorithms)
    return one


PTQ = configuration("ptq", "none")
WHOLE = configuration("whole", "all")
PART = configuration("part", "depthwise")
PART_W4 = configuration("part_w4", "depthwise", bits=4)
RUN = [PTQ, WHOLE, PART, PART_W4]


def right(wrong: slice) -> Right:
    """Of 200 images, all right but some."""
    right = np.ones(200, dtype=bool)
    right[wrong] = False
    return right


OWN = {
    "fp32": right(slice(0, 20)),
    "ptq": right(slice(0, 100)),
    "whole": right(slice(10, 26)),
    "part": right(slice(0, 22)),
    "part_w4": right(slice(0, 20)),
}


@pytest.fixture(scope="module")
def paired() -> pd.DataFrame:
    return paired_table(OWN, RUN, SETTINGS)


def test_rows_are_of_all_against_fp32_and_of_the_selective_against_full(paired: pd.DataFrame) -> None:
    assert list(paired.columns) == list(PAIRED.columns)
    compared = list(zip(paired["config"], paired["reference"], strict=True))
    assert compared == [*((one.name, "fp32") for one in RUN), ("part", "whole")]


def test_counts_and_gaps(paired: pd.DataFrame) -> None:
    found = paired[["gap_points", "only_config_right", "only_reference_right"]].to_numpy().tolist()
    assert found == [[-40, 0, 80], [2, 10, 6], [-1, 0, 2], [0, 0, 0], [-3, 4, 10]]
    assert (paired["ci_low"] <= paired["gap_points"]).all() and (paired["ci_high"] >= paired["gap_points"]).all()
    assert list(paired["non_inferior"]) == [False, True, True, True, False]


def test_holm_is_over_the_rows_with_the_same_reference(paired: pd.DataFrame) -> None:
    for _, family in paired.groupby("reference"):
        assert list(family["holm_p"]) == holm(list(family["mcnemar_p"]))
    assert paired["holm_p"].iloc[-1] == paired["mcnemar_p"].iloc[-1], "a family of one"
    assert paired["holm_p"].iloc[0] == 4 * paired["mcnemar_p"].iloc[0]


def test_interval_does_not_depend_on_what_else_is_compared(paired: pd.DataFrame) -> None:
    alone = paired_table(OWN, [PART], SETTINGS)
    columns = ["ci_low", "ci_high", "mcnemar_p"]
    assert alone[columns].to_numpy().tolist() == paired[paired["config"] == "part"][:1][columns].to_numpy().tolist()


def test_small_p_values_are_not_written_as_0(paired: pd.DataFrame) -> None:
    written = with_written_p(paired)
    assert written["mcnemar_p"].iloc[0] == "1.654e-24"  # 2 / 2^80
    assert with_written_p(paired.assign(holm_p=None))["holm_p"].isna().all()


def test_full_is_found_by_its_scope_and_bit_widths() -> None:
    assert find_full(PART, RUN) == WHOLE
    assert find_full(PART_W4, RUN) is None
    assert find_full(WHOLE, RUN) is None and find_full(PTQ, RUN) is None


def test_full_is_found_behind_ptq_algorithms_too() -> None:
    whole, part = (configuration(name, name, algorithms=("equalize",)) for name in ("all", "depthwise"))
    assert find_full(part, [PTQ, part, whole]) == whole and find_full(whole, [whole, part]) is None


def test_of_several_the_scheme_with_most_in_common_is_taken() -> None:
    coarse = configuration("coarse", "all", coarse=True, symmetric=False)
    asymmetric, again = (configuration(name, "all", symmetric=False) for name in ("asymmetric", "again"))
    part = configuration("part", "depthwise", symmetric=False)
    assert find_full(part, [part, coarse, WHOLE, asymmetric, again]) == asymmetric
    assert find_full(PART, [coarse, asymmetric, WHOLE]) == WHOLE
    assert find_full(part, [coarse, WHOLE]) == coarse, "both have one thing in common: the first"


def test_seeds_are_the_unit() -> None:
    """Gaps to FP32 of -1, -3 and +1 points: mean -1, standard deviation 2, t of 2 degrees of freedom 4.303."""
    repeated = {"part": {7: right(slice(0, 26)), 4: right(slice(0, 18))}}
    predictions = Predictions(OWN, repeated)
    rows = seed_table(predictions, seed=3)
    assert list(rows.columns) == list(SEEDS.columns)
    assert rows.to_numpy().tolist() == [["part", 3, 89.0, -1.0], ["part", 7, 87.0, -3.0], ["part", 4, 91.0, 1.0]]

    methods = method_table(predictions, list(OWN)[1:], 3, 0.95).set_index("config")
    assert ["config", *methods.columns] == list(METHODS.columns)
    reach = 4.3027 * 2 / 3**0.5
    assert methods.loc["part"].to_list() == pytest.approx([3, 89.0, -1.0, -1 - reach, -1 + reach], abs=1e-3)
    assert methods.loc["whole"].to_list()[:3] == [1, 92.0, 2.0]
    assert methods.loc["whole", ["ci_low", "ci_high"]].isna().all()


def test_contrasts_over_images_and_over_the_seeds_that_both_have() -> None:
    repeated = {
        "part": {7: right(slice(0, 26)), 4: right(slice(0, 18))},
        "whole": {4: right(slice(0, 20)), 7: right(slice(0, 20))},
    }
    trained = ("whole", "part", "part_w4")
    contrasts = contrast_table(Predictions(OWN, repeated), trained, SETTINGS)
    assert list(contrasts.columns) == list(CONTRASTS.columns)
    assert list(contrasts["gap_points"]) == [-3, 39, -1], "of the pipeline's own seed"
    assert list(contrasts["holm_p"]) == holm(list(contrasts["mcnemar_p"]))
    assert list(contrasts["seed_count"]) == [3, 3, 1], "PTQ is the same for every seed; part_w4 was trained once"
    assert contrasts["seeds_gap_points"].to_list() == pytest.approx([(-3 - 3 + 1) / 3, (39 + 37 + 41) / 3, -1])
    reach = 4.3027 * np.std([-3, -3, 1], ddof=1) / 3**0.5
    assert contrasts["seeds_ci_low"].to_list() == pytest.approx(
        [-5 / 3 - reach, 39 - 4.3027 * 2 / 3**0.5, np.nan], 1e-3, nan_ok=True
    )


def test_nothing_asked_is_an_empty_table() -> None:
    asked = dataclasses.replace(SETTINGS, contrasts=())
    assert list(contrast_table(Predictions(OWN, {}), (), asked).columns) == list(CONTRASTS.columns)


def test_nothing_repeated_is_an_empty_table() -> None:
    assert list(seed_table(Predictions(OWN, {}), seed=0).columns) == list(SEEDS.columns)
    assert len(seed_table(Predictions(OWN, {}), seed=0)) == 0
