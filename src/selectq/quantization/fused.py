"""MobileNetV2 as the integer hardware runs it: every convolution with its batch norm folded in and its activation
fused, and a named place wherever a tensor will be stored as integers.

One network serves every stage. In float its places hold the activation functions, and weights are used unchanged.
Calibration puts observers into the places; quantization puts quantizers there and before the weights; export stores
integers and puts in quantize and dequantize operators.
"""

from collections.abc import Callable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from selectq.networks.activations import UNBOUNDED, Bounds


class FloatActivation(nn.Module):
    """The activation function itself, as a clamp."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        self.bounds = bounds

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if self.bounds == UNBOUNDED:
            return x
        return x.clamp(self.bounds.low, self.bounds.high)


class AsTheyAre(nn.Module):
    """The identity, in place of a weight quantizer: the float form uses a layer's parameters unchanged."""

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias, unchanged."""
        return weight, bias


class Place(nn.Module):
    """Base of the modules whose output is stored as integers.

    Attributes:
        name: the FP32 network's module whose output this is.
        kind: the layer kind that produces it, or `block` for a residual sum, `pool` for the average.
        bounds: of the activation function.
        activation: turns the raw output into the stored one; replaced from form to form.
    """

    def __init__(self, name: str, kind: str, bounds: Bounds) -> None:
        super().__init__()
        self.name = name
        self.kind = kind
        self.bounds = bounds
        self.activation: nn.Module = FloatActivation(bounds)


class FusedConv2d(Place):
    """Convolution, folded batch norm, activation: (N, I, H, W) -> (N, O, H', W').

    `sources` names the FP32 parameters that went into `weight` and into `bias`.
    """

    def __init__(
        self, name: str, kind: str, bounds: Bounds, conv: nn.Conv2d, sources: dict[str, tuple[str, ...]]
    ) -> None:
        super().__init__(name, kind, bounds)
        self.weight = nn.Parameter(conv.weight.detach().clone())  # (O, I / groups, kH, kW)
        self.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))  # (O,)
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups
        self.sources = sources
        self.read_parameters: nn.Module = AsTheyAre()

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, H, W) -> (N, O, H', W')."""
        weight, bias = self.read_parameters(self.weight, self.bias)
        return self.activation(F.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups))


class FusedBlock(Place):
    """An inverted residual block; its sum, where it has one, is stored as integers again."""

    def __init__(self, name: str, layers: list[FusedConv2d], residual: bool) -> None:
        super().__init__(name, "block", UNBOUNDED)
        self.layers = nn.Sequential(*layers)
        self.residual = residual

    def convolutions(self) -> list[FusedConv2d]:
        """Expansion (in all blocks but the first), depthwise, projection."""
        return [layer for layer in self.layers if isinstance(layer, FusedConv2d)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, H, W) -> (N, O, H', W')."""
        y = self.layers(x)
        return self.activation(x + y) if self.residual else y


class FusedPool(Place):
    """Average over the feature map: (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return self.activation(F.avg_pool2d(x, x.shape[-2:]))


class FusedLinear(nn.Module):
    """The classifier: (N, C) -> logits (N, classes), not stored as integers but taken from the accumulators."""

    def __init__(self, name: str, linear: nn.Linear) -> None:
        super().__init__()
        self.name = name
        self.kind = "classifier"
        self.weight = nn.Parameter(linear.weight.detach().clone())  # (O, I)
        self.bias = nn.Parameter(linear.bias.detach().clone())  # (O,)
        self.sources: dict[str, tuple[str, ...]] = {"weight": (f"{name}.weight",), "bias": (f"{name}.bias",)}
        self.read_parameters: nn.Module = AsTheyAre()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, classes)."""
        return F.linear(x, *self.read_parameters(self.weight, self.bias))


FusedLayer = FusedConv2d | FusedLinear

Watch = Callable[[nn.Module, Tensor], None]
"""Is shown a block or a layer, and what it put out: (N, C, H, W), or logits."""


class FusedMobileNetV2(nn.Module):
    """The whole network: float pixels (N, 3, H, W) -> logits (N, classes). Pixels lie on an 8-bit grid already."""

    def __init__(self, features: list[FusedConv2d | FusedBlock], pool: FusedPool, classifier: FusedLinear) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.pool = pool
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        return self.classifier(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> what the classifier reads, (N, C)."""
        return self.pool(self.features(x)).flatten(1)

    def watched(self, x: Tensor, watch: Watch) -> Tensor:
        """The forward pass, in which `watch` is shown every block and layer."""
        modules = {*self.blocks(), *self.fused_layers()}
        handles = [
            module.register_forward_hook(lambda module, inputs, output: watch(module, output)) for module in modules
        ]
        logits: Tensor = self(x)
        for handle in handles:
            handle.remove()
        return logits

    def part(self, module: FusedConv2d | FusedBlock | FusedLinear, x: Tensor) -> Tensor:
        """The output of one block or layer for its input: (N, C, H, W), or (N, C) for the classifier."""
        y: Tensor = module(x)
        return y

    def fused_layers(self) -> Iterator[FusedLayer]:
        """The convolutions and the classifier, in network order."""
        return (module for module in self.modules() if isinstance(module, FusedConv2d | FusedLinear))

    def inputs(self) -> Iterator[tuple[FusedLayer, Place | None]]:
        """Every layer, in network order, with the place whose stored output it reads; None for the pixels."""
        source: Place | None = None
        for block in self.blocks():
            for layer in block.convolutions() if isinstance(block, FusedBlock) else [block]:
                yield layer, source
                source = layer
            if isinstance(block, FusedBlock) and block.residual:
                source = block
        yield self.classifier, self.pool

    def sums(self) -> Iterator[list[Place]]:
        """The places that meet in residual sums: what goes into the first of consecutive sums, then summand and sum
        of each block."""
        meeting: list[Place] = []
        source: Place | None = None
        for block in self.blocks():
            last = block.convolutions()[-1] if isinstance(block, FusedBlock) else block
            if isinstance(block, FusedBlock) and block.residual:
                assert source is not None
                meeting = [*(meeting or [source]), last, block]
                source = block
            else:
                yield from [meeting] if meeting else []
                meeting, source = [], last

    def places(self) -> Iterator[Place]:
        """Everything whose output is stored as integers, in network order of their definition."""
        for module in self.modules():
            if isinstance(module, Place) and not (isinstance(module, FusedBlock) and not module.residual):
                yield module

    def in_order(self) -> Iterator[Place]:
        """The places in the order in which the network computes them."""
        for block in self.blocks():
            if isinstance(block, FusedBlock):
                yield from block.convolutions()
            if not isinstance(block, FusedBlock) or block.residual:
                yield block
        yield self.pool

    def blocks(self) -> list[FusedConv2d | FusedBlock]:
        """The children of `features`: stem, the 17 inverted residual blocks, head."""
        return [block for block in self.features if isinstance(block, FusedConv2d | FusedBlock)]
