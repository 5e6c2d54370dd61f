"""Graphs of known networks: they compute what the networks compute, and kinds mean the same in all of them."""

from collections import Counter

import pytest
import torch
from known_networks import NETWORKS, build
from torch import Tensor, nn

from selectq.errors import UserError
from selectq.graph.bounds import RELU, UNBOUNDED
from selectq.graph.capture import capture
from selectq.graph.nodes import PIXELS, Add, AveragePool, Concat, Lookup, Mul
from selectq.quantization.folding import fold


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_folded_network_equals_the_fp32_network(name: str) -> None:
    model, images = build(name).double(), torch.randn(2, 3, 48, 48, dtype=torch.double)
    expected, found = model(images), fold(model)(images)
    assert (found - expected).norm() < 1e-10 * expected.norm()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)] or [model.features[0]]
    norms[0].bias += 0.3
    changed = model(images)
    assert (found - changed).norm() > 1e-4 * changed.norm(), "negative control"


KINDS = {
    "mobilenet_v2": {"stem": 1, "depthwise": 17, "projection": 17, "expansion": 16, "head": 1, "classifier": 1},
    "mobilenet_v3_small": {
        "stem": 1,
        "depthwise": 11,
        "squeeze_excite": 18,
        "projection": 11,
        "expansion": 10,
        "head": 2,
        "classifier": 1,
    },
    "resnet18": {"stem": 1, "dense": 16, "projection": 3, "classifier": 1},
    "regnet_x_400mf": {"stem": 1, "projection": 26, "expansion": 22, "dense": 22, "classifier": 1},
    "squeezenet1_1": {"stem": 1, "pointwise": 16, "dense": 8, "classifier": 1},
    "shufflenet_v2_x1_0": {"stem": 1, "depthwise": 19, "pointwise": 19, "expansion": 16, "head": 1, "classifier": 1},
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_told_from_the_graph(name: str) -> None:
    assert Counter(node.kind for node in capture(build(name)).layers()) == KINDS[name]


def test_every_convolution_of_mobilenet_has_its_batch_norm_and_its_block() -> None:
    graph = capture(build("mobilenet_v2"))
    assert all(node.operation.norm for node in graph.layers() if node.kind != "classifier")
    assert list(dict.fromkeys(node.block for node in graph.layers()))[:19] == [f"features.{i}" for i in range(19)]
    sums = [node for node in graph.nodes if isinstance(node.operation, Add)]
    assert [node.name for node in sums][:2] == ["features.3", "features.5"]


class Branches(nn.Module):
    """A user's network: two branches side by side, a SiLU, squeeze-excite, a clamp written as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left, self.right = nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.classifier = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3)."""
        x = torch.clamp(self.stem(x), 0, 6)
        x = torch.cat([nn.functional.silu(self.norm(self.left(x))), nn.functional.silu(self.right(x))], dim=1)
        gate = nn.functional.adaptive_avg_pool2d(x, 1)
        gate = torch.sigmoid(self.excite(nn.functional.relu(self.squeeze(gate))))
        return self.classifier((gate * x).mean((2, 3)))


def test_a_users_network_is_captured() -> None:
    model = Branches().eval()
    graph = capture(model)
    operations = Counter(type(node.operation) for node in graph.nodes)
    assert (operations[Lookup], operations[Concat], operations[Mul]) == (3, 1, 1)
    assert [node.kind for node in graph.layers()] == [
        "stem",
        "pointwise",
        "dense",
        "squeeze_excite",
        "squeeze_excite",
        "classifier",
    ]
    images = torch.randn(2, 3, 9, 7)
    assert torch.allclose(fold(model)(images), model(images), atol=1e-6)


def test_codes_pass_through_what_only_moves_values() -> None:
    graph = capture(Branches())
    (concat,) = (node for node in graph.nodes if isinstance(node.operation, Concat))
    lookups = graph.origins(concat.name)
    assert len(lookups) == 2 and all(isinstance(graph[name].operation, Lookup) for name in lookups)
    assert [type(node.operation) for node in graph.real_readers(lookups[0])] == [AveragePool, Mul]
    assert graph.origins(PIXELS) == (PIXELS,)


class Plain(nn.Module):
    """As tutorials write it: a ReLU behind the pool, sizes asked for, a view."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 16, 16) -> (N, 3)."""
        x = nn.functional.relu(nn.functional.max_pool2d(self.one(x), 2))
        x = torch.relu(nn.functional.adaptive_avg_pool2d(self.two(x), (1, 1)))
        return self.fc(x.view(x.size(0), -1))


def test_clamps_go_through_what_only_moves_values() -> None:
    model, images = Plain().eval(), torch.randn(2, 3, 16, 16)
    graph = capture(model)
    assert graph["one"].bounds == RELU and graph["two"].bounds == UNBOUNDED
    assert [node.bounds for node in graph.nodes if node.kind == "pool"] == [RELU]
    assert torch.allclose(fold(model)(images), model(images), atol=1e-6)


class Inner(nn.Module):
    """relu(y) + y in a module of the network's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """To the same shape."""
        y = self.conv(x)
        return torch.relu(y) + y


class Wrong(nn.Module):
    """A network with one operation that cannot be captured."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.norm = nn.Conv2d(3, 4, 3, dilation=2 if kind == "dilation" else 1), nn.LayerNorm(4)
        self.pre, self.one, self.two = nn.BatchNorm2d(3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.inner = Inner()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 4)."""
        if self.kind == "values":
            return self.conv(x).mean((2, 3)) if x.sum() > 0 else self.conv(-x).mean((2, 3))
        if self.kind == "order":
            x = self.pre(x)
        y = self.conv(x)
        if self.kind == "twice":
            y = self.two(self.one(y))
        if self.kind == "number":
            y = y * 2.0
        if self.kind == "shared":
            y = torch.relu(y) + y
        if self.kind == "shared in a module":
            y = self.inner(y)
        return self.norm(y.mean((2, 3))) if self.kind == "layer norm" else y.mean((2, 3))


REFUSALS = {
    "dilation": "conv (Conv2d): a convolution with dilation",
    "order": "pre (BatchNorm2d): a batch norm that is not after a convolution of its own",
    "twice": "two (BatchNorm2d): a batch norm that is not after a convolution of its own",
    "number": "mul (mul): a sum or product with a number",
    "shared": "relu (relu): a clamp of conv, which something else reads unclamped",
    "shared in a module": "inner (relu): a clamp of inner.conv, which something else reads unclamped",
    "layer norm": "norm (LayerNorm): which is no operation that selectq knows",
    "values": "torch.fx cannot follow Wrong",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_cannot_be_captured_is_refused_in_a_line(kind: str) -> None:
    with pytest.raises(UserError) as refusal:
        capture(Wrong(kind))
    assert str(refusal.value).startswith(f"model.network: {REFUSALS[kind]}") and "\n" not in str(refusal.value)


def test_capture_leaves_the_mode_of_the_network() -> None:
    model = build("resnet18").train()
    capture(model)
    assert model.training
