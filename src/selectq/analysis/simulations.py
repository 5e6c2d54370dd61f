"""How an audited network is put together and simulated: fused, fused with products that saturate, or not fused."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from selectq.analysis.drift import Simulation
from selectq.analysis.saturation import saturate_products
from selectq.config.configs import ActivationScheme, CalibrationConfig, WeightScheme
from selectq.data.normalization import Normalization
from selectq.graph.bounds import UNBOUNDED
from selectq.graph.capture import capture
from selectq.graph.nodes import Add, AveragePool, Conv, Graph, Linear, Lookup, Mul
from selectq.kernels.simulation import quantized_forward
from selectq.quantization.fake_quantize import Range, fake_quantize, weight_integers
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.quantized import Scheme, insert_quantizers
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.quantization.range_estimation import ESTIMATORS, estimate_ranges
from selectq.quantization.scales import activation_scale, activation_zero_point, weight_scale

Granularity = Literal["tensor", "channel"]

Outputs = tuple[Tensor, Tensor]
"""The head's output (N, C, H, W), and the logits (N, classes)."""

Forward = Callable[[Tensor], Outputs]
"""Float images (N, 3, H, W) to outputs."""

STORING = (Conv, Linear, Add, Mul, AveragePool, Lookup)
"""Operations whose output is stored as integers."""

AVERAGES = (F.adaptive_avg_pool2d, torch.mean, Tensor.mean)
"""What computes an average over all positions."""


@dataclass(frozen=True)
class Simulated:
    """How ranges are estimated, and how activations and weights become integers."""

    calibration: CalibrationConfig
    activations: ActivationScheme
    weight_bits: int


class SimulatedBackend(ABC):
    """A network and its calibrated ranges, which do not depend on how weights are quantized."""

    def __init__(
        self, model: nn.Module, normalization: Normalization, batches: list[Tensor], scheme: Simulated
    ) -> None:
        """Calibrate on `batches`, float (B, 3, H, W) each, of pixels so normalised; `model` is left as it is."""
        self.activations = scheme.activations
        self.weight_bits = scheme.weight_bits
        self.device = next(model.parameters()).device

    @abstractmethod
    def floating(self) -> Forward:
        """The float network's forward pass."""

    @abstractmethod
    def quantized(self, granularity: Granularity) -> Forward:
        """The fake-quantized network's forward pass, with a weight scale per tensor or per output channel."""


class Fused(SimulatedBackend):
    """As the pipeline has it: batch norms folded, activations fused."""

    def __init__(
        self, model: nn.Module, normalization: Normalization, batches: list[Tensor], scheme: Simulated
    ) -> None:
        super().__init__(model, normalization, batches, scheme)
        self.network = fold(model, normalization=normalization).to(memory_format=torch.channels_last)
        self.ranges = estimate_ranges(self.network, lambda: batches, scheme.calibration, scheme.activations)

    def floating(self) -> Forward:
        """See the base."""
        return _with_head(self.network, self.network)

    def quantized(self, granularity: Granularity) -> Forward:
        """See the base."""
        network = self._insert_quantizers(granularity)
        return _with_head(network, quantized_forward(network, self.device))

    def _insert_quantizers(self, granularity: Granularity) -> Network:
        network = copy.deepcopy(self.network)
        insert_quantizers(network, Scheme(WeightScheme(self.weight_bits, granularity), self.activations), self.ranges)
        return network.eval()


class Saturating(Fused):
    """`Fused`, on a processor that adds two products in 16 bits."""

    def quantized(self, granularity: Granularity) -> Forward:
        """See the base."""
        network = self._insert_quantizers(granularity)
        saturate_products(network)
        return _with_head(network, network)


def _with_head(network: Network, simulation: Simulation) -> Forward:
    head = network[network.graph.head.name]

    def forward(images: Tensor) -> Outputs:
        heads: list[Tensor] = []

        def watch(module: nn.Module, output: Tensor) -> None:
            if module is head:
                heads.append(output)

        logits = simulation.watched(images, watch)
        return heads[0], logits

    return forward


class Unfused(SimulatedBackend):
    """The user's own modules: every layer, batch norm, sum, product, average and elementwise function that is a module
    stores its output as integers, and the classifier's input is stored.

    The batch norm's affine map is computed in float, and its output is stored before the activation function clamps
    it. A batch norm in training mode uses the statistics of the batch, here and in calibration.
    """

    def __init__(
        self, model: nn.Module, normalization: Normalization, batches: list[Tensor], scheme: Simulated
    ) -> None:
        super().__init__(model, normalization, batches, scheme)
        self.model = copy.deepcopy(model).to(memory_format=torch.channels_last)
        self.graph = capture(model)
        self.ranges = self._calibrate(batches, scheme.calibration)

    def floating(self) -> Forward:
        """See the base."""
        return _plainly(self.model, self.graph)

    @torch.no_grad()
    def quantized(self, granularity: Granularity) -> Forward:
        """See the base."""
        model, scheme = copy.deepcopy(self.model), WeightScheme(self.weight_bits, granularity)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                scale = weight_scale(layer.weight, scheme)
                layer.weight.copy_(fake_quantize(layer.weight, scale, torch.zeros_like(scale), weight_integers(scheme)))
        quantizers = []
        for low, high in self.ranges:
            quantizers.append(ActivationQuantizer(self.activations, UNBOUNDED, low, high))
            quantizers[-1].scale.copy_(activation_scale(low, high, self.activations))
            quantizers[-1].zero_point.copy_(activation_zero_point(low, quantizers[-1].scale, self.activations))
        self._store(model, quantizers)
        return _plainly(model, self.graph)

    @torch.no_grad()
    def _calibrate(self, batches: Iterable[Tensor], calibration: CalibrationConfig) -> list[Range]:
        """The range of everything stored."""
        model, estimator_type = copy.deepcopy(self.model), ESTIMATORS[calibration.estimator]
        count = len(self._stored(model)) + 1
        estimators = [estimator_type(UNBOUNDED, calibration, self.activations) for _ in range(count)]
        self._store(model, estimators)
        for index in range(estimator_type.passes):
            for estimator in estimators:
                estimator.pass_index = index
            for batch in batches:
                model(batch)
        return [estimator.estimate() for estimator in estimators]

    def _stored(self, model: nn.Module) -> list[nn.Module]:
        """The modules whose output is stored as integers: all but the classifier, which gives the logits."""
        stored = {node.name for node in self.graph.nodes[:-1] if isinstance(node.operation, STORING)}
        return [
            module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d) or name in stored
        ]

    def _store(self, model: nn.Module, changes: Sequence[nn.Module]) -> None:
        """Have a change applied to everything that is stored, that of the classifier's input last."""
        *of_outputs, of_input = changes
        for module, change in zip(self._stored(model), of_outputs, strict=True):
            module.register_forward_hook(lambda module, inputs, output, change=change: change(output))
        *_, classifier = (node.name for node in self.graph.layers())
        model.get_submodule(classifier).register_forward_pre_hook(lambda module, inputs: (of_input(inputs[0]),))


class _LastRead(TorchFunctionMode):
    """Keeps what `Graph.head` puts out, whatever module or function it is."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        averages = any(
            node.inputs == (graph.head.name,) for node in graph.nodes if isinstance(node.operation, AveragePool)
        )
        self._readers = AVERAGES if averages else (F.linear, torch.conv2d)
        self.kept = torch.empty(0)

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Call a function of torch's."""
        if function in self._readers:
            self.kept = arguments[0]
        return function(*arguments, **(named or {}))


def _plainly(model: nn.Module, graph: Graph) -> Forward:
    """The model itself."""

    def forward(images: Tensor) -> Outputs:
        with _LastRead(graph) as read:
            logits = model(images)
        return read.kept, logits

    return forward
