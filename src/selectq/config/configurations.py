"""The configurations of a run in the order of its tables, and how their scopes are written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from selectq.config.algorithms import in_order
from selectq.config.configs import LAYER_KINDS, PtqConfig, QatConfig, write_bits


@dataclass(frozen=True)
class Experiment:
    """What tells two configurations apart: what is retrained, the PTQ algorithms, and how numbers become integers.

    The paper uses no such algorithms: its figures belong beside the plain ones alone. Bits are as `write_bits` has.
    """

    scope: str
    weight_bits: str
    weight_granularity: str
    activation_bits: str
    activation_scheme: str


@dataclass(frozen=True)
class Configuration:
    """One configuration of the parameters.

    `epochs` are 0 and `scope` is empty without training; `algorithms` (PTQ) act without training or before it.
    """

    name: str
    method: Literal["ptq", "qat"]
    experiment: Experiment
    epochs: int
    scope: tuple[str, ...]
    algorithms: tuple[str, ...]


def list_configurations(
    ptq: Mapping[str, PtqConfig], qat: Mapping[str, QatConfig], before_qat: Iterable[str]
) -> list[Configuration]:
    """Every configuration: post-training quantization, then QAT, each in the order of the parameters.

    `before_qat` are the PTQ algorithms that every retraining starts behind.
    """
    first = tuple(before_qat)
    calibrated = [
        Configuration(name, "ptq", _experiment((), config.algorithm_names, config), 0, (), config.algorithm_names)
        for name, config in ptq.items()
    ]
    retrained = [
        Configuration(name, "qat", _experiment(config.scope, first, config), config.epochs, config.scope, first)
        for name, config in qat.items()
    ]
    return calibrated + retrained


def write_scope(scope: Iterable[str]) -> str:
    """A scope as text: layer kinds in network order, then module names; the same for the same layers."""
    entries = set(scope)
    if "all" in entries:
        return "all"
    kinds = [kind for kind in LAYER_KINDS if kind in entries]
    return " + ".join(kinds + sorted(entries - set(kinds)))


def with_algorithms(scope: str, algorithms: Iterable[str]) -> str:
    """A scope (`none` where nothing is retrained) with the PTQ algorithms in the order in which they act."""
    applied = in_order(algorithms)
    return f"{scope}; {' + '.join(applied)}" if applied else scope


def _experiment(scope: tuple[str, ...], algorithms: Iterable[str], config: PtqConfig | QatConfig) -> Experiment:
    weights, activations = config.weights, config.activations
    return Experiment(
        scope=with_algorithms(write_scope(scope) or "none", algorithms),
        weight_bits=write_bits(weights.bits),
        weight_granularity=weights.granularity,
        activation_bits=write_bits(activations.bits),
        activation_scheme=activations.range,
    )
