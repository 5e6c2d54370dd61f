"""Lines that name the class of one image with a program file, in several languages; they run as they stand."""

from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from selectq.programs.manifest import EXACT_PRODUCTS, INPUT_NAME, OUTPUT_NAME, Manifest

TEMPLATES = {"python": "classify.py.txt", "cpp": "classify.cpp", "kotlin": "classify.kt"}
"""Language -> the lines for ONNX Runtime, beside an `image.png` (`image.rgb` in C++): files beside this one."""

FLOAT_ALONE, FIRST_ALONE = ("mean", "deviation"), ("images.transpose",)
"""What stands in lines that only normalised images need, or only channels that come first."""


def onnx_lines(name: str, manifest: Manifest) -> dict[str, list[str]]:
    """Language -> lines for an ONNX file, without this package."""
    taken, values, found = manifest.input, _values(name, manifest), {}
    left_out = [*(() if taken.dtype == "float32" else FLOAT_ALONE), *(() if taken.layout == "nchw" else FIRST_ALONE)]
    for language, file in TEMPLATES.items():
        lines = Path(__file__).with_name(file).read_text("utf-8").splitlines()
        kept = [line for line in lines if not any(word in line for word in left_out)]
        found[language] = [Template(line).substitute(values) for line in kept]
    return found


def _values(name: str, manifest: Manifest) -> dict[str, Any]:
    size, taken = manifest.image_size, manifest.input
    floats, first = taken.dtype == "float32", taken.layout == "nchw"
    color = "(color shr (16 - 8 * c) and 255)"
    normalization = (("mean", taken.mean), ("std", taken.std))
    loops = ("for (c in 0..2)", "for (color in colors)")
    return {
        "name": name,
        "exact": ", ".join(f'"{each}"' for each in EXACT_PRODUCTS),
        "size": size,
        "area": size * size,
        "shape": ", ".join(map(str, taken.shape(size))),
        "classes": len(manifest.classes),
        "input": INPUT_NAME,
        "output": OUTPUT_NAME,
        **{f"{key}{end}": _numbers(each, end[1:]) for key, each in normalization for end in ("", "_f")},
        "type": "float" if floats else "uint8_t",
        "bytes": 4 if floats else 1,
        "place": f"c * {size * size} + i" if first else "3 * i + c",
        "value": "(rgb[3 * i + c] / 255.0f - mean[c]) / deviation[c]" if floats else "rgb[3 * i + c]",
        "loops": " ".join(loops if first else loops[::-1]),
        "put": f"putFloat(({color} / 255f - mean[c]) / deviation[c])" if floats else f"put({color}.toByte())",
        "tensor": "input.asFloatBuffer(), shape" if floats else "input, shape, OnnxJavaType.UINT8",
    }


def _numbers(values: Sequence[float], ending: str) -> str:
    """As precise as float32 is."""
    return ", ".join(f"{value:.9g}{ending}" for value in values)
