"""What README and `docs/results.md` say first: the text of `in_short.md`, its figures from verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from selectq.claims.page import Judged
from selectq.claims.paper_claims import (
    BEATS_FULL,
    BEATS_FULL_ASYM,
    CLOSES_GAP,
    LIKE_FULL_ASYM,
    PTQ_BEATS_QAT,
    PTQ_KEEPS_UP,
    PTQ_LIKE_QAT,
    Claim,
)
from selectq.claims.settings import EIGHT_BITS, FOUR_BITS, PLAIN, SETTINGS, SKEWED, Measured, Setting
from selectq.statistics.verdicts import Verdict
from selectq.tables.markdown import rewrapped

TEXT = Path(__file__).with_name("in_short.md")


def in_short(runs: Mapping[Setting, Measured], judged: Judged) -> str:
    """The paragraph and the bullets."""
    return rewrapped(TEXT.read_text(encoding="utf-8").format(**_figures(runs, judged)))


def _figures(runs: Mapping[Setting, Measured], judged: Judged) -> dict[str, str]:
    """In how many settings something holds, and the figures that belong beside it."""

    def tally(claim: Claim, group: Sequence[Setting], verdict: Verdict = "holds") -> str:
        verdicts = [answer.verdict for setting, answer in judged[claim].items() if setting in group]
        return f"{verdicts.count(verdict)} of {len(verdicts)} settings"

    gaps = [runs[setting].gap("channel_repaired") for setting in judged[PTQ_KEEPS_UP] if setting in EIGHT_BITS]
    leads = [f"{setting.name}: {answer.ours[0]}" for setting, answer in judged[PTQ_BEATS_QAT].items()]
    return {
        "margin": f"{runs[PLAIN].margin:g}",
        "ptq_keeps_up_8": tally(PTQ_KEEPS_UP, EIGHT_BITS),
        "losses_8": str(sum(gap.high < 0 for gap in gaps) or "none"),
        "most_lost": f"{-min(gap.low for gap in gaps):.2f}",
        "ptq_beats_qat": tally(PTQ_BEATS_QAT, EIGHT_BITS),
        "ptq_leads": "; ".join(leads),
        "skewed_epochs": str(runs[SKEWED].candidate("dwpw_asym").epochs),
        "ptq_keeps_up_4": tally(PTQ_KEEPS_UP, FOUR_BITS),
        "qat_helps_4": tally(PTQ_LIKE_QAT, FOUR_BITS, "fails"),
        "qat_keeps_up_4": tally(CLOSES_GAP, FOUR_BITS),
        "beats_full": tally(BEATS_FULL, SETTINGS),
        "beats_full_asym": tally(BEATS_FULL_ASYM, SETTINGS),
        "like_full_asym": tally(LIKE_FULL_ASYM, SETTINGS),
    }
