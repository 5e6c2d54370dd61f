"""FP32 checkpoints: a state dict as safetensors, with what is needed to rebuild the network."""

import dataclasses
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from selectq.config.configs import ModelConfig
from selectq.data.normalization import Normalization
from selectq.errors import UserError
from selectq.files import read_tensors, write_tensors
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph
from selectq.networks.build import build_network

FP32 = Path("models/fp32.safetensors")
"""Where the pipeline has the FP32 network."""


@dataclass(frozen=True)
class Fp32Checkpoint:
    """An FP32 network in evaluation mode, what rebuilds it, and its class names."""

    model: nn.Module
    config: ModelConfig
    classes: tuple[str, ...]

    @property
    def normalization(self) -> Normalization:
        """How pixels become what the network takes."""
        return Normalization.of(self.config.normalization)

    @cached_property
    def graph(self) -> Graph:
        """Of the network, captured once: what changes a network's operations changes a copy.

        Raises:
            UserError: it cannot be captured.
        """
        return capture(self.model)


def write_fp32(path: Path, checkpoint: Fp32Checkpoint) -> None:
    """Write an FP32 checkpoint."""
    metadata = {"model": dataclasses.asdict(checkpoint.config), "classes": checkpoint.classes}
    write_tensors(path, checkpoint.model.state_dict(), metadata)


def read_fp32(path: Path) -> Fp32Checkpoint:
    """Read an FP32 checkpoint.

    Raises:
        UserError: the file is missing, damaged, or holds another network; or that cannot be built here.
    """
    tensors, metadata = read_tensors(path)
    try:
        config = ModelConfig.from_mapping(metadata["model"], "model")
        classes = tuple(metadata["classes"])
        model = build_network(config, len(classes))
        load_tensors(model, tensors)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: does not hold the FP32 network it should ({first_difference(error)})") from None
    return Fp32Checkpoint(model.eval(), config, classes)


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what `state_dict` gave, written without the versions that some modules ask for: they are the model's own.

    Raises:
        RuntimeError: another network's.
    """
    state = OrderedDict(tensors)
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]  # torch keeps it there
    model.load_state_dict(state)


def first_difference(error: Exception) -> str:
    """What `load_state_dict` refuses a state for, cut behind the first tensor; of other errors the first line."""
    first, *others = str(error).splitlines()
    if not others or "loading state_dict" not in first:
        return first
    named = re.match(r'[^"]*"[^"]*"', others[0])
    return (named[0] if named else others[0]).strip()
