"""Results as lines and as a table."""

from dataclasses import dataclass

import pandas as pd
from int8_cases import Setting

from selectq.latency.turns import Spread, Timing, spread

COLUMNS = ["case", "batch", "threads", "ours", "peer_name", "peer", "ratio", "goal", "met", "repeats"]


@dataclass(frozen=True)
class Result:
    """A comparison and what was measured; `goal` is the least ratio that is aimed at, if any is."""

    case: str
    setting: Setting
    peer: str
    goal: float | None
    timing: Timing

    @property
    def ratios(self) -> Spread:
        """Ours over the peer, round by round."""
        return spread(self.timing.ratios())

    @property
    def ratio(self) -> float:
        """Median of the ratios, as it is printed and as it is held against the goal."""
        return round(self.ratios.median, 3)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.goal is None else self.ratio >= self.goal


def table(results: list[Result]) -> pd.DataFrame:
    """One row for each comparison; `ours` and `peer` in images/s."""
    rows = [
        (
            result.case,
            result.setting.batch,
            result.setting.threads,
            round(spread(result.timing.ours).median, 1),
            result.peer,
            round(spread(result.timing.peer).median, 1),
            result.ratio,
            result.goal,
            result.met,
            len(result.timing.ours),
        )
        for result in results
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def sentence(result: Result) -> str:
    """Medians with the lowest and the highest repeat, and what became of the goal."""
    ours, peer, ratios = spread(result.timing.ours), spread(result.timing.peer), result.ratios
    verdict = {None: "no goal set", True: f"goal {result.goal} met", False: f"goal {result.goal} MISSED"}
    return (
        f"{result.case}, {words(result.setting)}: "
        f"ours {ours.median:.0f} images/s ({ours.low:.0f} to {ours.high:.0f}); "
        f"{result.peer} {peer.median:.0f} ({peer.low:.0f} to {peer.high:.0f}); "
        f"ratio {ratios.median:.2f} ({ratios.low:.2f} to {ratios.high:.2f}); {verdict[result.met]}"
    )


def words(setting: Setting) -> str:
    """A setting in words."""
    return f"batch {setting.batch}, {setting.threads} thread{'s' if setting.threads > 1 else ''}"
