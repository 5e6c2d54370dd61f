"""The post-training quantization (PTQ) algorithms and their settings: known before any of their code is loaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from selectq.config.fields import Between, Config
from selectq.config.plugins import Plugins
from selectq.errors import UserError

RELU6_AS_RELU = "relu6_as_relu"
ALGORITHMS = Plugins[Any](
    "algorithms",
    "PTQ algorithm",
    "selectq.ptq_algorithms",
    {
        RELU6_AS_RELU: "selectq.ptq.relu6",
        "zero_dead_channels": "selectq.ptq.dead_channels",
        "equalize": "selectq.ptq.equalization",
        "reestimate_batchnorm": "selectq.ptq.batch_norm",
        "clip_weights": "selectq.ptq.weight_clipping",
        "adaptive_rounding": "selectq.ptq.reconstruction",
        "reconstruct_blocks": "selectq.ptq.reconstruction",
        "correct_bias": "selectq.ptq.bias_correction",
    },
)
"""In the order in which they act; each is a `selectq.ptq.registry.PtqAlgorithm`."""

Entry = str | dict[str, dict[str, float]]
"""An algorithm by its name, or its name with its settings."""


@dataclass(frozen=True)
class RoundingSettings(Config):
    """How rounding is learned, a layer at a time.

    `iterations` of Adam at `lr`, of `batch_images` each. `rounding_weight` is what a weight between two integer codes
    costs, beside the squared error of an output channel as a share of the outputs' mean square.
    """

    iterations: Annotated[int, Between(1, 10**6)] = 500
    batch_images: Annotated[int, Between(1, 10**6)] = 32
    lr: Annotated[float, Between(0.00001, 10)] = 0.03
    rounding_weight: Annotated[float, Between(0, 1000)] = 0.01


@dataclass(frozen=True)
class BlockSettings(RoundingSettings):
    """The same, a block at a time; each activation is quantized with probability `quantized_share` meanwhile."""

    quantized_share: Annotated[float, Between(0, 1)] = 0.5


SETTINGS: dict[str, type[RoundingSettings]] = {
    "adaptive_rounding": RoundingSettings,
    "reconstruct_blocks": BlockSettings,
}
"""Of the algorithms that have some. A name alone takes the defaults; settings that are written are written out."""


def algorithm_names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The names of algorithms that may be written with their settings."""
    return tuple(entry if isinstance(entry, str) else next(iter(entry)) for entry in entries)


def algorithm_settings(entries: Iterable[Entry]) -> dict[str, RoundingSettings]:
    """The settings of those that have some, by name.

    Raises:
        UserError: settings of an algorithm that has none, an unknown or missing one, or one out of its range.
    """
    chosen = dict[str, RoundingSettings]()
    for index, entry in enumerate(entries):
        if isinstance(entry, str):
            chosen |= {entry: SETTINGS[entry]()} if entry in SETTINGS else {}
        elif len(entry) != 1:
            raise UserError(f"algorithms[{index}]: {entry!r} is not one name with its settings")
        else:
            ((name, values),) = entry.items()
            if name not in SETTINGS:
                raise UserError(
                    f"algorithms[{index}]: {name!r} has no settings; allowed with some: {', '.join(SETTINGS)}"
                )
            chosen[name] = SETTINGS[name].from_mapping(values, f"algorithms[{index}].{name}")
    return chosen


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of `ALGORITHMS`; at the end those that are not known here."""
    chosen = list(names)
    return [name for name in dict.fromkeys([*ALGORITHMS.names(), *chosen]) if name in chosen]
