"""A network's own normalization of pixels: exact in the integer program, whatever mean and standard deviation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from known_networks import build
from small_networks import calibration, model_config, scheme

from selectq.config.configs import NormalizationConfig
from selectq.data.normalization import INTEGER_GRID, Normalization
from selectq.export.describe import describe_program
from selectq.export.onnx import open_session
from selectq.export.onnx_graph import build_onnx
from selectq.export.reference import to_reference
from selectq.parity.backends import reference_backend, simulation_backend
from selectq.parity.compare import steps_of
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.quantized import QuantizedCheckpoint, insert_quantizers
from selectq.quantization.range_estimation import estimate_ranges
from selectq.quantization.scale_assignment import ScaleAssignment, quantizer_of
from selectq.quantization.scales import exact_weight_scale

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CASES = {"imagenet": IMAGENET, "unit": ((0.0,) * 3, (1.0,) * 3), "uneven": ((0.9, 0.013, 0.5), (0.07, 0.31, 1.7))}


def pixels(count: int = 6, size: int = 32) -> torch.Tensor:
    """All codes of every channel occur."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), generator=generator)
    images[0, :, :8] = torch.arange(256).view(8, 32)
    return images.to(torch.uint8)


def network(case: str) -> Network:
    normalization = Normalization.of(NormalizationConfig(*CASES[case]))
    folded = fold(build("mobilenet_v2"), normalization=normalization).to(memory_format=torch.channels_last)
    batches = [normalization(pixels())]
    insert_quantizers(folded, scheme(), estimate_ranges(folded, lambda: batches, calibration(), scheme().activations))
    return folded.eval()


def test_float_network_takes_normalised_images() -> None:
    model = build("mobilenet_v2")
    normalization = Normalization.of(NormalizationConfig(*IMAGENET))
    images = normalization(pixels())
    with torch.no_grad():
        assert torch.allclose(fold(model, normalization=normalization)(images), model(images), atol=1e-4)
    assert not fold(model).normalizations() and fold(model).normalization == INTEGER_GRID


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_every_level_becomes_the_code_that_is_nearest(case: str) -> None:
    """Up to what a bias of whole numbers leaves: a hundredth of a step."""
    quantized = network(case)
    (node,), images = quantized.normalizations(), pixels()
    quantizer = quantizer_of(node)
    codes = node(quantized.normalization(images)) / quantizer.scale + quantizer.zero_point
    mean, std = (torch.tensor(each, dtype=torch.double).view(3, 1, 1) for each in CASES[case])
    exact = (images.double() / 255 - mean) / std / quantizer.scale.double() + quantizer.zero_point
    assert (codes.round() - exact).abs().max() < 0.51
    assert len(codes[0, 0].round().unique()) > 40, "negative control: codes are told apart"


@pytest.mark.parametrize("case", CASES)
def test_program_and_simulation_are_the_same(case: str, tmp_path: Path) -> None:
    quantized = network(case)
    reference, images = to_reference(quantized), pixels().numpy()
    simulation = simulation_backend(quantized)
    assert np.abs(simulation.logits(images) - reference_backend(reference).logits(images)).max() < 1e-4
    assert simulation.stored is not None
    assert all(steps.max() == 0 for _, steps in steps_of(reference, images, simulation.stored(images)))

    checkpoint = QuantizedCheckpoint("some", quantized, model_config(), tuple("abcdefghij"), scheme())
    program = build_onnx(reference, describe_program(checkpoint, 32)).SerializeToString()
    for optimise in (False, True):
        (found,) = open_session(program, optimise).run(None, {"pixels": images})
        assert np.abs(found - simulation.logits(images)).max() < 1e-4


def test_scales_make_weights_whole_numbers() -> None:
    weights, output = torch.tensor([0.0171, 0.0175, 3.4]), torch.tensor(0.0187)
    scales = exact_weight_scale(weights, output).double()
    codes = weights.double() / scales
    assert torch.allclose(codes, codes.round(), rtol=2e-6) and (codes.round() >= 64).all() and (codes < 127.5).all()


def test_moved_ranges_keep_it_exact() -> None:
    quantized = network("imagenet")
    (node,) = quantized.normalizations()
    quantizer_of(node).high.mul_(1.3)
    ScaleAssignment(quantized).assign()
    weight, _ = node.weight_quantizer(node.weight, node.bias)
    assert torch.allclose(weight, node.weight, rtol=2e-6)
