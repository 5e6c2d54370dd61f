"""The description that a program carries, from the network it is made of."""

from selectq.networks.activations import Bounds
from selectq.params.configs import width_of
from selectq.programs.manifest import LayerEntry, Manifest
from selectq.quantization.fused import FusedLayer, FusedLinear
from selectq.quantization.quantized import QuantizedCheckpoint
from selectq.quantization.quantizers import ActivationQuantizer, LayerQuantizer

ACTIVATIONS = {0.0: "relu", float("-inf"): "none"}


def describe_program(checkpoint: QuantizedCheckpoint, image_size: int) -> Manifest:
    """The manifest of a quantized network for square images of `image_size` pixels."""
    scheme = checkpoint.scheme
    return Manifest(
        name=checkpoint.name,
        classes=checkpoint.classes,
        image_size=image_size,
        weights={"bits": scheme.weights.bits, "granularity": scheme.weights.granularity},
        activations={"bits": scheme.activations.bits, "symmetric": scheme.activations.symmetric},
        layers=tuple(_entry(layer) for layer in checkpoint.network.fused_layers()),
    )


def _entry(layer: FusedLayer) -> LayerEntry:
    quantizer = layer.read_parameters
    assert isinstance(quantizer, LayerQuantizer)
    scales, _ = quantizer.scales(layer.weight, layer.bias)
    scale, zero_point = _stored(layer)
    return LayerEntry(
        name=layer.name,
        kind=layer.kind,
        weight_shape=tuple(layer.weight.shape),
        weight_bits=width_of(quantizer.scheme.bits, layer.kind),
        weight_scales=len(scales),
        activation="none" if isinstance(layer, FusedLinear) else _activation(layer.bounds),
        output_scale=scale,
        output_zero_point=zero_point,
    )


def _stored(layer: FusedLayer) -> tuple[float | None, int | None]:
    if isinstance(layer, FusedLinear):
        return None, None
    assert isinstance(layer.activation, ActivationQuantizer)
    scale, zero_point = layer.activation.scale_and_zero_point()
    return scale.item(), int(zero_point.item())


def _activation(bounds: Bounds) -> str:
    return "relu6" if bounds.high == 6.0 else ACTIVATIONS[bounds.low]
