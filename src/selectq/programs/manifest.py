"""What a program says of itself: the JSON that every format carries under the key `selectq`."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selectq.data.layout import class_name
from selectq.errors import UserError

EXACT_PRODUCTS = ("session.x64quantprecision", "1")
"""The option of ONNX Runtime's sessions without which x86 processors that lack VNNI saturate; others ignore it."""

INPUT_NAME = "pixels"
OUTPUT_NAME = "logits"

OUTPUT = {"name": OUTPUT_NAME, "dtype": "float32", "layout": "NC"}

DTYPES, LAYOUTS = ("uint8", "float32"), ("nchw", "nhwc")
"""What programs may take: pixels as decoded, or as the FP32 network took them; channels first, or last."""


@dataclass(frozen=True)
class Input:
    """What a program takes: images in RGB.

    Attributes:
        dtype: of `DTYPES`.
        layout: of `LAYOUTS`.
        mean, std: of the FP32 network's normalization, of pixels from 0 to 1, for red, green and blue; for uint8, which
            is normalised inside, none.
    """

    dtype: str = "uint8"
    layout: str = "nchw"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def shape(self, size: int) -> tuple[int, ...]:
        """Of one image of `size` pixels."""
        return (3, size, size) if self.layout == "nchw" else (size, size, 3)

    def text(self, size: int) -> str:
        """Shape and layout in words."""
        return f"(batch, {', '.join(map(str, self.shape(size)))}), {self.layout.upper()}, RGB"

    @property
    def preprocessing(self) -> str:
        """What the values are, in words."""
        if self.dtype == "uint8":
            return "none: takes pixels as decoded; scaling is part of the program"
        mean, std = (", ".join(f"{each:.6g}" for each in values) for values in (self.mean, self.std))
        return (
            f"(pixel / 255 - mean) / std, as the FP32 network took it: mean {mean}, std {std} of red, green, blue; the"
            " program rounds it to the 256 levels of a pixel"
        )

    def of_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """uint8 (N, 3, H, W), as decoded -> what the program takes."""
        images: NDArray[Any] = pixels
        if self.dtype == "float32":
            mean, std = (np.reshape(np.array(values, np.float32), (3, 1, 1)) for values in (self.mean, self.std))
            images = (pixels / np.float32(255) - mean) / std
        return images if self.layout == "nchw" else np.ascontiguousarray(images.transpose(0, 2, 3, 1))

    def to_json(self) -> dict[str, Any]:
        """As the description has it."""
        described = {"name": INPUT_NAME, "dtype": self.dtype, "layout": f"{self.layout.upper()}, RGB"}
        normalised = {"mean": self.mean, "std": self.std} if self.dtype == "float32" else {}
        return {**described, "preprocessing": self.preprocessing, **normalised}

    @classmethod
    def from_json(cls, described: dict[str, Any]) -> "Input":
        """What `to_json` wrote.

        Raises:
            ValueError: it is something else; TypeError and others likewise.
        """
        dtype, layout = described["dtype"], described["layout"].partition(",")[0].lower()
        mean, std = (tuple(map(float, described.get(key, ()))) for key in ("mean", "std"))
        if dtype not in DTYPES or layout not in LAYOUTS or len(mean) != len(std) or len(mean) not in (0, 3):
            raise ValueError(f"input: {dtype}, {layout}")
        if (dtype == "float32") != bool(mean):
            raise ValueError(f"input: {dtype} with mean {list(mean)}")
        return cls(dtype, layout, mean, std)


@dataclass(frozen=True)
class LayerEntry:
    """One convolution or the classifier, and what it stores.

    Attributes:
        name, kind: as in the FP32 network.
        weight_shape: (O, I / groups, kH, kW) or (O, I).
        weight_bits: of each weight.
        weight_scales: how many there are, one per output channel or one.
        activation: the activation function that is fused in: `relu`, `relu6`, `hard_sigmoid`, `none`, `none, before a
            hard_swish`, or `clamp to [low, high]`.
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
        activations: `bits` and `symmetric`: true, false or "unsigned", see `ActivationScheme`.
        layers: in network order.
        runtime: which versions of what load the file; each format says it.
        input: what it takes.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    weights: dict[str, Any]
    activations: dict[str, Any]
    layers: tuple[LayerEntry, ...]
    runtime: str = ""
    input: Input = Input()

    def for_runtime(self, runtime: str) -> "Manifest":
        """The same for a file that `runtime` loads."""
        return dataclasses.replace(self, runtime=runtime)

    def input_line(self, inside: str) -> str:
        """What the program takes, in words; `inside` is what it does with pixels as decoded."""
        values = f"pixels as decoded, 0 to 255: {inside} is part of the program"
        if self.input.dtype != "uint8":
            values = self.input.preprocessing
        return f"Input `{INPUT_NAME}`: {self.input.dtype}, {self.input.text(self.image_size)}, {values}."

    def to_json(self) -> str:
        """The same text for the same content."""
        return json.dumps({**dataclasses.asdict(self), "input": self.input.to_json(), "output": OUTPUT}, sort_keys=True)

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
            taken = Input.from_json(content["input"])
            return cls(**{**described, "classes": classes, "layers": layers, "input": taken})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{origin}: its description is not selectq's ({error})") from None
