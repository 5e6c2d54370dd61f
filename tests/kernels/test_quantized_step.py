"""The fake-quantized step by kernels gives the network's own logits, and its gradients up to rounding."""

import copy
from collections.abc import Callable

import exported_networks
import known_networks
import pytest
import torch
import torch.nn.functional as F
from small_networks import (
    calibration,
    coloured_dataset,
    coloured_noise,
    mixed_scheme,
    quantized,
    quantizers,
    scheme,
    trained,
)
from torch import Tensor, nn

from selectq.data.normalization import INTEGER_GRID
from selectq.kernels.convolutions import geometry_of
from selectq.kernels.fake_quantized import fake_quantized_parameters
from selectq.kernels.quantized_step import QuantizedStep
from selectq.quantization.network import ConvNode, LookupNode, Network
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import Scheme
from selectq.quantization.quantizers import follow
from selectq.quantization.scale_assignment import ScaleAssignment, quantizer_of
from selectq.quantization.scopes import freeze_outside, parameters_in_scope
from selectq.training.forward import Forward

pytestmark = pytest.mark.usefixtures("kernels")

SCOPES = [["all"], ["depthwise", "classifier"], ["depthwise", "projection", "classifier"], ["batchnorm"], ["stem"]]


def images(count: int = 8, size: int = 16) -> Tensor:
    return INTEGER_GRID(coloured_noise(count, seed=1, size=size).images)


def step(forward: Forward, network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and the gradients of what learns."""
    network.zero_grad(set_to_none=True)
    logits = forward(batch)
    F.cross_entropy(logits, torch.arange(len(batch), device=batch.device) % 3).backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


def assert_same_step(network: Network, fast: Forward, batch: Tensor) -> None:
    own, ours = step(network, network, batch), step(fast, network, batch)
    assert torch.equal(ours[0], own[0])
    assert ours[1].keys() == own[1].keys() and own[1]
    for name, gradient in own[1].items():
        assert torch.linalg.vector_norm(ours[1][name] - gradient) <= 1e-4 * torch.linalg.vector_norm(gradient), name


@pytest.mark.parametrize("scope", SCOPES, ids="+".join)
@pytest.mark.parametrize(("bits", "symmetric"), [(8, False), (8, True), (4, True)])
def test_step_equals_the_networks_own(scope: list[str], bits: int, symmetric: bool) -> None:
    network = quantized(scheme(bits, bits=bits, symmetric=symmetric)).train()
    freeze_outside(network, parameters_in_scope(trained().model, scope))
    assert_same_step(network, QuantizedStep(network), images())


@pytest.mark.parametrize("scope", SCOPES, ids="+".join)
def test_step_equals_the_networks_own_where_widths_differ(scope: list[str]) -> None:
    network = quantized(mixed_scheme()).train()
    freeze_outside(network, parameters_in_scope(trained().model, scope))
    assert_same_step(network, QuantizedStep(network), images())


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("activation", ["relu", "as_is"])
def test_step_equals_the_networks_own_for_other_networks(activation: str, granularity: str) -> None:
    """Images of odd size, in a number that two threads cannot share evenly."""
    dataset, asked = coloured_dataset(), scheme(granularity=granularity)
    network = quantize(trained(activation), dataset, calibration(), asked, seed=0).train()
    assert_same_step(network, QuantizedStep(network), images(count=5, size=15))


OTHERS = ("custom", "mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1", "resnet18")
"""Together they have every kind of node, and convolutions of every kind."""


def other(name: str, chosen: Scheme | None = None) -> Network:
    """A network of many kinds of nodes."""
    return exported_networks.quantized(known_networks.build(name, 3), chosen or scheme()).train()


@pytest.mark.parametrize("learns", [lambda layer: True, lambda layer: layer.kind == "dense"], ids=["all", "dense"])
@pytest.mark.parametrize("name", OTHERS)
def test_step_equals_that_of_networks_of_any_nodes(name: str, learns: Callable[[ConvNode], bool]) -> None:
    network = other(name)
    for layer in network.layers():
        layer.requires_grad_(learns(layer) or layer is network.classifier())
    assert_same_step(network, QuantizedStep(network), INTEGER_GRID(exported_networks.images(5, seed=1)))


def test_step_of_few_bits_equals_that_of_networks_of_any_nodes() -> None:
    network = other("custom", scheme(4, bits=4, symmetric=True))
    assert_same_step(network, QuantizedStep(network), INTEGER_GRID(exported_networks.images(5, seed=1)))


def test_every_lookup_and_every_stored_layer_is_a_kernels() -> None:
    """But for dense and strided convolutions, which torch computes."""
    network = other("mobilenet_v3_small")
    fast = QuantizedStep(network)
    fast(images())
    lookups = {site for site in network.sites() if isinstance(site, LookupNode)}
    assert len(lookups) == 19 and fast._tables.keys() == lookups
    convolutions = [layer for layer in network.layers() if layer.stored and isinstance(layer, ConvNode)]
    elsewhere = [layer.name for layer in convolutions if not geometry_of(layer).has_kernel]
    assert elsewhere == ["features.0.0"]


@pytest.mark.parametrize("make", [lambda: quantized(scheme()).train(), lambda: other("custom")], ids=["own", "custom"])
def test_step_sees_what_the_quantizers_see(make: Callable[[], Network]) -> None:
    network = make()
    for quantizer in quantizers(network):
        quantizer.observing = True
    network(images())
    own = [quantizer.seen for quantizer in quantizers(network)]
    QuantizedStep(network)(images())
    ours = [quantizer.seen for quantizer in quantizers(network)]
    assert len(own) == len(list(network.sites()))
    torch.testing.assert_close(ours, own)


@torch.no_grad()
def test_parts_compute_from_values_that_have_no_codes() -> None:
    network = other("mobilenet_v3_small").eval()
    fast = QuantizedStep(network)
    fast(images())
    lookup = next(site for site in network.sites() if isinstance(site, LookupNode))
    given = {lookup.node.inputs[0]: torch.randn(2, 16, 5, 7, generator=torch.Generator().manual_seed(0))}
    assert torch.equal(fast.compute(lookup.name, given), network.compute(lookup.name, given))


def test_what_is_frozen_keeps_no_activation() -> None:
    """Of a frozen layer, a byte for each output alone; below the first layer that learns, nothing at all."""
    kept = {}
    for name, learning in (("all", lambda layer: True), ("last", lambda layer: layer.name == "layer4.1.conv2")):
        network = other("resnet18")
        for layer in network.layers():
            layer.requires_grad_(learning(layer))
        kept[name] = floats_kept(QuantizedStep(network))
    conv2 = 2 * 512 * 2 * 2  # what it reads; then the last average keeps as many
    assert kept["last"] == 2 * conv2 < kept["all"] / 50


def floats_kept(forward: Forward) -> int:
    """Of activations (N, ...), between forward and backward pass, for two images of 64 pixels."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.ndim == 4 and len(tensor) == 2:
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward(images(count=2, size=64))
    return sum(sizes.values())


def test_step_keeps_up_with_moving_ranges_and_weights() -> None:
    """What is kept from step to step is computed again wherever something was written to, and only there."""
    network = quantized(scheme()).train()
    fast, assignment = QuantizedStep(network), ScaleAssignment(network)
    learning = freeze_outside(network, parameters_in_scope(trained().model, ["depthwise", "classifier"]))
    optimizer = torch.optim.Adam(learning, lr=0.001, fused=True)
    for round_index in range(3):
        followed = quantizers(network)[round_index * 7]
        followed.seen = torch.tensor(0.0), torch.tensor(9.0)
        follow([followed], 0.5)
        assignment.assign()
        assert_same_step(network, fast, images())
        optimizer.step()
    network.load_state_dict(copy.deepcopy(quantized(scheme()).state_dict()))
    assert_same_step(network, fast, images())


def test_tables_of_functions_keep_up_with_the_ranges_of_what_they_read_and_store() -> None:
    network = other("custom")
    fast, assignment, batch = (
        QuantizedStep(network),
        ScaleAssignment(network),
        INTEGER_GRID(exported_networks.images(5)),
    )
    lookup = next(site for site in network.sites() if isinstance(site, LookupNode))
    read = network.source(lookup.node.inputs[0])
    assert read is not None
    for site in (read, lookup):
        assert_same_step(network, fast, batch)
        followed = quantizer_of(site)
        followed.seen = torch.tensor(-1.0), torch.tensor(9.0)
        follow([followed], 0.5)
        assignment.assign()
    assert_same_step(network, fast, batch)


def test_frozen_layers_are_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales that stay what they were are not written again, however often they are chosen."""
    network = quantized(scheme()).train()
    fast, assignment, rounded = QuantizedStep(network), ScaleAssignment(network), list[str]()
    freeze_outside(network, parameters_in_scope(trained().model, ["depthwise"]))

    def counted(layer: ConvNode) -> tuple[Tensor, Tensor]:
        rounded.append(layer.name)
        return fake_quantized_parameters(layer)

    monkeypatch.setattr("selectq.kernels.quantized_step.fake_quantized_parameters", counted)
    for _ in range(3):
        fast(images())
        assignment.assign()
    kinds = {layer.name: layer.kind for layer in network.layers()}
    assert len(rounded) == 52 + 2 * 17
    assert {kinds[name] for name in rounded[52:]} == {"depthwise"}


def test_evaluation_sees_the_last_step() -> None:
    network = quantized(scheme()).train()
    fast = QuantizedStep(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, fused=True)
    for _ in range(2):
        step(fast, network, images())
        optimizer.step()
    network.eval()
    for _ in range(2):
        assert torch.equal(fast(images()), network(images()))


def test_a_stale_scale_would_show() -> None:
    """Negative control: a scale that moves without being written to in place goes unnoticed."""
    network = quantized(scheme()).train()
    fast = QuantizedStep(network)
    fast(images())
    quantizer = quantizers(network)[5]
    quantizer.scale.data = quantizer.scale * 4  # of the same version as before
    assert not torch.equal(fast(images()), network(images()))


def test_evaluation_is_the_same_and_watches_nothing() -> None:
    network = quantized(scheme()).eval()
    for quantizer in quantizers(network):
        quantizer.observing = True
    with torch.no_grad():
        assert torch.equal(QuantizedStep(network)(images()), network(images()))
    assert all(quantizer.seen is None for quantizer in quantizers(network))


def test_number_of_threads_does_not_change_logits() -> None:
    network, threads = quantized(scheme()).eval(), torch.get_num_threads()
    with torch.no_grad():
        one = QuantizedStep(network)(images())
        torch.set_num_threads(2)
        two = QuantizedStep(network)(images())
    torch.set_num_threads(threads)
    assert torch.equal(one, two)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("bits", [8, 4])
def test_parameters_equal_the_quantizers_to_the_bit(bits: int, granularity: str) -> None:
    """Also where a channel is dead, a bias is far larger than its weights, and a value lies on a rounding tie."""
    network = quantized(scheme(bits, granularity=granularity))
    generator = torch.Generator().manual_seed(0)
    for layer in network.layers():
        with torch.no_grad():
            layer.weight.normal_(generator=generator)
            layer.weight[0], layer.weight[1] = 0.0, 1e-7
            layer.weight[2] = torch.randint(-254, 255, layer.weight[2].shape, generator=generator) / 2
    ScaleAssignment(network).assign()
    for layer in network.layers():
        own = layer.weight_quantizer(layer.weight, layer.bias)
        assert all(map(torch.equal, fake_quantized_parameters(layer), own)), layer.name


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_weights_beyond_a_chosen_range_get_the_networks_own_gradients(granularity: str) -> None:
    network = quantized(scheme(4, granularity=granularity)).train()
    with torch.no_grad():
        for layer in list(network.layers())[::2]:
            layer.weight_quantizer.clip.copy_(4 * layer.weight_quantizer.scale)  # of 7
    ScaleAssignment(network).assign()
    assert_same_step(network, QuantizedStep(network), images())
    layer = next(iter(network.layers()))
    assert (layer.weight.grad == 0).any(), "some saturate"
