"""Each question on a small run that was made up, and the rows that it takes from it."""

from dataclasses import replace

import pandas as pd
import pytest

from selectq.claims.questions import (
    Accuracy,
    DriftEnds,
    DriftGrows,
    ErrorStarts,
    ErrorTells,
    FileShrinks,
    RetrainsLess,
)
from selectq.claims.regimes import W4A8, Measured
from selectq.errors import UserError

NAN = float("nan")


def contrast(config: str, reference: str, gap: float, seeds: int) -> dict[str, object]:
    """An interval of 0.2 points either way over the images; of 2 points over seeds, about one point more."""
    over = dict(zip(("seeds_ci_low", "seeds_ci_high"), (gap - 1, gap + 3) if seeds > 1 else (NAN, NAN), strict=True))
    interval = {"gap_points": gap, "ci_low": gap - 0.2, "ci_high": gap + 0.2}
    names = {"config": f"w4a8_{config}", "reference": reference}
    return {**names, **interval, "seed_count": seeds, "seeds_gap_points": gap + 1, **over}


def layer(name: str, kind: str, *drifts: float) -> list[dict[str, object]]:
    causes = ("weight rounding", "clipping", "activation rounding", "inherited")
    shared = {"config": "w4a8_channel", "layer": name, "layer_kind": kind}
    return [{**shared, "cause": cause, "drift": drift} for cause, drift in zip(causes, drifts, strict=True)]


def block(index: int, drift: float, kind: str = "accumulated", config: str = "w4a8_channel") -> dict[str, object]:
    return {"config": config, "index": index, "layer_kind": "block", "kind": kind, "drift": drift}


@pytest.fixture
def measured() -> Measured:
    fp32 = [contrast("tensor", "fp32", -40.0, 1), contrast("full", "fp32", -0.4, 3)]
    between = [contrast("dw", "w4a8_full", -0.6, 1), contrast("dwpw", "w4a8_full", -4.0, 3)]
    layers = [f"{kind}{number}" for kind in ("depthwise", "expansion") for number in range(6)]
    causes = [
        row
        for number, name in enumerate(layers)
        for row in layer(name, name[:-1], 0.1 / (number + 1), 0.0, 0.01, 9.0 * number)
    ]
    drift = [block(index, 0.1 * index) for index in range(10)] + [
        block(10, 0.0, "isolated"),
        block(11, 0.0, config="x"),
    ]
    return Measured(
        W4A8,
        0.5,
        contrasts=pd.DataFrame(between),
        paired=pd.DataFrame(fp32),
        methods=pd.DataFrame(fp32)[["config", "seed_count", "gap_points"]].assign(ci_low=-0.45, ci_high=-0.35),
        table=pd.DataFrame(
            {
                "config": ["fp32", "w4a8_full", "w4a4_full"],
                "params_retrained_pct": ["", "46.5", "0"],
                "size_mb": [9.0, 2.5, 1],
                "int8_top1": ["", "90.5", "10"],
            }
        ),
        drift=pd.DataFrame(drift[::-1]),
        causes=pd.DataFrame(causes),
        layers={},
    )


def test_accuracy_is_over_images_of_one_seed(measured: Measured) -> None:
    answer = Accuracy("falls short", (("dw", "full"),)).ask(measured)
    assert (answer.ours, answer.verdict) == ("-0.60 [-0.80, -0.40] (images)", "unclear")
    assert Accuracy("falls short", (("tensor", "fp32"),)).ask(measured).verdict == "holds"


def test_accuracy_is_over_seeds_where_there_are_enough(measured: Measured) -> None:
    answer = Accuracy("falls short", (("dwpw", "full"),)).ask(measured)
    assert (answer.ours, answer.verdict) == ("-3.00 [-5.00, -1.00] (3 seeds)", "holds")
    assert Accuracy("keeps up", (("full", "fp32"),)).ask(measured).ours == "-0.40 [-0.45, -0.35] (3 seeds)"


def test_several_accuracies_are_named(measured: Measured) -> None:
    answer = Accuracy("is ahead", (("dw", "full"), ("dwpw", "full"))).ask(measured)
    assert answer.ours.startswith("dw - full: -0.60 [") and "; dwpw - full: -3.00 [" in answer.ours
    assert answer.verdict == "fails"


def test_contrast_that_was_not_asked_for(measured: Measured) -> None:
    with pytest.raises(UserError, match=r"^results: w4a8_clf - w4a8_full is there 0 times; name it under"):
        Accuracy("is ahead", (("clf", "full"),)).ask(measured)


def test_drift_is_what_has_accumulated_in_the_order_of_the_blocks(measured: Measured) -> None:
    answer = DriftGrows("channel").ask(measured)
    assert answer.ours.startswith("rank correlation +1.00 over 10 blocks") and answer.verdict == "holds"
    assert [DriftEnds("channel", near).ask(measured).verdict for near in (0.85, 1.0, 0.8)] == [
        "holds",
        "holds",
        "fails",
    ]


def test_inherited_error_is_not_a_layers_own(measured: Measured) -> None:
    answer = ErrorStarts("channel", ("depthwise", "projection"), "expansion").ask(measured)
    assert answer.verdict == "holds" and "against 0.0206 in the expansion layers" in answer.ours
    assert ErrorStarts("channel", ("expansion",), "depthwise").ask(measured).verdict == "fails"


@pytest.mark.parametrize(("won", "verdict"), [((1, 2, 5, 7, 8, 9), "holds"), ((9, 8, 7, 5, 2, 1), "fails")])
def test_error_tells_what_to_retrain(measured: Measured, won: tuple[int, ...], verdict: str) -> None:
    names = [f"first{number}" for number in range(6)]
    top1 = [str(70 + points) for points in won]
    table = {"config": [f"w4a8_{name}" for name in names], "params_retrained_pct": range(6), "int8_top1": top1}
    untrained = {"config": ["w4a8_channel"], "params_retrained_pct": [0], "int8_top1": ["70"]}
    layers = {f"w4a8_{name}": frozenset(f"depthwise{at}" for at in range(number)) for number, name in enumerate(names)}
    run = replace(measured, table=pd.concat([pd.DataFrame(table), pd.DataFrame(untrained)]), layers=layers)
    answer = ErrorTells("channel", tuple(names)).ask(run)
    assert answer.verdict == verdict
    assert answer.ours.startswith("+1.00 to +9.00 points won back by 6 sets of layers;")


def test_configurations_are_those_of_the_regime(measured: Measured) -> None:
    assert measured.configurations() == ["full"]


def test_size_and_share(measured: Measured) -> None:
    assert FileShrinks("full", 3.5).ask(measured).ours == "9.00 MB to 2.50 MB, 3.60 x"
    assert [FileShrinks("full", factor).ask(measured).verdict for factor in (3.5, 3.7)] == ["holds", "fails"]
    assert [RetrainsLess("full", share).ask(measured).verdict for share in (50, 46)] == ["holds", "fails"]
