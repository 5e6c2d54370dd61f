"""Scopes: which parameters of the FP32 network may learn, and what that means for its fused form."""

from collections.abc import Iterable, Mapping

from torch import nn
from torchvision.models import MobileNetV2

from selectq.errors import UserError
from selectq.graph.nodes import Add
from selectq.networks.mobilenetv2 import parameter_kinds
from selectq.params.configs import LAYER_KINDS
from selectq.quantization.network import Network, NodeModule, Site
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.quantization.scale_assignment import quantizer_of


def parameters_in_scope(model: MobileNetV2, scope: Iterable[str]) -> frozenset[str]:
    """The names of the FP32 parameters that a scope lets learn.

    An entry is a layer kind, `all`, or a module name: the parameters below it. A convolution's kind does not take in
    its batch norm; that is the kind `batchnorm`, part of `all`. This gives the paper's shares (its Table 1).

    Raises:
        UserError: an entry names no layer kind and no module with parameters.
    """
    kinds = parameter_kinds(model)
    chosen: set[str] = set()
    for entry in scope:
        wanted = LAYER_KINDS if entry == "all" else (entry,)
        found = {name for name, kind in kinds.items() if kind in wanted or name.startswith(f"{entry}.")}
        if not found:
            raise UserError(
                f"scope: {entry!r} names no layer; allowed: all, {', '.join(LAYER_KINDS)}, or a module name"
            )
        chosen |= found
    return frozenset(chosen)


def count_parameters(model: MobileNetV2, names: frozenset[str]) -> int:
    """How many numbers the named parameters hold, before batch-norm folding."""
    return sum(parameter.numel() for name, parameter in model.named_parameters() if name in names)


def freeze_outside(network: Network, names: frozenset[str]) -> list[nn.Parameter]:
    """Let only what came from the named FP32 parameters learn; return those fused parameters, in network order."""
    learning = []
    for layer in network.layers():
        for part, parameter in (("weight", layer.weight), ("bias", layer.bias)):
            parameter.requires_grad_(not names.isdisjoint(layer.sources[part]))
            if parameter.requires_grad:
                learning.append(parameter)
    return learning


def quantizers_in_scope(network: Network) -> list[ActivationQuantizer]:
    """The activation quantizers whose range may follow the data: those fed by a layer that learns.

    A sum goes with the layer that was computed last of those that feed it, any other site with what it reads first.
    """
    following, learns = [], dict[str, bool]()
    for name, module in ((node.name, network[node.name]) for node in network.graph.nodes[1:]):
        learns[name] = _learns(module, learns)
        if isinstance(module, Site) and module.stored and learns[name]:
            following.append(quantizer_of(module))
    return following


def _learns(module: NodeModule, learns: Mapping[str, bool]) -> bool:
    """Whether a node's own parameters learn, or those of the layer that its range goes with."""
    if module.node.is_layer:
        return any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    latest = list(learns)
    sources = sorted(module.node.inputs, key=lambda name: latest.index(name) if name in learns else -1)
    decides = sources[-1] if isinstance(module.node.operation, Add) else module.node.inputs[0]
    return learns.get(decides, False)
