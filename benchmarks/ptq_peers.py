"""Sides of `bench_ptq.py`: other tools quantize the same FP32 network, each simulated by its own modules.

Each function takes a `Task` and gives what is called on images. Bit widths are those of the setting, layer by layer;
weights are per channel, activations asymmetric, as ours. Brevitas is no dependency: `pip install brevitas==0.13.4`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx, nn

from selectq.config.configs import ActivationScheme, WeightScheme, width_of
from selectq.graph.nodes import Graph

BATCH_IMAGES = 32

WIDTH_OF_OTHERS = 8
"""Bits of what a tool stores beside the outputs of the network's own modules: sums, and what pools."""


@dataclass(frozen=True)
class Task:
    """What a peer is given.

    Attributes:
        model: the FP32 network in evaluation mode, a copy that may be changed.
        graph: of the model.
        batches: the calibration images, float (32, 3, H, W) each, in memory as they are indexed.
        weights, activations: the bit widths.
    """

    model: nn.Module
    graph: Graph
    batches: list[Tensor]
    weights: WeightScheme
    activations: ActivationScheme

    @cached_property
    def weight_bits(self) -> dict[str, int]:
        """Layer's module -> bits."""
        return {node.name: width_of(self.weights.bits, node.kind, node.name) for node in self.graph.layers()}

    @cached_property
    def activation_bits(self) -> dict[str, int]:
        """Module -> bits of what is stored once it has run: an activation function shares those of its layer."""
        stored = {node.name: width_of(self.activations.bits, node.kind, node.name) for node in self.graph.nodes[1:]}
        found = dict[str, int]()
        for node in fx.symbolic_trace(self.model).graph.nodes:
            if node.op == "call_module":
                before = [found[str(each.target)] for each in node.all_input_nodes if str(each.target) in found]
                found[str(node.target)] = stored.get(str(node.target), *before[:1] or [WIDTH_OF_OTHERS])
        return found

    def is_expressible(self) -> bool:
        """Whether all that has fewer bits than `WIDTH_OF_OTHERS` is the output of a module that computes once."""
        narrow = [node for node in self.graph.nodes[1:] if not node.is_layer]
        return all(width_of(self.activations.bits, node.kind, node.name) == WIDTH_OF_OTHERS for node in narrow)


Quantized = Callable[[Tensor], Tensor]
Peer = Callable[[Task], Quantized]


def brevitas(task: Task) -> Quantized:
    """Brevitas' own example: equalized, calibrated, its biases corrected.

    Ranges are percentiles: by their squared error, a batch takes it half a minute. Its quantizer knows ReLU, not
    ReLU6: what goes into that is clamped before.
    """
    from brevitas.graph.quantize import preprocess_for_quantize  # noqa: PLC0415  # no dependency
    from brevitas_examples.imagenet_classification.ptq import ptq_common as example  # noqa: PLC0415

    clamps = {name for name, module in task.model.named_modules() if isinstance(module, nn.ReLU6)}
    model = example.quantize_model(
        preprocess_for_quantize(task.model, equalize_iters=20, relu6_to_relu=False),
        backend="fx",
        weight_bit_width=WIDTH_OF_OTHERS,
        act_bit_width=WIDTH_OF_OTHERS,
        bias_bit_width=32,
        weight_quant_granularity="per_channel",
        weight_narrow_range=True,
        act_quant_percentile=99.999,
        act_quant_type="asym",
        scale_factor_type="float_scale",
        quant_format="int",
    ).eval()
    for name, module in model.named_modules():
        if name in clamps:
            module.register_forward_pre_hook(lambda _, inputs: tuple(each.clamp(max=6) for each in inputs))
        for quantizer, bits in (("weight_quant", task.weight_bits), ("act_quant", task.activation_bits)):
            if hasattr(module, quantizer) and name in bits:
                _set_brevitas_bits(getattr(module, quantizer), bits[name])
    loader = [(batch, None) for batch in task.batches]
    with torch.no_grad():
        model(task.batches[0])
    example.calibrate(loader, model)
    example.apply_bias_correction(loader, model)
    evaluated: Quantized = model.eval()
    return evaluated


def _set_brevitas_bits(quantizer: nn.Module, bits: int) -> None:
    for module in quantizer.modules():
        if type(module).__name__ == "BitWidthConst":
            module.bit_width.value.fill_(bits)


PEERS: dict[tuple[str, str], Peer] = {
    ("brevitas", "equalize + correct_bias"): brevitas,
}
"""Package and method -> what quantizes."""
