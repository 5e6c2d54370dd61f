"""The paper's claims as questions to the settings in which they have a meaning."""

from collections.abc import Mapping
from dataclasses import dataclass

from selectq.claims.questions import (
    Accuracy,
    Answer,
    DriftEnds,
    DriftGrows,
    ErrorStarts,
    ErrorTells,
    FileShrinks,
    Question,
    RetrainsLess,
    corrected,
)
from selectq.claims.settings import (
    CLIPPED_PRETRAINED,
    CONTROLS,
    CONTROLS_PRETRAINED,
    EIGHT_BITS,
    FOUR_BITS,
    LARGER,
    PLAIN,
    PRETRAINED,
    RANDOM_LAYERS,
    RELU6,
    SKEWED,
    SKEWED_PRETRAINED,
    W4A4,
    W4A4_LONGER,
    W4A4_MIXED,
    W4A4_PRETRAINED,
    W4A8,
    W4A8_PRETRAINED,
    Measured,
    Setting,
)
from selectq.statistics.answers import REFERENCE
from selectq.statistics.verdicts import Relation
from selectq.tables.cells import NOTHING

ORDERED = (PLAIN, PRETRAINED, SKEWED, W4A4)
NETWORKS = (PLAIN, PRETRAINED, LARGER, SKEWED, SKEWED_PRETRAINED, W4A8, W4A8_PRETRAINED, W4A4, W4A4_PRETRAINED)
SELECTIVE = (PLAIN, PRETRAINED, SKEWED, W4A8, W4A4)
WITH_PTQ_ALGORITHMS = tuple(setting for setting in (*EIGHT_BITS, *FOUR_BITS) if setting != RELU6)
WITH_FULL = tuple(setting for setting in WITH_PTQ_ALGORITHMS if setting not in (CLIPPED_PRETRAINED, W4A4_MIXED))
WITH_FULL_ASYM = (PRETRAINED, SKEWED, SKEWED_PRETRAINED, *(one for one in FOUR_BITS if one.prefix != "w4a8_"))

RANDOM = tuple(f"{scope}_random{number}" for scope in ("dw", "dwpw") for number in (1, 2))
SETS = ("full", "clf", "dw", "dwpw", "proj", "exp", "dwexp", "last_third", *RANDOM)

GROUPS = (("8 bits", EIGHT_BITS), ("4-bit weights", FOUR_BITS), ("Random layers as controls", RANDOM_LAYERS))
"""Settings whose verdicts stand side by side, and are corrected together."""


@dataclass(frozen=True)
class Claim:
    """One claim in a line.

    Attributes:
        text: of it.
        paper: its figure there, or else its place; a dash for what the paper does not test and a reader would ask.
        place: that of the figure.
        question: what it comes down to.
        settings: those that are asked.
    """

    text: str
    paper: str
    place: str
    question: Question
    settings: tuple[Setting, ...]

    def judge(self, runs: Mapping[Setting, Measured]) -> dict[Setting, Answer]:
        """The answer in each setting; verdicts are corrected for their number in a group.

        Raises:
            UserError: a run lacks what is asked.
        """
        answers: dict[Setting, Answer] = {}
        for _, group in GROUPS:
            asked = [setting for setting in group if setting in self.settings]
            found = [self.question.ask(runs[setting]) for setting in asked]
            answers |= zip(asked, corrected(found), strict=True)
        return answers


def _accuracy(relation: Relation, config: str, reference: str, *claimed: float) -> Accuracy:
    return Accuracy(relation, ((config, reference),), claimed)


def _ahead_of_random(config: str) -> Accuracy:
    return Accuracy("is ahead", tuple((config, f"{config}_random{number}") for number in (1, 2)))


PTQ_KEEPS_UP = Claim(
    "PTQ algorithms, no training, keep up with FP32",
    NOTHING,
    "",
    _accuracy("keeps up", "channel_repaired", REFERENCE),
    (*NETWORKS, W4A4_LONGER, W4A4_MIXED),
)
PTQ_LIKE_QAT = Claim(
    "PTQ algorithms keep up with dwpw_asym",
    NOTHING,
    "",
    _accuracy("keeps up", "channel_repaired", "dwpw_asym"),
    WITH_PTQ_ALGORITHMS,
)
PTQ_BEATS_QAT = Claim(
    "PTQ algorithms are ahead of dwpw_asym",
    NOTHING,
    "",
    _accuracy("is ahead", "channel_repaired", "dwpw_asym"),
    (SKEWED, SKEWED_PRETRAINED),
)
TENSOR_FAILS = Claim(
    "PTQ with one scale per tensor fails",
    "-51.31",
    "section 4.1",
    _accuracy("falls short", "tensor", REFERENCE, -51.31),
    (PLAIN, PRETRAINED, LARGER, SKEWED, SKEWED_PRETRAINED),
)
CHANNEL_FAILS = Claim(
    "PTQ with a scale per channel is not enough",
    "-27.62",
    "Table 2",
    _accuracy("falls short", "channel", REFERENCE, -27.62),
    (*NETWORKS, CLIPPED_PRETRAINED),
)
FULL_BEATS_PTQ = Claim(
    "Full QAT is ahead of PTQ per channel",
    "+25.11",
    "Table 2",
    _accuracy("is ahead", "full", "channel", 25.11),
    NETWORKS,
)
CLF_FAILS = Claim(
    "The classifier alone falls short of full QAT",
    "-5.31",
    "Table 2",
    _accuracy("falls short", "clf", "full", -5.31),
    ORDERED,
)
DW_FAILS = Claim(
    "Depthwise layers alone fall short of full QAT",
    "-2.35",
    "Table 2",
    _accuracy("falls short", "dw", "full", -2.35),
    ORDERED,
)
DWPW_LIKE_FULL = Claim(
    "dwpw keeps up with full QAT", "-0.69", "Table 2", _accuracy("keeps up", "dwpw", "full"), SELECTIVE
)
ASYMMETRIC_HELPS = Claim(
    "dwpw_asym is ahead of dwpw",
    "+0.96",
    "Table 2",
    _accuracy("is ahead", "dwpw_asym", "dwpw", 0.96),
    SELECTIVE,
)
BEATS_FULL = Claim(
    "dwpw_asym is ahead of full QAT", "+0.27", "Table 2", _accuracy("is ahead", "dwpw_asym", "full"), WITH_FULL
)
BEATS_FULL_ASYM = Claim(
    "dwpw_asym is ahead of full_asym", NOTHING, "", _accuracy("is ahead", "dwpw_asym", "full_asym"), WITH_FULL_ASYM
)
LIKE_FULL_ASYM = Claim(
    "dwpw_asym keeps up with full_asym", NOTHING, "", _accuracy("keeps up", "dwpw_asym", "full_asym"), WITH_FULL_ASYM
)
ORDER = Claim(
    "The order is dwpw_asym, dwpw, dw, clf",
    "Table 2",
    "+0.96, +1.66, +2.96",
    Accuracy("is ahead", (("dwpw_asym", "dwpw"), ("dwpw", "dw"), ("dw", "clf")), (0.96, 1.66, 2.96)),
    ORDERED,
)
CLOSES_GAP = Claim(
    "dwpw_asym keeps up with FP32",
    "-2.24",
    "Table 2",
    _accuracy("keeps up", "dwpw_asym", REFERENCE),
    WITH_PTQ_ALGORITHMS,
)
RANDOM_DW = Claim("dw is ahead of random layers, as many", NOTHING, "", _ahead_of_random("dw"), (CONTROLS,))
RANDOM_DW_ASYM = Claim(
    "dw_asym is ahead of random layers, as many", NOTHING, "", _ahead_of_random("dw_asym"), (CONTROLS_PRETRAINED,)
)
RANDOM_DWPW = Claim("dwpw is ahead of random layers, as many", NOTHING, "", _ahead_of_random("dwpw"), (CONTROLS,))
RANDOM_DWPW_ASYM = Claim(
    "dwpw_asym is ahead of random layers, as many", NOTHING, "", _ahead_of_random("dwpw_asym"), (CONTROLS_PRETRAINED,)
)
LAST_THIRD = Claim(
    "The last third of weights beats the classifier",
    "appendix B",
    "",
    _accuracy("is ahead", "last_third", "clf"),
    (CONTROLS,),
)
RELU6_TENSOR = Claim(
    "ReLU6 is easy: PTQ per tensor keeps up with FP32",
    "appendix B",
    "",
    _accuracy("keeps up", "tensor", REFERENCE),
    (PRETRAINED, RELU6),
)
RELU6_CHANNEL = Claim(
    "ReLU6 is easy: PTQ per channel keeps up",
    "appendix B",
    "",
    _accuracy("keeps up", "channel", REFERENCE),
    (PRETRAINED, RELU6),
)
GROWS = Claim("Drift grows with depth", "Figure 5", "", DriftGrows("channel"), NETWORKS)
ENDS = Claim("Drift comes to about 1 in the last blocks", "1.0", "Figure 6", DriftEnds("channel", 1.0), NETWORKS)
STARTS = Claim(
    "The error starts in depthwise, projection layers",
    "section 1",
    "",
    ErrorStarts("channel", ("depthwise", "projection"), "expansion"),
    NETWORKS,
)
TELLS = Claim("Where the error starts tells what to retrain", "section 4", "", ErrorTells("channel", SETS), (CONTROLS,))
SHARE = Claim(
    "Less than half of the parameters are retrained", "46.5 %", "Table 1", RetrainsLess("dwpw_asym", 50.0), (PLAIN,)
)
SHRINKS = Claim("The INT8 model is 3.48 x smaller", "3.48 x", "Table 2", FileShrinks("dwpw_asym", 3.48), (PLAIN,))

CLAIMS = (
    PTQ_KEEPS_UP,
    PTQ_LIKE_QAT,
    PTQ_BEATS_QAT,
    TENSOR_FAILS,
    CHANNEL_FAILS,
    FULL_BEATS_PTQ,
    CLF_FAILS,
    DW_FAILS,
    DWPW_LIKE_FULL,
    ASYMMETRIC_HELPS,
    BEATS_FULL,
    BEATS_FULL_ASYM,
    LIKE_FULL_ASYM,
    ORDER,
    CLOSES_GAP,
    RANDOM_DW,
    RANDOM_DW_ASYM,
    RANDOM_DWPW,
    RANDOM_DWPW_ASYM,
    LAST_THIRD,
    RELU6_TENSOR,
    RELU6_CHANNEL,
    GROWS,
    ENDS,
    STARTS,
    TELLS,
    SHARE,
    SHRINKS,
)
