"""The conditions under which the study was run, and what each run left in `results/`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torchvision.models import MobileNetV2

from selectq.errors import UserError
from selectq.params.configs import QatConfig
from selectq.params.load import PARAMS_FILE, load_params
from selectq.quantization.scopes import parameters_in_scope
from selectq.statistics.answers import REFERENCE
from selectq.statistics.rows import CONTRAST_COLUMNS, METHOD_COLUMNS, PAIRED_COLUMNS
from selectq.statistics.verdicts import Gap
from selectq.tables.evidence import CAUSE_COLUMNS, DRIFT_COLUMNS, read_table

ENOUGH_SEEDS = 3
"""From so many trainings on, the interval is over them, and no longer over the test images of one."""

TABLE_COLUMNS = {
    "config": str,
    "params_retrained_pct": float,
    "size_mb": float,
    "fp32_top1": float,
    "int8_top1": float,
}


@dataclass(frozen=True)
class Regime:
    """A run of the pipeline, or some of its configurations.

    Attributes:
        name: as readers know it.
        profile: whose kept results it is; empty for the checkout's own run.
        prefix: of its configurations' names.
    """

    name: str
    profile: str
    prefix: str

    def places(self, checkout: Path) -> tuple[Path, Path, Path]:
        """Where its tables are, the data of its plots, and what it was run with."""
        if not self.profile:
            return checkout / "results", checkout / "plots", checkout / PARAMS_FILE
        kept = checkout / "results" / self.profile
        return kept, kept, kept / PARAMS_FILE


PLAIN = Regime("plain W8A8", "", "")
PRETRAINED = Regime("pretrained W8A8", "pretrained", "")
LARGER = Regime("pretrained W8A8, larger images", "pretrained_larger", "")
SKEWED = Regime("skewed W8A8", "skewed", "")
REPAIRED = Regime("skewed W8A8, equalised before QAT", "skewed_repaired", "")
SKEWED_PRETRAINED = Regime("pretrained skewed W8A8", "pretrained_skewed", "")
CLIPPED_PRETRAINED = Regime("pretrained skewed W8A8, ranges by percentile", "pretrained_clipped", "")
W4A8 = Regime("W4A8", "w4a8", "w4a8_")
W4A8_PRETRAINED = Regime("pretrained W4A8", "pretrained_w4a8", "w4a8_")
W4A4 = Regime("W4A4", "few_bits", "w4a4_")
W4A4_REPAIRED = Regime("W4A4, equalised before QAT", "few_bits_repaired", "w4a4_")
W4A4_LONGER = Regime("W4A4, biases corrected, 4 epochs", "few_bits_longer", "w4a4_")
W4A4_MIXED = Regime("W4A4, sums and ends of 8 bits, 4 epochs", "few_bits_mixed", "mixed_")
W4A4_PRETRAINED = Regime("pretrained W4A4, biases corrected, 4 epochs", "pretrained_few_bits", "w4a4_")
W4A4_PRETRAINED_LONGER = Regime("pretrained W4A4, biases corrected, 12 epochs", "pretrained_longer", "w4a4_")
RELU6 = Regime("pretrained W8A8, ReLU6", "relu6", "")
CONTROLS = Regime("skewed W8A8, controls", "controls", "")
CONTROLS_PRETRAINED = Regime("pretrained skewed W8A8, controls", "pretrained_controls", "")


@dataclass(frozen=True)
class Measured:
    """What a regime's run left. Configurations are named without the regime's prefix.

    `layers` has the modules that each retrained configuration retrains, by its name in the run.
    """

    regime: Regime
    margin: float
    contrasts: pd.DataFrame
    paired: pd.DataFrame
    methods: pd.DataFrame
    table: pd.DataFrame
    drift: pd.DataFrame
    causes: pd.DataFrame
    layers: Mapping[str, frozenset[str]]

    def name(self, config: str) -> str:
        """The configuration's name in the run."""
        return config if config == REFERENCE else f"{self.regime.prefix}{config}"

    def configurations(self) -> list[str]:
        """Those of the regime, in the order of its tables, without its prefix."""
        names = [name for name in self.table["config"] if name != REFERENCE and name.startswith(self.regime.prefix)]
        return [name.removeprefix(self.regime.prefix) for name in names]

    def figure(self, config: str, column: str) -> float:
        """What Table 2 says of a configuration."""
        return float(self.table.set_index("config")[column][self.name(config)])

    def gap(self, config: str, reference: str) -> Gap:
        """The difference of two configurations, or to the FP32 network: over seeds where there are enough.

        Raises:
            UserError: the run does not have it.
        """
        names = self.name(config), self.name(reference)
        if reference == REFERENCE:
            images, seeds = _row(self.paired, *names), _row(self.methods, names[0])
            over_seeds = (seeds["gap_points"], seeds["ci_low"], seeds["ci_high"])
        else:
            images = seeds = _row(self.contrasts, *names)
            over_seeds = (seeds["seeds_gap_points"], seeds["seeds_ci_low"], seeds["seeds_ci_high"])
        if seeds["seed_count"] >= ENOUGH_SEEDS:
            return Gap(*over_seeds, int(seeds["seed_count"]))
        return Gap(images["gap_points"], images["ci_low"], images["ci_high"], 1)


def read_measured(checkout: Path, regime: Regime, margin: float, network: MobileNetV2) -> Measured | None:
    """What is in `results/` of a regime; None where it was not run. Scopes name the modules of `network`.

    Raises:
        UserError: a table or the run's parameters are missing or damaged.
    """
    results, plots, parameters = regime.places(checkout)
    if not (results / "contrasts.csv").exists():
        return None
    of_seeds = ("seeds_ci_low", "seeds_ci_high")
    return Measured(
        regime,
        margin,
        contrasts=read_table(results / "contrasts.csv", CONTRAST_COLUMNS, None, of_seeds),
        paired=read_table(results / "paired.csv", PAIRED_COLUMNS, None),
        methods=read_table(results / "methods.csv", METHOD_COLUMNS, None, ("ci_low", "ci_high")),
        table=read_table(results / "table2.csv", TABLE_COLUMNS, None, ("params_retrained_pct", "int8_top1")),
        drift=read_table(plots / "drift.csv", DRIFT_COLUMNS, None),
        causes=read_table(plots / "causes.csv", CAUSE_COLUMNS, None),
        layers=_retrained_layers(load_params(parameters).qat, network),
    )


def _retrained_layers(configs: Mapping[str, QatConfig], network: MobileNetV2) -> dict[str, frozenset[str]]:
    scopes = {name: parameters_in_scope(network, config.scope) for name, config in configs.items()}
    return {name: frozenset(parameter.rpartition(".")[0] for parameter in scope) for name, scope in scopes.items()}


def _row(table: pd.DataFrame, config: str, reference: str | None = None) -> "pd.Series[float]":
    rows = table[table["config"] == config]
    if reference is not None:
        rows = rows[rows["reference"] == reference]
    if len(rows) != 1:
        asked = config if reference is None else f"{config} - {reference}"
        raise UserError(
            f"results: {asked} is there {len(rows)} times; name it under statistics.contrasts and run again"
        )
    return rows.iloc[0]
