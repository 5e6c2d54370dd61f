"""The fake-quantized network: built from the float form, written and read as a checkpoint."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from selectq.errors import UserError
from selectq.files import read_tensors, write_tensors
from selectq.networks.mobilenetv2 import build_mobilenetv2
from selectq.params.configs import ActivationScheme, ModelConfig, WeightScheme
from selectq.quantization.fake_quantize import Range
from selectq.quantization.folding import fold
from selectq.quantization.fused import FusedBlock, FusedMobileNetV2
from selectq.quantization.quantizers import ActivationQuantizer, LayerQuantizer, SummandQuantizer, SumQuantizer
from selectq.quantization.scales import activation_scale, common_unit


@dataclass(frozen=True)
class Scheme:
    """How weights and activations become integers: of the whole network, which may have other widths by kind."""

    weights: WeightScheme
    activations: ActivationScheme


@dataclass(frozen=True)
class QuantizedCheckpoint:
    """A fake-quantized network in evaluation mode, with what is needed to rebuild it.

    `repairs` are those that its FP32 parent went through.
    """

    name: str
    network: FusedMobileNetV2
    config: ModelConfig
    classes: tuple[str, ...]
    scheme: Scheme
    repairs: tuple[str, ...] = ()


def insert_quantizers(network: FusedMobileNetV2, scheme: Scheme, ranges: dict[str, Range]) -> None:
    """Turn the float form into the fake-quantized one, in place: weights, biases and every place.

    `ranges` gives each place's [low, high] by name.
    """
    for layer, source in network.inputs():
        layer.read_parameters = LayerQuantizer(scheme.weights.of(layer.kind), layer, source)
    for place in network.places():
        place.activation = ActivationQuantizer(scheme.activations.of(place.kind), place.bounds, *ranges[place.name])
    for meeting in network.sums():
        own = {place: scheme.activations.of(place.kind) for place in meeting}
        unit = common_unit(activation_scale(*ranges[place.name], own[place]) for place in meeting)
        for place in meeting:
            kind = SumQuantizer if isinstance(place, FusedBlock) else SummandQuantizer
            place.activation = kind(own[place], place.bounds, *ranges[place.name], unit)


def describe(checkpoint: QuantizedCheckpoint) -> dict[str, Any]:
    """Everything about a checkpoint but its tensors, as JSON."""
    return {
        "name": checkpoint.name,
        "model": dataclasses.asdict(checkpoint.config),
        "classes": checkpoint.classes,
        "scheme": dataclasses.asdict(checkpoint.scheme),
        "repairs": checkpoint.repairs,
    }


def write_quantized(path: Path, checkpoint: QuantizedCheckpoint) -> None:
    """Write float weights, biases and activation ranges; the scales follow from them."""
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
        repairs = tuple(metadata["repairs"])
        network = fold(build_mobilenetv2(config, len(classes)))
        zero = torch.zeros(())
        insert_quantizers(network, scheme, {place.name: (zero, zero) for place in network.places()})
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: does not hold a quantized network ({str(error).splitlines()[0]})") from None
    network.to(memory_format=torch.channels_last)
    return QuantizedCheckpoint(metadata["name"], network.eval(), config, classes, scheme, repairs)
