"""ReLU for ReLU6: equalization applies, and what is read again computes the same."""

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_networks import (
    CLASSES,
    calibration,
    coloured_dataset,
    float_images,
    model_config,
    random_network,
    same_tensors,
    scheme,
    trained,
)
from torch import Tensor, nn

from selectq.config.configs import PtqConfig
from selectq.errors import UserError
from selectq.graph.bounds import RELU6
from selectq.graph.capture import capture
from selectq.graph.chains import chains
from selectq.ptq.pipeline import equivalent_fp32, ptq_pipeline
from selectq.ptq.registry import PtqState
from selectq.ptq.relu6 import Relu6AsRelu
from selectq.quantization.quantized import QuantizedCheckpoint, read_quantized, write_quantized

NAMES = ("relu6_as_relu", "equalize")
TENSOR = scheme(8, "tensor")


def test_network_computes_what_one_of_relus_does() -> None:
    clipped, plain = (random_network(model_config(name), seed=1) for name in ("as_is", "relu"))
    plain.load_state_dict(clipped.state_dict())
    state = PtqState(clipped, capture(clipped), {})
    Relu6AsRelu().apply(state)
    x = float_images(4, seed=1).double()
    with torch.no_grad():
        assert torch.equal(state.model(x), plain(x))
    assert len(chains(state.graph)) == 17 and not any(node.bounds == RELU6 for node in state.graph.nodes)


def test_equalization_then_changes_the_ranges_and_not_the_function() -> None:
    fp32, x = trained("as_is"), float_images(8, seed=1)
    replaced, equalized, alone = (equivalent_fp32(fp32, names).model for names in (NAMES[:1], NAMES, NAMES[1:]))
    assert same_tensors(alone, fp32.model) and same_tensors(replaced, fp32.model)
    assert not same_tensors(equalized, fp32.model)
    with torch.no_grad():
        assert torch.allclose(equalized(x), replaced(x), rtol=1e-3, atol=1e-4)
    assert any(isinstance(module, nn.ReLU6) for module in fp32.model.modules()), "the FP32 network itself stays"


def test_quantized_network_is_read_as_it_was_written(tmp_path: Path) -> None:
    fp32, x = trained("as_is"), float_images(8, seed=1)
    config = PtqConfig(TENSOR.weights, TENSOR.activations, calibration(), NAMES)
    network = ptq_pipeline(fp32, coloured_dataset(), config, seed=0)
    checkpoint = QuantizedCheckpoint("some", network, fp32.config, CLASSES, TENSOR, NAMES)
    write_quantized(tmp_path / "some", checkpoint)
    read = read_quantized(tmp_path / "some").network
    with torch.no_grad():
        assert torch.equal(read(4 * x), network(4 * x))
    write_quantized(tmp_path / "clipped", dataclasses.replace(checkpoint, algorithms=("equalize",)))
    clipped = read_quantized(tmp_path / "clipped").network
    assert [any(layer.bounds == RELU6 for layer in each.layers()) for each in (read, clipped)] == [False, True]


def test_bound_by_a_function_is_refused() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.last(F.relu6(self.stem(x)).mean((2, 3)))
            return logits

    model = Functional().eval()
    with pytest.raises(
        UserError, match=r"^algorithms: relu6_as_relu replaces nn.ReLU6; stem is bounded by a function$"
    ):
        Relu6AsRelu().apply(PtqState(model, capture(model), {}))
