"""The settings under which the study was run, and what each run left in `results/`."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from selectq.claims.archive import BLOCK_DRIFT, BLOCK_DRIFT_COLUMNS, OWN_ERROR_COLUMNS, OWN_ERRORS
from selectq.errors import UserError
from selectq.params.load import PARAMS_FILE, read_yaml
from selectq.statistics.answers import REFERENCE
from selectq.statistics.gaps import contrast_gap, gaps_to_fp32
from selectq.statistics.rows import CONTRAST_COLUMNS, METHOD_COLUMNS, PAIRED_COLUMNS
from selectq.statistics.verdicts import Candidate, Gap
from selectq.tables.evidence import CALIBRATION_COLUMNS, read_table

TABLE1_COLUMNS = {"config": str, "method": str, "scope": str, "params_retrained": int, "epochs": int}
TABLE2_COLUMNS = {
    "config": str,
    "params_retrained_pct": float,
    "size_mb": float,
    "fp32_top1": float,
    "int8_top1": float,
    "standard_error_points": float,
}


@dataclass(frozen=True)
class Setting:
    """A run of the pipeline on CIFAR-10, or some of its configurations.

    Attributes:
        name: as readers know it.
        short: the same as the heading of a column.
        profile: whose kept results it is.
        prefix: of its configurations' names.
    """

    name: str
    short: str
    profile: str
    prefix: str = ""


PLAIN = Setting("8 bits, trained from scratch", "plain", "cifar10")
PRETRAINED = Setting("8 bits, from ImageNet weights", "pretrained", "pretrained")
LARGER = Setting("8 bits, from ImageNet weights, larger images", "larger", "pretrained_larger")
SKEWED = Setting("8 bits, channel ranges skewed", "skewed", "skewed")
REPAIRED = Setting("8 bits, skewed, PTQ algorithms before QAT", "PTQ first", "skewed_repaired")
SKEWED_PRETRAINED = Setting("8 bits, from ImageNet weights, skewed", "pre. skewed", "pretrained_skewed")
CLIPPED_PRETRAINED = Setting("8 bits, from ImageNet weights, skewed, clipped", "clipped", "pretrained_clipped")
RELU6 = Setting("8 bits, from ImageNet weights, ReLU6", "ReLU6", "relu6")
W4A8 = Setting("W4A8: weights of 4 bits, activations of 8", "W4A8", "w4a8", "w4a8_")
W4A8_PRETRAINED = Setting("W4A8, from ImageNet weights", "pre. W4A8", "pretrained_w4a8", "w4a8_")
W4A4 = Setting("W4A4: both of 4 bits", "W4A4", "few_bits", "w4a4_")
W4A4_REPAIRED = Setting("W4A4, PTQ algorithms before QAT", "equalized", "few_bits_repaired", "w4a4_")
W4A4_LONGER = Setting("W4A4, biases corrected first, 4 epochs", "4 epochs", "few_bits_longer", "w4a4_")
W4A4_MIXED = Setting("W4A4 but for sums and ends, 4 epochs", "mixed", "few_bits_mixed", "mixed_")
W4A4_PRETRAINED = Setting("W4A4, from ImageNet weights, 4 epochs", "pre. W4A4", "pretrained_few_bits", "w4a4_")
W4A4_PRETRAINED_LONGER = Setting("W4A4, from ImageNet weights, 12 epochs", "12 epochs", "pretrained_longer", "w4a4_")
CONTROLS = Setting("8 bits, skewed, random layers", "skewed", "controls")
CONTROLS_PRETRAINED = Setting(
    "8 bits, from ImageNet weights, skewed, random layers", "pre. skewed", "pretrained_controls"
)

EIGHT_BITS = (PLAIN, PRETRAINED, LARGER, SKEWED, SKEWED_PRETRAINED, REPAIRED, CLIPPED_PRETRAINED, RELU6)
FOUR_BITS = (
    W4A8,
    W4A8_PRETRAINED,
    W4A4,
    W4A4_REPAIRED,
    W4A4_LONGER,
    W4A4_MIXED,
    W4A4_PRETRAINED,
    W4A4_PRETRAINED_LONGER,
)
RANDOM_LAYERS = (CONTROLS, CONTROLS_PRETRAINED)
SETTINGS = (*EIGHT_BITS, *FOUR_BITS, *RANDOM_LAYERS)


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
                f"results/{self.setting.profile}: {self.name(config)} - {self.name(reference)} is there {len(rows)}"
                " times; name it under statistics.contrasts and run again"
            )
        return contrast_gap(rows.iloc[0].to_dict(), self.confidence)

    def candidate(self, config: str) -> Candidate:
        """The configuration as one that might be recommended."""
        name = self.name(config)
        trained = self.params["qat"].get(name)
        return Candidate(
            config,
            self.gap(config),
            len(self.algorithms(config)),
            self.figure(config, "params_retrained_pct"),
            trained["epochs"] if trained else 0,
        )

    def algorithms(self, config: str) -> list[str]:
        """The post-training (PTQ) algorithms, without training or before it."""
        name, params = self.name(config), self.params
        settings = params["qat_training"] if name in params["qat"] else params["ptq"][name]
        return list(settings["repairs" if "repairs" in settings else "algorithms"])  # as earlier runs call them

    def scope(self, config: str) -> list[str]:
        """The layer kinds and modules that a configuration retrains."""
        return list(self.params["qat"][self.name(config)]["scope"])


def read_settings(checkout: Path) -> dict[Setting, Measured]:
    """What is in `results/` of each setting.

    Raises:
        UserError: a table or a run's parameters are missing or damaged.
    """
    return {setting: _read(checkout / "results" / setting.profile, setting) for setting in SETTINGS}


def _read(folder: Path, setting: Setting) -> Measured:
    def read(name: str, columns: dict[str, Any], *empty: str) -> pd.DataFrame:
        return read_table(folder / name, columns, None, empty)

    return Measured(
        setting,
        params=read_yaml(folder / PARAMS_FILE),
        paired=read("paired.csv", PAIRED_COLUMNS),
        contrasts=read("contrasts.csv", CONTRAST_COLUMNS, "seeds_ci_low", "seeds_ci_high"),
        methods=read("methods.csv", METHOD_COLUMNS, "ci_low", "ci_high"),
        table1=read("table1.csv", TABLE1_COLUMNS),
        table2=read("table2.csv", TABLE2_COLUMNS, "params_retrained_pct", "int8_top1"),
        block_drift=read(BLOCK_DRIFT, BLOCK_DRIFT_COLUMNS),
        own_errors=read(OWN_ERRORS, OWN_ERROR_COLUMNS),
        calibration=read("calibration.csv", CALIBRATION_COLUMNS),
    )
