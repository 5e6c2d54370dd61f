"""The description that a program carries, from the network it is made of."""

from selectq.graph.bounds import HARD_SWISH_INPUT, RELU, RELU6, UNBOUNDED, UNIT
from selectq.programs.manifest import Input, LayerEntry, Manifest
from selectq.quantization.network import Layer
from selectq.quantization.quantized import QuantizedCheckpoint
from selectq.quantization.scale_assignment import quantizer_of, weight_quantizer_of

ACTIVATIONS = {
    UNBOUNDED: "none",
    RELU: "relu",
    RELU6: "relu6",
    UNIT: "hard_sigmoid",
    HARD_SWISH_INPUT: "none, before a hard_swish",
}


def describe_program(
    checkpoint: QuantizedCheckpoint, image_size: int, dtype: str = "uint8", layout: str = "nchw"
) -> Manifest:
    """The manifest of a quantized network for square images of `image_size` pixels, given as `dtype` in a `layout`."""
    scheme, normalization = checkpoint.scheme, checkpoint.network.normalization
    normalised = (normalization.mean, normalization.std) if dtype == "float32" else ((), ())
    return Manifest(
        name=checkpoint.name,
        classes=checkpoint.classes,
        image_size=image_size,
        weights={"bits": scheme.weights.bits, "granularity": scheme.weights.granularity},
        activations={"bits": scheme.activations.bits, "symmetric": scheme.activations.symmetric},
        layers=tuple(_entry(layer) for layer in checkpoint.network.layers()),
        input=Input(dtype, layout, *normalised),
    )


def _entry(layer: Layer) -> LayerEntry:
    quantizer = weight_quantizer_of(layer)
    stored = quantizer_of(layer) if layer.stored else None
    assert isinstance(quantizer.scheme.bits, int)  # a layer's own
    return LayerEntry(
        name=layer.name,
        kind=layer.kind,
        weight_shape=tuple(layer.weight.shape),
        weight_bits=quantizer.scheme.bits,
        weight_scales=len(quantizer.scale),
        activation=ACTIVATIONS.get(layer.bounds, f"clamp to [{layer.bounds.low:g}, {layer.bounds.high:g}]"),
        output_scale=None if stored is None else stored.scale.item(),
        output_zero_point=None if stored is None else int(stored.zero_point.item()),
    )
