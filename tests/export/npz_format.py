"""A format of another package, which docs/extend.md shows: integer codes in an .npz, computed by NumPy."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from selectq.errors import UserError
from selectq.export.reference import ReferenceNetwork
from selectq.graph.nodes import Add, AveragePool, Conv, Flatten, Graph, Linear
from selectq.graph.nodes import Input as Images
from selectq.programs.format import BIASES, SCALES, WEIGHTS, Format, Program
from selectq.programs.manifest import Input, Manifest


class Npz(Format):
    ending, title, runtime, package = "npz", "NumPy archive of integer codes", "NumPy", "numpy"
    in_float = "all arithmetic, between integers that are stored"

    def refuse(self, graph: Graph) -> None:
        for node in graph.nodes:
            if not isinstance(node.operation, Images | Conv | Linear | Add | AveragePool | Flatten):
                raise UserError(f"formats: npz: {node.name} is nothing that it computes. Leave npz out")

    def write(self, reference: ReferenceNetwork, manifest: Manifest) -> bytes:
        if manifest.input != Input():
            raise UserError("export: npz takes uint8 images, nchw. Leave npz out")
        steps, tensors = integers_of(reference.network)
        file = io.BytesIO()
        np.savez_compressed(file, manifest=manifest.to_json(), steps=json.dumps(steps), **tensors)
        return file.getvalue()

    def open(self, path: Path) -> Program:
        with np.load(path) as file:
            tensors = dict(file)
        manifest, steps = Manifest.from_json(str(tensors["manifest"]), str(path)), json.loads(str(tensors["steps"]))
        return Program(manifest, lambda images: compute(steps, tensors, images))

    def parts(self, path: Path) -> Iterator[tuple[str, int]]:
        roles = {"weight.npy": WEIGHTS, "bias.npy": BIASES, "scale.npy": SCALES}
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                yield from ((role, entry.compress_size) for end, role in roles.items() if entry.filename.endswith(end))


def integers_of(network: Any) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """What is computed, step by step, and the parameters' integer codes and scales."""
    steps = [{"name": "pixels", "scale": network.pixel_scale, "zero_point": network.pixel_zero_point}]
    tensors = {}
    for node in network.graph.nodes[1:]:
        module, kind = network[node.name], type(node.operation).__name__
        step = {"name": node.name, "kind": kind, "inputs": node.inputs}
        if getattr(module, "stored", False):
            stored = module.activation
            ends = {"low": stored.integers.quant_min, "high": stored.integers.quant_max}
            step |= {"scale": stored.scale, "zero_point": stored.zero_point, **ends}
        if kind in ("Conv", "Linear"):
            read = module.weight_quantizer
            parts = (module.weight.detach(), read.weight_scales(), module.bias.detach(), read.bias_scales())
            names = ("weight", "weight_scale", "bias", "bias_scale")
            tensors |= {f"{node.name}.{name}": part.numpy() for name, part in zip(names, parts, strict=True)}
        if kind == "Conv":
            step |= {"stride": module.stride[0], "padding": module.padding[0], "groups": module.groups}
        steps.append(step)
    return steps, tensors


def compute(steps: list[dict[str, Any]], tensors: dict[str, NDArray[Any]], pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """uint8 (N, 3, H, W) -> float32 (N, classes)."""
    values = {"pixels": (pixels - np.float32(steps[0]["zero_point"])) * np.float32(steps[0]["scale"])}
    for step in steps[1:]:
        x, *others = (values[name] for name in step["inputs"])
        if step["kind"] in ("Conv", "Linear"):
            names = ("weight", "weight_scale", "bias", "bias_scale")
            y = layer(x, step, *(tensors[f"{step['name']}.{name}"] for name in names))
        elif step["kind"] == "Add":
            y = x + others[0]
        else:
            y = x.mean((2, 3), keepdims=True) if step["kind"] == "AveragePool" else x.reshape(len(x), -1)
        if "scale" in step:
            codes = np.rint(y / np.float32(step["scale"])) + step["zero_point"]
            y = (codes.clip(step["low"], step["high"]) - step["zero_point"]) * np.float32(step["scale"])
        values[step["name"]] = y.astype(np.float32)
    return values[steps[-1]["name"]]


def layer(x: NDArray[Any], step: dict[str, Any], *parameters: NDArray[Any]) -> NDArray[Any]:
    """A convolution, or a fully connected layer."""
    weight, weight_scale, bias, bias_scale = parameters
    weight, bias = (weight.T * weight_scale).T, bias * bias_scale
    if step["kind"] == "Linear":
        return x @ weight.T + bias
    stride, padding, groups = step["stride"], step["padding"], step["groups"]
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(x, weight.shape[2:], (2, 3))[:, :, ::stride, ::stride]  # (N, C, H, W, kH, kW)
    windows = windows.reshape(len(x), groups, -1, *windows.shape[2:])
    y = np.einsum("ngihwkl,goikl->ngohw", windows, weight.reshape(groups, -1, *weight.shape[1:]), optimize=True)
    return y.reshape(len(x), len(bias), *y.shape[3:]) + bias[:, None, None]
