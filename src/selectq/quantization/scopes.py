"""Scopes: which parameters of the FP32 network may learn, and what that means for its fused form."""

from collections.abc import Collection, Iterable, Mapping

from torch import nn

from selectq.config.configs import (
    KINDS,
    LAYER_KINDS,
    STORING_KINDS,
    AuditConfig,
    Params,
    PtqConfig,
    QatConfig,
    width_of,
)
from selectq.errors import UserError, with_closest
from selectq.graph.capture import capture
from selectq.graph.chains import chains
from selectq.graph.nodes import MOVES, Add, Graph, Input
from selectq.graph.parameters import inspected_convolutions, parameter_kinds
from selectq.networks.range_skew import require_chains
from selectq.quantization.network import Network, NodeModule, Site
from selectq.quantization.quantized import Scheme
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.quantization.scale_assignment import quantizer_of
from selectq.quantization.scale_groups import shared_scales

NEEDED = {
    "range_skew": "channel whose scale is free",
    "outlier_channel": "channel whose scale is free",
    "outlier_weight": "channel whose scale is free",
    "batch_norm": "batch norm",
    "statistics_batches": "batch norm",
    "activation_function": "ReLU",
}
"""Flaw -> what it is a flaw of."""


def parameters_in_scope(model: nn.Module, scope: Iterable[str], graph: Graph | None = None) -> frozenset[str]:
    """The names of the FP32 parameters that a scope lets learn.

    An entry is a layer kind, `all`, or the name of a module, for the parameters below it, or of one parameter. A
    convolution's kind does not take in its batch norm; that is the kind `batchnorm`, part of `all`. This gives the
    paper's shares (its Table 1).

    Args:
        model: the FP32 network.
        scope: the entries.
        graph: of the model, where it is at hand.

    Raises:
        UserError: an entry names no layer kind and no module with parameters that the network has.
    """
    kinds = parameter_kinds(model, graph)
    chosen: set[str] = set()
    for entry in scope:
        if entry in LAYER_KINDS or entry == "all":  # also where a module is called so: `classifier` often holds more
            found = {name for name, kind in kinds.items() if entry in (kind, "all")}
        else:
            found = {name for name in kinds if f"{name}.".startswith(f"{entry}.")}
        if not found:
            has = _in_order(kinds.values())
            alike = "" if entry in LAYER_KINDS else with_closest(entry, [*has, *_modules(kinds)])
            raise UserError(
                f"scope: {entry!r} names no layer of {type(model).__name__}; it has: {', '.join(has)}{alike}"
            )
        chosen |= found
    return frozenset(chosen)


def check_network(model: nn.Module, params: Params) -> None:
    """Refuse parameters that name what a network has not, before anything is trained.

    Raises:
        UserError: the first such key.
    """
    graph = capture(model)
    if params.range_skew:
        require_chains(graph, params.range_skew)
    configs: dict[str, PtqConfig | QatConfig] = {f"ptq.{name}": config for name, config in params.ptq.items()}
    configs |= {f"qat.{name}": config for name, config in params.qat.items()}
    for key, config in configs.items():
        try:
            require_kinds(graph, Scheme(config.weights, config.activations))
            parameters_in_scope(model, config.scope if isinstance(config, QatConfig) else (), graph)
        except UserError as error:
            raise UserError(f"{key}.{error}") from None
    inspected_convolutions(graph, params.drift.inspect)
    check_flaws(model, graph, params.audit)


def check_flaws(model: nn.Module, graph: Graph, audit: AuditConfig) -> None:
    """Refuse flaws that a network cannot have.

    Raises:
        UserError: names one, and what the network lacks for it.
    """
    kinds = {type(module) for module in model.modules()}
    lacks = {
        "channel whose scale is free": not chains(graph),
        "batch norm": not any(issubclass(kind, nn.BatchNorm2d) for kind in kinds),
        "ReLU": not kinds & {nn.ReLU, nn.ReLU6},
    }
    for flaw, needed in NEEDED.items():
        if lacks[needed] and (getattr(audit.flaws, flaw) or any(flaw in each for each in audit.combined)):
            raise UserError(
                f"audit.flaws.{flaw}: this network has no {needed}; allowed: [], and no {flaw} in audit.combined"
            )


def require_kinds(graph: Graph, scheme: Scheme) -> None:
    """Refuse bit widths for a kind or a layer that a network has not, and different ones for what shares a scale.

    Raises:
        UserError: names it, the kinds that there are, and the layers that are called alike.
    """
    storing = [node for node in graph.nodes[:-1] if not isinstance(node.operation, (Input, *MOVES))]
    for part, bits, nodes in (
        ("weights", scheme.weights.bits, [*graph.layers()]),
        ("activations", scheme.activations.bits, storing),
    ):
        kinds, names = [node.kind for node in nodes], [node.name for node in nodes if node.name not in KINDS]
        for key in bits if isinstance(bits, dict) else ():
            if key not in ("all", *kinds, *names):
                alike = "" if key in KINDS else with_closest(key, [*dict.fromkeys(kinds), *names])
                has = ", ".join(_in_order(kinds))
                raise UserError(f"{part}.bits: {key!r} names no layer of this network; it has: {has}{alike}")
    for group in shared_scales(graph):
        own = {width_of(scheme.activations.bits, graph[name].kind, name): name for name in group}
        if len(own) > 1:
            written = " and ".join(f"{name} ({width})" for width, name in own.items())
            raise UserError(f"activations.bits: {written} share a scale; allowed: one width for both")


def _in_order(kinds: Collection[str]) -> list[str]:
    return [kind for kind in dict.fromkeys([*LAYER_KINDS, *STORING_KINDS]) if kind in kinds]


def _modules(parameters: Iterable[str]) -> list[str]:
    """The names of all modules that hold some of the parameters, themselves or in a module below."""
    parts = [name.split(".")[:-1] for name in parameters]
    return list(dict.fromkeys(".".join(each[:end]) for each in parts for end in range(1, len(each) + 1)))


def count_parameters(model: nn.Module, names: frozenset[str]) -> int:
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
