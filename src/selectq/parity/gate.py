"""The gate that a model passes only if what was evaluated is what gets deployed."""

import pandas as pd

from selectq.config.configs import ParityConfig
from selectq.errors import UserError


def hold_to_tolerance(config: str, pairs: pd.DataFrame, layers: pd.DataFrame, tolerance: ParityConfig) -> None:
    """Compare the worst pair and the worst layer with what the parameters allow.

    Args:
        config: the configuration's name.
        pairs: of `compare_pairs`.
        layers: of `compare_layers`.
        tolerance: `parity` of the parameters.

    Raises:
        UserError: one is worse.
    """
    layer = layers.sort_values("steps").to_dict("records")[-1]
    if layer["steps"] > tolerance.layer_steps:
        raise UserError(
            f"parity: {config} in backend {layer['form']} is {layer['steps']} integer steps from the reference at"
            f" {layer['layer']}, given the same inputs; parity.layer_steps allows {tolerance.layer_steps}"
        )
    pair = pairs.sort_values("flipped_pct").to_dict("records")[-1]
    if pair["flipped_pct"] > tolerance.flipped_pct:
        raise UserError(
            f"parity: {config} predicts another class in backend {pair['other']} than in {pair['one']} for"
            f" {pair['flipped_pct']:.2f} % of the test images; parity.flipped_pct allows {tolerance.flipped_pct}"
        )
