"""The paper's claims as questions to the regimes in which they have a meaning."""

from dataclasses import dataclass

from selectq.claims.questions import (
    Accuracy,
    DriftEnds,
    DriftGrows,
    ErrorStarts,
    ErrorTells,
    FileShrinks,
    Question,
    RetrainsLess,
)
from selectq.claims.regimes import (
    CLIPPED_PRETRAINED,
    CONTROLS,
    CONTROLS_PRETRAINED,
    LARGER,
    PLAIN,
    PRETRAINED,
    RELU6,
    REPAIRED,
    SKEWED,
    SKEWED_PRETRAINED,
    W4A4,
    W4A4_LONGER,
    W4A4_MIXED,
    W4A4_PRETRAINED,
    W4A4_PRETRAINED_LONGER,
    W4A4_REPAIRED,
    W4A8,
    W4A8_PRETRAINED,
    Regime,
)
from selectq.statistics.answers import REFERENCE

ORDERED = (PLAIN, PRETRAINED, SKEWED, W4A4)
ALL = (PLAIN, PRETRAINED, SKEWED, W4A8, W4A4)
ALL_NETWORKS = (*ALL, LARGER, SKEWED_PRETRAINED, W4A8_PRETRAINED, W4A4_PRETRAINED)
WITH_REPAIRED = (
    PLAIN,
    PRETRAINED,
    LARGER,
    SKEWED,
    SKEWED_PRETRAINED,
    REPAIRED,
    W4A8,
    W4A8_PRETRAINED,
    W4A4,
    W4A4_REPAIRED,
    W4A4_LONGER,
    W4A4_PRETRAINED,
    W4A4_PRETRAINED_LONGER,
)
OF_DWPW_ASYM = (*WITH_REPAIRED, CLIPPED_PRETRAINED, W4A4_MIXED)

RANDOM = tuple(f"{scope}_random{number}" for scope in ("dw", "dwpw") for number in (1, 2))
SETS = ("full", "clf", "dw", "dwpw", "proj", "exp", "dwexp", "last_third", *RANDOM)


@dataclass(frozen=True)
class Claim:
    """One claim in a line; `figures` are the paper's, with their place; `regimes` are those that are asked."""

    text: str
    figures: str
    question: Question
    regimes: tuple[Regime, ...]


def _ahead_of_random(config: str) -> Accuracy:
    return Accuracy("is ahead", tuple((config, f"{config}_random{number}") for number in (1, 2)))


CLAIMS = (
    Claim(
        "Simple means, without training, do as well as the paper's best QAT",  # which a user would ask first
        "not tested",
        Accuracy("keeps up", (("channel_repaired", "dwpw_asym"),)),
        OF_DWPW_ASYM,
    ),
    Claim(
        "Quantization after training with one scale per tensor fails",
        "-51.31 points (section 4.1)",
        Accuracy("falls short", (("tensor", REFERENCE),)),
        (PLAIN, PRETRAINED, LARGER, SKEWED, SKEWED_PRETRAINED),
    ),
    Claim(
        "Quantization after training with a scale per channel is not enough",
        "-27.62 (Table 2)",
        Accuracy("falls short", (("channel", REFERENCE),)),
        (*ALL_NETWORKS, CLIPPED_PRETRAINED),
    ),
    Claim(
        "Full QAT improves on that",
        "+25.11 on PTQ per channel (Table 2)",
        Accuracy("is ahead", (("full", "channel"),)),
        ALL_NETWORKS,
    ),
    Claim(
        "Retraining the classifier alone is not enough",
        "-5.31 to full QAT (Table 2)",
        Accuracy("falls short", (("clf", "full"),)),
        ORDERED,
    ),
    Claim(
        "Retraining depthwise layers alone is not enough",
        "-2.35 to full QAT (Table 2)",
        Accuracy("falls short", (("dw", "full"),)),
        ORDERED,
    ),
    Claim(
        "Depthwise and projection layers together nearly match full QAT",
        "-0.69 (Table 2)",
        Accuracy("keeps up", (("dwpw", "full"),)),
        ALL,
    ),
    Claim(
        "Asymmetric activations improve on that",
        "+0.96 on symmetric ones (Table 2)",
        Accuracy("is ahead", (("dwpw_asym", "dwpw"),)),
        ALL,
    ),
    Claim(
        "Depthwise and projection layers with asymmetric activations beat full QAT",
        "+0.27 (Table 2)",
        Accuracy("is ahead", (("dwpw_asym", "full"),)),
        WITH_REPAIRED,
    ),
    Claim(
        "At equal activations, asymmetric ones, retraining less than half keeps up with retraining all",
        "not tested",
        Accuracy("keeps up", (("dwpw_asym", "full_asym"),)),
        (
            PRETRAINED,
            SKEWED,
            SKEWED_PRETRAINED,
            W4A4,
            W4A4_REPAIRED,
            W4A4_LONGER,
            W4A4_MIXED,
            W4A4_PRETRAINED,
            W4A4_PRETRAINED_LONGER,
        ),
    ),
    Claim(
        "The order is dwpw_asym, dwpw, dw, clf",
        "+0.96, +1.66, +2.96 from each to the next (Table 2)",
        Accuracy("is ahead", (("dwpw_asym", "dwpw"), ("dwpw", "dw"), ("dw", "clf"))),
        ORDERED,
    ),
    Claim(
        "Depthwise and projection layers with asymmetric activations close the gap to FP32",
        "-2.24 (Table 2)",
        Accuracy("keeps up", (("dwpw_asym", REFERENCE),)),
        OF_DWPW_ASYM,
    ),
    Claim(
        "It is the depthwise layers that count: random layers of as many parameters do worse",
        "not tested",
        _ahead_of_random("dw"),
        (CONTROLS,),
    ),
    Claim(
        "The same with asymmetric activations",
        "not tested",
        _ahead_of_random("dw_asym"),
        (CONTROLS_PRETRAINED,),
    ),
    Claim(
        "It is the depthwise and projection layers that count: random layers of as many parameters do worse",
        "not tested",
        _ahead_of_random("dwpw"),
        (CONTROLS,),
    ),
    Claim(
        "The same with asymmetric activations",
        "not tested",
        _ahead_of_random("dwpw_asym"),
        (CONTROLS_PRETRAINED,),
    ),
    Claim(
        "A classifier of a third of the parameters, as ImageNet's, would win more: so do the last layers of that size",
        "supposed (appendix B)",
        Accuracy("is ahead", (("last_third", "clf"),)),
        (CONTROLS,),
    ),
    Claim(
        "ReLU6 is easier to quantize than ReLU: per tensor, after training, it keeps up with FP32",
        "supposed (appendix B)",
        Accuracy("keeps up", (("tensor", REFERENCE),)),
        (PRETRAINED, RELU6),
    ),
    Claim(
        "The same per channel",
        "supposed (appendix B)",
        Accuracy("keeps up", (("channel", REFERENCE),)),
        (PRETRAINED, RELU6),
    ),
    Claim(
        "Drift grows with depth",
        "Figure 5",
        DriftGrows("channel"),
        ALL_NETWORKS,
    ),
    Claim(
        "Drift comes to about 1 in the last blocks",
        "1.0 (Figure 6, section 4)",
        DriftEnds("channel", 1.0),
        ALL_NETWORKS,
    ),
    Claim(
        "The error starts in depthwise and projection layers",
        "sections 1 and 5.1",
        ErrorStarts("channel", ("depthwise", "projection"), "expansion"),
        ALL_NETWORKS,
    ),
    Claim(
        "Where the error starts tells which layers to retrain",
        "its method: drift chooses the layers (section 4)",
        ErrorTells("channel", SETS),
        (CONTROLS,),
    ),
    Claim(
        "Less than half of the parameters are retrained",
        "46.5 % (Table 1)",
        RetrainsLess("dwpw_asym", 50.0),
        (PLAIN,),
    ),
    Claim(
        "The INT8 model is a good quarter of the size",
        "9.18 MB to 2.64 MB, 3.48 x (Table 2)",
        FileShrinks("dwpw_asym", 3.48),
        (PLAIN,),
    ),
)
