"""What the studies left in `results/`, read for the pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from selectq.claims.catalogue import Setting, catalogue
from selectq.config.load import PARAMS_FILE, read_yaml
from selectq.errors import UserError
from selectq.statistics.gaps import contrast_gap, gaps_to_fp32
from selectq.statistics.predictions import REFERENCE
from selectq.statistics.schemas import (
    BLOCK_DRIFT,
    CALIBRATION,
    CONTRASTS,
    METHODS,
    OWN_ERRORS,
    PAIRED,
    SECONDS,
    TABLE1,
    TABLE2,
)
from selectq.statistics.verdicts import Candidate, Gap


@dataclass(frozen=True)
class Measured:
    """What a setting's run left. Configurations are named without the setting's prefix."""

    setting: Setting
    params: dict[str, Any]
    paired: pd.DataFrame
    contrasts: pd.DataFrame
    methods: pd.DataFrame
    table1: pd.DataFrame
    table2: pd.DataFrame
    block_drift: pd.DataFrame
    own_errors: pd.DataFrame
    calibration: pd.DataFrame
    seconds: pd.DataFrame

    @property
    def minutes(self) -> float:
        """Of one core, that the stages took."""
        return float((self.seconds["seconds"] * self.seconds["threads"]).sum()) / 60

    @property
    def margin(self) -> float:
        """In points, what is worth naming."""
        return float(self.params["statistics"]["margin_points"])

    @property
    def confidence(self) -> float:
        """Of all intervals."""
        return float(self.params["statistics"]["confidence"])

    @property
    def fp32_top1(self) -> float:
        """Of the FP32 network, on the test images, in percent."""
        return float(self.table2["fp32_top1"].iloc[0])

    @cached_property
    def to_fp32(self) -> dict[str, Gap]:
        """The gap of every configuration to the FP32 network, by its name in the run."""
        return gaps_to_fp32(self.paired, self.methods, self.confidence)

    def name(self, config: str) -> str:
        """The configuration's name in the run."""
        return config if config == REFERENCE else f"{self.setting.prefix}{config}"

    def configurations(self) -> list[str]:
        """Those of the setting, in the order of its tables, without its prefix."""
        prefix = self.setting.prefix
        return [name.removeprefix(prefix) for name in self.table1["config"] if name.startswith(prefix)]

    def figure(self, config: str, column: str) -> float:
        """What Table 2 says of a configuration."""
        return float(self.table2.set_index("config")[column][self.name(config)])

    def gap(self, config: str, reference: str = REFERENCE) -> Gap:
        """The difference of two configurations, or to the FP32 network.

        Raises:
            UserError: the run does not have it.
        """
        if reference == REFERENCE and self.name(config) in self.to_fp32:
            return self.to_fp32[self.name(config)]
        table = self.contrasts
        rows = table[(table["config"] == self.name(config)) & (table["reference"] == self.name(reference))]
        if len(rows) != 1:
            raise UserError(
                f"results/{self.setting.folder}: {self.name(config)} - {self.name(reference)} is there {len(rows)}"
                " times; name it under statistics.contrasts and run again"
            )
        return contrast_gap(rows.iloc[0].to_dict(), self.confidence)

    def candidate(self, config: str) -> Candidate:
        """The configuration as one that might be recommended."""
        share, epochs = self.figure(config, "params_retrained_pct"), self.epochs[self.name(config)]
        return Candidate(config, self.gap(config), len(self._treatment(config)[1]), share, epochs)

    @property
    def epochs(self) -> dict[str, int]:
        """Of every configuration, by its name in the run; 0 where nothing is retrained."""
        return dict(zip(self.table1["config"], self.table1["epochs"], strict=True))

    def scope(self, config: str) -> list[str]:
        """The layer kinds and modules that a configuration retrains."""
        return self._treatment(config)[0]

    def _treatment(self, config: str) -> tuple[list[str], list[str]]:
        """What is retrained, and by which PTQ algorithms before: as Table 1 has both, `stem + head; equalize`."""
        scope, _, algorithms = self.table1.set_index("config")["scope"][self.name(config)].partition("; ")
        return scope.split(" + "), algorithms.split(" + ") if algorithms else []

    def drift_of_blocks(self, config: str) -> pd.DataFrame:
        """What has accumulated up to each block's output, from the first to the last."""
        return self.block_drift[self.block_drift["config"] == self.name(config)].sort_values("index")

    def own_errors_of(self, config: str) -> pd.DataFrame:
        """The error that starts in each layer of a configuration."""
        return self.own_errors[self.own_errors["config"] == self.name(config)]


Runs = Mapping[str, Measured]
"""By the folder of the setting."""


def read_runs(checkout: Path) -> dict[str, Measured]:
    """What is in `results/` of each setting.

    Raises:
        UserError: a table or a run's parameters are missing or damaged.
    """
    return {name: _read(checkout / "results" / name, setting) for name, setting in catalogue().settings.items()}


def _read(folder: Path, setting: Setting) -> Measured:
    return Measured(
        setting,
        params=read_yaml(folder / PARAMS_FILE),
        paired=PAIRED.read(folder / "paired.csv"),
        contrasts=CONTRASTS.read(folder / "contrasts.csv"),
        methods=METHODS.read(folder / "methods.csv"),
        table1=TABLE1.read(folder / "table1.csv"),
        table2=TABLE2.read(folder / "table2.csv"),
        block_drift=BLOCK_DRIFT.read(folder / "block_drift.csv"),
        own_errors=OWN_ERRORS.read(folder / "own_errors.csv"),
        calibration=CALIBRATION.read(folder / "calibration.csv"),
        seconds=_seconds(folder / "seconds.csv"),
    )


def _seconds(path: Path) -> pd.DataFrame:
    """What stages took; of a study that was kept before that was recorded, nothing."""
    return SECONDS.read(path) if path.exists() else SECONDS.frame([])
