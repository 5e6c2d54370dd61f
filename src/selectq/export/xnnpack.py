"""The reference form in XNNPACK's terms, and its lowering by ExecuTorch: what `.pte` files are written from.

XNNPACK stores activations as int8, takes biases in floating point (and rounds them to the very codes they came from),
fuses an activation function that stands before the quantizer, and has neither an integer average nor an integer layer
with a float result: pooling and classifier, alone, compute in float32.
"""

import copy

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from selectq.errors import UserError
from selectq.export.exported import export_program
from selectq.export.reference import (
    UINT8,
    DequantizeParameters,
    DequantizePerChannel,
    QuantizeDequantize,
    ReferenceNetwork,
)
from selectq.files import METADATA_KEY
from selectq.graph.nodes import Flatten
from selectq.programs.manifest import Manifest
from selectq.programs.quiet import quiet
from selectq.quantization.fake_quantize import IntegerRange
from selectq.quantization.network import Identity, Layer, LinearNode, MoveNode, Network, Site

FACTOR_LIMIT = 256
"""XNNPACK multiplies accumulators by less than this; a program with more is written, and cannot be loaded."""

_ops = torch.ops.quantized_decomposed
_SHIFT = 128
"""From uint8 codes to int8 codes."""


class SignedQuantizeDequantize(nn.Module):
    """`QuantizeDequantize` in int8. `hardtanh`, which XNNPACK fuses, clamps where the integer range is smaller."""

    def __init__(self, scale: float, zero_point: int, integers: IntegerRange) -> None:
        super().__init__()
        self.scale = scale
        self.zero_point = zero_point - _SHIFT
        self.whole = integers == UINT8
        self.low, self.high = ((level - zero_point) * scale for level in (integers.quant_min, integers.quant_max))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape, float32 on the grid."""
        if not self.whole:
            x = nn.functional.hardtanh(x, self.low, self.high)
        codes = _ops.quantize_per_tensor(x, self.scale, self.zero_point, -128, 127, torch.int8)
        return _ops.dequantize_per_tensor(codes, self.scale, self.zero_point, -128, 127, torch.int8)


class StoredMove(nn.Module):
    """A node that moves values, and stores them: XNNPACK takes no layer that reads something else than integers."""

    def __init__(self, move: MoveNode, store: SignedQuantizeDequantize) -> None:
        super().__init__()
        self.move, self.store = move, store

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the node; values on the grid stay as they are."""
        moved: Tensor = self.store(self.move(*inputs))
        return moved


class DequantizeWeight(nn.Module):
    """A layer's int8 weight to float32, with a scale for each output channel; its bias is float32 already."""

    def __init__(self, scales: Tensor) -> None:
        super().__init__()
        self.weight = DequantizePerChannel(scales)

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(O, I, kH, kW) and (O,), to the same shapes."""
        return self.weight(weight), bias


class XnnpackNetwork(nn.Module):
    """uint8 pixels (N, 3, H, W) -> float logits (N, classes), in the operators that XNNPACK knows."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.store_pixels = _pixels_store(network)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, classes)."""
        values = (pixels.to(torch.float32) - self.network.pixel_zero_point) * self.network.pixel_scale
        return self.network(self.store_pixels(values))


def to_xnnpack(reference: ReferenceNetwork) -> XnnpackNetwork:
    """The same integer network in XNNPACK's terms; the reference form is left as it is.

    Raises:
        UserError: XNNPACK would refuse a layer when the program is loaded.
    """
    _check_factors(reference.network)
    network = copy.deepcopy(reference.network)
    for layer in [*network.normalizations(), *network.layers()]:
        _store_parameters(layer)
    stored = {site.name: _stored(site) for site in network.sites()}
    for site in network.sites():
        site.activation = _signed(stored[site.name])
    for move in [module for module in network.parts.values() if isinstance(module, MoveNode)]:
        if not isinstance(move.node.operation, Flatten) or move.node is network.graph.output:
            source = network.source(move.name)
            store = _pixels_store(network) if source is None else _signed(stored[source.name])
            network.parts[move.name.replace(".", "/")] = StoredMove(move, store)
    return XnnpackNetwork(network).eval()


def _stored(site: Site) -> QuantizeDequantize:
    assert isinstance(site.activation, QuantizeDequantize)
    return site.activation


def _pixels_store(network: Network) -> SignedQuantizeDequantize:
    return SignedQuantizeDequantize(network.pixel_scale, network.pixel_zero_point, UINT8)


def _signed(stored: QuantizeDequantize) -> SignedQuantizeDequantize:
    return SignedQuantizeDequantize(stored.scale, stored.zero_point, stored.integers)


@torch.no_grad()
def _store_parameters(layer: Layer) -> None:
    parameters = layer.weight_quantizer
    assert isinstance(parameters, DequantizeParameters)
    weight, bias = parameters(layer.weight, layer.bias)
    layer.bias = nn.Parameter(bias, requires_grad=False)
    if isinstance(layer, LinearNode):
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer.weight_quantizer = Identity()
        return
    layer.weight_quantizer = DequantizeWeight(parameters.weight_scales().expand(len(bias)).contiguous())


def _check_factors(network: Network) -> None:
    for layer, source in network.inputs():
        if isinstance(layer, LinearNode):
            continue  # computes in floating point
        assert isinstance(layer.weight_quantizer, DequantizeParameters)
        input_scale = network.pixel_scale if source is None else _stored(source).scale
        factor = (layer.weight_quantizer.weight_scales() * input_scale / _stored(layer).scale).max().item()
        if factor >= FACTOR_LIMIT:
            raise UserError(
                f"formats: pte: {layer.name} puts out too small values for XNNPACK: one step of its accumulator is"
                f" {factor:.3g} steps of its output; allowed: below {FACTOR_LIMIT}. Leave pte out"
            )


def lower(network: XnnpackNetwork, manifest: Manifest, largest_batch: int) -> bytes:
    """A network in XNNPACK's terms as the bytes of a `.pte` file.

    Raises:
        UserError: ExecuTorch is not installed, or has not what a node computes.
    """
    with quiet():
        try:
            from executorch import exir  # noqa: PLC0415  # an optional extra, slow to import
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # noqa: PLC0415
            from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass  # noqa: PLC0415
        except ImportError:
            raise UserError("formats: pte needs ExecuTorch; install selectq[executorch], or leave pte out") from None
        program = export_program(network, manifest, network.network.normalization, largest_batch, largest_batch)
        _dequantize_for_each_reader(program)
        settings = exir.ExecutorchBackendConfig(sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass())
        try:
            edge = exir.to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()], constant_methods={METADATA_KEY: manifest.to_json()}
            )
            return bytes(edge.to_executorch(settings).buffer)
        except RuntimeError as error:  # an operator that XNNPACK has not, and ExecuTorch's own kernels neither
            raise UserError(f"formats: pte: ExecuTorch cannot lower the network ({error}). Leave pte out") from None


def _dequantize_for_each_reader(program: ExportedProgram) -> None:
    """Give every reader of a stored value its own dequantize node: XNNPACK takes it in with the reader."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target == _ops.dequantize_per_tensor.default:
            for reader in list(node.users)[1:]:
                with graph.inserting_before(reader):
                    reader.replace_input_with(node, graph.node_copy(node))
    program.graph_module.recompile()
