"""What is compared with what, and the ratios that are aimed at."""

from collections.abc import Mapping
from dataclasses import dataclass

from selectq.config.configs import ModelConfig, NormalizationConfig

BATCHES = (1, 64)

ORT_FP32 = "ONNX Runtime FP32"
ORT_STATIC = "ONNX Runtime quantize_static"
EAGER = "PyTorch eager FP32"
COMPILED = "torch.compile FP32"
PT2E = "torchao pt2e, compiled"
OPENVINO_FP32 = "OpenVINO FP32"
OPENVINO_INT8 = "OpenVINO, our ONNX program"
EXECUTORCH = "ExecuTorch, our .pte program"

QUICK_TO_PREPARE = (ORT_FP32, ORT_STATIC, EAGER)
ALL_PEERS = (*QUICK_TO_PREPARE, COMPILED, PT2E, OPENVINO_FP32, OPENVINO_INT8, EXECUTORCH)

NEVER_SLOWER = 0.98
"""Goal against the runtime's own quantizer: as fast, less what two measurements of the same thing differ by."""


@dataclass(frozen=True)
class Setting:
    """How many images one inference takes, and on how many threads it runs."""

    batch: int
    threads: int


@dataclass(frozen=True)
class Case:
    """One network and what our program of it is held against.

    Attributes:
        name: in the table.
        strides_removed: how many of MobileNetV2's first strides are 1.
        symmetric: whether activation ranges are symmetric about 0.
        peers: names, in the order of their turns.
        fp32_goals: batch -> least ratio to ONNX Runtime FP32 on one thread.
        static_goal: least ratio to ONNX Runtime's `quantize_static`, in every setting.
    """

    name: str
    strides_removed: int
    symmetric: bool
    peers: tuple[str, ...]
    fp32_goals: Mapping[int, float]
    static_goal: float | None

    @property
    def config(self) -> ModelConfig:
        """The network's geometry."""
        return ModelConfig(
            network="mobilenet_v2",
            network_sha256=None,
            arguments={},
            strides_removed=self.strides_removed,
            activation="relu",
            normalization=NormalizationConfig((128 / 255,) * 3, (64 / 255,) * 3),
            weights="none",
            weights_sha256=None,
            trained=None,
            trained_sha256=None,
            new_classifier=False,
        )

    def goal(self, peer: str, setting: Setting) -> float | None:
        """The least ratio of images/s that is aimed at on a CPU with VNNI; None where nothing is."""
        if peer == ORT_STATIC:
            return self.static_goal
        return self.fp32_goals.get(setting.batch) if peer == ORT_FP32 and setting.threads == 1 else None


CASES = (
    Case("asymmetric", 1, False, ALL_PEERS, {1: 1.6, 64: 2.3}, NEVER_SLOWER),
    Case("asymmetric_stride_1", 2, False, QUICK_TO_PREPARE, {1: 2.1, 64: 3.0}, NEVER_SLOWER),
    Case("symmetric", 1, True, QUICK_TO_PREPARE, {}, None),
)
