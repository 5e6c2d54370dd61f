"""One network with made-up weights in every form that is timed; latency does not depend on the weights."""

import copy
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from int8_cases import BATCHES, Case
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn
from workload import CLASSES, IMAGE_SIZE, random_dataset, settle_batch_norms

from selectq.config.configs import ActivationScheme, CalibrationConfig, WeightScheme
from selectq.data.normalization import INTEGER_GRID
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.onnx import OPSET
from selectq.export.reference import to_reference
from selectq.networks.build import build_network
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.programs.manifest import INPUT_NAME, OUTPUT_NAME
from selectq.programs.quiet import quiet
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme

SEED = 0
CALIBRATION = CalibrationConfig("train", 128, "minmax", percentile=99.99, averaging=0.1)


class Models:
    """A case's network; a file is written to `folder` when it is first asked for.

    Attributes:
        pixels: uint8 (N, 3, H, W), N the largest batch.
        images: the same normalised, float32, in memory as they are indexed.
        network: in FP32, in evaluation mode, channels last.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        dataset = random_dataset(CALIBRATION.images, torch.device("cpu"))
        calibration_images = INTEGER_GRID(dataset.train.images)
        self._case = case
        self._dataset = dataset
        self._folder = folder
        self.pixels: NDArray[np.uint8] = dataset.train.images[: max(BATCHES)].numpy()
        self.images: NDArray[np.float32] = calibration_images[: max(BATCHES)].contiguous().numpy()
        torch.manual_seed(SEED)
        self.network = build_network(case.config, CLASSES).to(memory_format=torch.channels_last)
        settle_batch_norms(self.network, calibration_images)

    @cached_property
    def int8_onnx(self) -> Path:
        """Our program."""
        path = self._folder / "int8.onnx"
        with quiet():
            write_program(path, to_reference(self._quantized.network), describe_program(self._quantized, IMAGE_SIZE))
        return path

    @cached_property
    def int8_pte(self) -> Path:
        """Our program for ExecuTorch."""
        path = self._folder / "int8.pte"
        with quiet():
            write_program(path, to_reference(self._quantized.network), describe_program(self._quantized, IMAGE_SIZE))
        return path

    @cached_property
    def fp32_onnx(self) -> Path:
        """The FP32 network as torch exports it: takes normalised images."""
        path = self._folder / "fp32.onnx"
        export_onnx(self.network, path)
        return path

    @cached_property
    def static_onnx(self) -> Path:
        """The FP32 file quantized by ONNX Runtime's own tool: uint8 activations, int8 weights per channel."""
        path = self._folder / "static.onnx"
        quantize_static_onnx(self.fp32_onnx, path, self.images)
        return path

    @cached_property
    def _quantized(self) -> QuantizedCheckpoint:
        scheme = Scheme(WeightScheme(8, "channel"), ActivationScheme(8, self._case.symmetric))
        classes, config = self._dataset.classes, self._case.config
        fp32 = Fp32Checkpoint(self.network, config, classes)
        network = quantize(fp32, self._dataset, CALIBRATION, scheme, SEED)
        return QuantizedCheckpoint(self._case.name, network, config, classes, scheme)


class _CalibrationImages(CalibrationDataReader):
    """Hands out float images (N, 3, H, W) as the input `name`, a batch at a time."""

    def __init__(self, images: NDArray[np.float32], name: str) -> None:
        starts = range(0, len(images), CALIBRATION.images)
        self._batches = iter([{name: images[start : start + CALIBRATION.images]} for start in starts])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._batches, None)


def export_onnx(network: nn.Module, path: Path) -> None:
    """An FP32 network as torch exports it: takes normalised images."""
    # Channels last would leave ten nodes of index arithmetic in the file: a handicap for the peer.
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    with quiet():
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE),),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )


def quantize_static_onnx(fp32: Path, path: Path, images: NDArray[np.float32], name: str = INPUT_NAME) -> None:
    """An FP32 file with the input `name`, quantized by ONNX Runtime's own tool: uint8 activations, int8 weights per
    channel."""
    folded = path.with_name("folded.onnx")
    with quiet():
        quant_pre_process(fp32, folded)
        quantize_static(
            folded,
            path,
            _CalibrationImages(images, name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
