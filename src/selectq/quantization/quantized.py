"""The fake-quantized network: built from the float form, written and read as a checkpoint."""

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from selectq.config.algorithms import RELU6_AS_RELU
from selectq.config.configs import ActivationScheme, ModelConfig, WeightScheme
from selectq.data.normalization import Normalization
from selectq.errors import UserError
from selectq.files import read_tensors, write_tensors
from selectq.networks.build import build_network
from selectq.networks.checkpoint import first_difference
from selectq.quantization.fake_quantize import Range
from selectq.quantization.folding import fold
from selectq.quantization.network import LookupNode, Network, NormalizationNode
from selectq.quantization.quantizers import GATE_SCALES, ActivationQuantizer, GateQuantizer, WeightQuantizer
from selectq.quantization.scale_assignment import ScaleAssignment
from selectq.quantization.scale_groups import signed_sites


@dataclass(frozen=True)
class Scheme:
    """How weights and activations become integers: of the whole network, widths perhaps by kind or layer."""

    weights: WeightScheme
    activations: ActivationScheme


@dataclass(frozen=True)
class QuantizedCheckpoint:
    """A fake-quantized network in evaluation mode, with what is needed to rebuild it.

    `algorithms` are the PTQ algorithms, without training or before it.
    """

    name: str
    network: Network
    config: ModelConfig
    classes: tuple[str, ...]
    scheme: Scheme
    algorithms: tuple[str, ...] = ()


PIXELS_SCHEME = ActivationScheme(8, symmetric=False)
"""Of normalised pixels, whatever the network's own."""


def insert_quantizers(network: Network, scheme: Scheme, ranges: dict[str, Range]) -> None:
    """Turn the float form into the fake-quantized one, in place: weights, biases and every site.

    `ranges` gives each site's [low, high] by name. Quantization parameters are chosen by them.
    """
    put_quantizers(network, scheme, ranges)
    ScaleAssignment(network).assign()


def put_quantizers(network: Network, scheme: Scheme, ranges: dict[str, Range]) -> None:
    """The same, with quantization parameters that are still to be chosen or read."""
    for layer in network.layers():
        layer.weight_quantizer = WeightQuantizer(scheme.weights.of(layer.kind, layer.name), layer.bias)
    for normalization in network.normalizations():
        normalization.weight_quantizer = WeightQuantizer(WeightScheme(8, "channel"), normalization.bias)
    signed = signed_sites(network.graph)
    for site in network.sites():
        of_site = scheme.activations.of(site.kind, site.name, site.name in signed)
        own = PIXELS_SCHEME if isinstance(site, NormalizationNode) else of_site
        site.activation = ActivationQuantizer(own, site.bounds, *ranges[site.name])
        if isinstance(site, LookupNode) and site.multiplies:
            site.gate = GateQuantizer(GATE_SCALES[site.function])


def describe(checkpoint: QuantizedCheckpoint) -> dict[str, Any]:
    """Everything about a checkpoint but its tensors, as JSON."""
    return {
        "name": checkpoint.name,
        "model": dataclasses.asdict(checkpoint.config),
        "classes": checkpoint.classes,
        "scheme": dataclasses.asdict(checkpoint.scheme),
        "algorithms": checkpoint.algorithms,
    }


def write_quantized(path: Path, checkpoint: QuantizedCheckpoint) -> None:
    """Write weights and biases in float, activation ranges and all quantization parameters."""
    write_tensors(path, checkpoint.network.state_dict(), describe(checkpoint))


def read_quantized(path: Path) -> QuantizedCheckpoint:
    """Read a fake-quantized network.

    Raises:
        UserError: the file is missing, damaged, or holds another network.
    """
    tensors, metadata = read_tensors(path)
    try:
        config = ModelConfig.from_mapping(metadata["model"], "model")
        weights = WeightScheme.from_mapping(metadata["scheme"]["weights"], "weights")
        activations = ActivationScheme.from_mapping(metadata["scheme"]["activations"], "activations")
        scheme, classes = Scheme(weights, activations), tuple(metadata["classes"])
        algorithms = tuple(metadata["algorithms"])
        built = replace(config, activation="relu") if RELU6_AS_RELU in algorithms else config
        network = fold(build_network(built, len(classes)), normalization=Normalization.of(config.normalization))
        zero = torch.zeros(())
        put_quantizers(network, scheme, {site.name: (zero, zero) for site in network.sites()})
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        found = f"does not hold a quantized network ({first_difference(error)})"
        raise UserError(f"{path}: {found}; if an older version wrote it, run the stage again") from None
    network.to(memory_format=torch.channels_last)
    return QuantizedCheckpoint(metadata["name"], network.eval(), config, classes, scheme, algorithms)
