"""What a plan says is to be done, and nothing else: a configuration of its own, found and not written by hand."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selectq.config.configs import AUTO, PtqConfig, QatConfig, QatTrainingConfig
from selectq.config.configurations import Configuration, list_configurations
from selectq.errors import UserError
from selectq.files import read_json

PLANNED = Path("models/plan.json")
NAME = "planned"
"""Of the configuration in the pipeline's parameters."""


@dataclass(frozen=True)
class Planned:
    """A quantization without training, or a retraining with what all retrainings share."""

    config: PtqConfig | QatConfig
    training: QatTrainingConfig | None = None

    @classmethod
    def of(cls, entries: Any) -> "Planned":
        """What sections of parameters say, in whatever order.

        Raises:
            UserError: nothing that can be done.
        """
        try:
            if "ptq" in entries:
                return cls(PtqConfig.from_mapping(entries["ptq"][NAME], f"ptq.{NAME}"))
            training = QatTrainingConfig.from_mapping(entries["qat_training"], "qat_training")
            return cls(QatConfig.from_mapping(entries["qat"][NAME], f"qat.{NAME}"), training)
        except (KeyError, TypeError) as error:
            raise UserError(f"says nothing that can be done ({error})") from None

    @property
    def scope(self) -> tuple[str, ...]:
        """What is retrained."""
        return self.config.scope if isinstance(self.config, QatConfig) else ()

    @property
    def algorithm_names(self) -> tuple[str, ...]:
        """Of the PTQ algorithms, without training or before it."""
        with_algorithms = self.training or self.config
        assert isinstance(with_algorithms, PtqConfig | QatTrainingConfig)
        return with_algorithms.algorithm_names

    def entries(self) -> dict[str, Any]:
        """The same as sections of the pipeline's parameters."""
        if self.training is None:
            return {"ptq": {NAME: _plain(self.config)}}
        return {"qat_training": _plain(self.training), "qat": {NAME: _plain(self.config)}}

    def listed(self) -> Configuration:
        """It among the configurations of a run, as `auto`."""
        ptq = {AUTO: self.config} if isinstance(self.config, PtqConfig) else {}
        qat = {AUTO: self.config} if isinstance(self.config, QatConfig) else {}
        (one,) = list_configurations(ptq, qat, self.algorithm_names)
        return one


def read_planned(path: Path = PLANNED) -> Planned:
    """What the stage `plan` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return Planned.of(read_json(path))
    except UserError as error:
        raise UserError(f"{path}: {error}; run the stage plan") from None


def planned_configurations(convert: Collection[str]) -> list[Configuration]:
    """The plan's configuration, where `auto` is among those that are converted."""
    return [read_planned().listed()] if AUTO in convert else []


def _plain(config: Any) -> dict[str, Any]:
    """A section of the parameters as YAML has it: tuples are lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(config).items()
    }
