"""What a program says of itself: the JSON that every format carries under the key `selectq`."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from selectq.data.layout import class_name
from selectq.errors import UserError

EXACT_PRODUCTS = ("session.x64quantprecision", "1")
"""The option of ONNX Runtime's sessions without which x86 processors that lack VNNI saturate; others ignore it."""

INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"

INPUT = {
    "name": INPUT_NAME,
    "dtype": "uint8",
    "layout": "NCHW, RGB",
    "preprocessing": "none: takes pixels as decoded; scaling is part of the program",
}
OUTPUT = {"name": OUTPUT_NAME, "dtype": "float32", "layout": "NC"}


@dataclass(frozen=True)
class LayerEntry:
    """One convolution or the classifier, and what it stores.

    Attributes:
        name, kind: as in the FP32 network.
        weight_shape: (O, I / groups, kH, kW) or (O, I).
        weight_bits: of each weight.
        weight_scales: how many there are, one per output channel or one.
        activation: the activation function that is fused in: `relu`, `relu6` or `none`.
        output_scale, output_zero_point: of the stored output; None for the classifier, whose output is float.
    """

    name: str
    kind: str
    weight_shape: tuple[int, ...]
    weight_bits: int
    weight_scales: int
    activation: str
    output_scale: float | None
    output_zero_point: int | None


@dataclass(frozen=True)
class Manifest:
    """A program's name, its classes in the order of the logits, how it was quantized, and its layers.

    Attributes:
        name: the configuration's.
        classes: in the order of the logits.
        image_size: height and width of the images in pixels.
        weights: `bits` and `granularity`.
        activations: `bits` and `symmetric`.
        layers: in network order.
        runtime: which versions of what load the file; each format's writer says it.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    weights: dict[str, Any]
    activations: dict[str, Any]
    layers: tuple[LayerEntry, ...]
    runtime: str = ""

    def for_runtime(self, runtime: str) -> "Manifest":
        """The same for a file that `runtime` loads."""
        return dataclasses.replace(self, runtime=runtime)

    def to_json(self) -> str:
        """The same text for the same content."""
        return json.dumps({**dataclasses.asdict(self), "input": INPUT, "output": OUTPUT}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, origin: str) -> "Manifest":
        """Read what `to_json` wrote.

        Raises:
            UserError: it is something else; `origin` opens the message.
        """
        try:
            content = json.loads(text)
            layers = tuple(
                LayerEntry(**{**layer, "weight_shape": tuple(layer["weight_shape"])}) for layer in content["layers"]
            )
            content.setdefault("runtime", "")  # which older files do not say
            described = {field.name: content[field.name] for field in dataclasses.fields(cls)}
            classes = tuple(class_name(name, origin) for name in content["classes"])
            return cls(**{**described, "classes": classes, "layers": layers})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{origin}: its description is not selectq's ({error})") from None
