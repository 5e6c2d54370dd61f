"""Weights out of a TFLite file: read as they were written, and a network that computes what the folded one does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_networks import coloured_noise, model_config
from tflite_files import ZERO_POINT, Levels, Pixels, per_channel, random_levels, tflite_file
from torch import Tensor, nn
from torchvision.models import MobileNetV2

from selectq.data.normalization import INTEGER_GRID
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.networks.build import build_network
from selectq.networks.layers import normalised_convolutions, running_statistics
from selectq.quantization.tflite_weights import Folded, read_folded, unfold

EMPTY = 3
"""A channel of the stem whose weights are all at the zero point."""


def network(classes: int = 1000) -> MobileNetV2:
    return build_network(model_config("as_is", width_mult=1.0), classes)


@pytest.fixture(scope="module")
def layers() -> list[Levels]:
    return random_levels(EMPTY)


@pytest.fixture(scope="module")
def file(layers: list[Levels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "network.tflite"
    path.write_bytes(tflite_file(layers))
    return path


@pytest.fixture(scope="module")
def images() -> Tensor:
    return coloured_noise(130, seed=3).images


@pytest.fixture(scope="module")
def unfolded(file: Path, images: Tensor) -> MobileNetV2:
    model = network()
    model.load_state_dict(unfold(network(1), read_folded(file), images))
    return model


def folded_outputs(folded: list[Folded], images: Tensor) -> Tensor:
    """What the head of the file's network puts out, before it is bounded."""
    model = network().double().eval()
    with torch.no_grad():
        for (conv, norm), layer in zip(normalised_convolutions(model, capture(model)), folded[:-1], strict=True):
            conv.weight.copy_(layer.weight)
            running_statistics(norm)[1].fill_(1 - norm.eps)
            norm.bias.copy_(layer.bias)
        return unbounded(model, INTEGER_GRID(images).double())


def unbounded(model: MobileNetV2, inputs: Tensor) -> Tensor:
    """The head's outputs (N, 1280, H, W) before their activation."""
    *body, head = model.features
    outputs: Tensor = head[1](head[0](nn.Sequential(*body)(inputs)))
    return outputs


def test_levels_are_dequantized_into_torchs_layout(file: Path, layers: list[Levels]) -> None:
    folded = read_folded(file)
    assert len(folded) == len(layers)
    stem, depthwise = layers[0], layers[1]
    expected = (stem.weight.astype(float) - ZERO_POINT) * float(stem.scale[0]) / 2  # its pixels' steps are 1/128
    torch.testing.assert_close(folded[0].weight, torch.from_numpy(expected).permute(0, 3, 1, 2), rtol=0, atol=0)
    expected = (depthwise.weight.astype(float) - ZERO_POINT) * float(depthwise.scale[0])
    torch.testing.assert_close(folded[1].weight, torch.from_numpy(expected).permute(3, 0, 1, 2), rtol=0, atol=0)
    torch.testing.assert_close(folded[1].bias, torch.from_numpy(depthwise.bias * float(np.float32(0.001))))


def test_signed_levels_with_scales_per_channel_are_the_same_numbers(
    file: Path, layers: list[Levels], tmp_path: Path
) -> None:
    signed = [per_channel(layer) for layer in layers]
    stem, depthwise = signed[:2]
    depthwise.scale[5] *= 3
    (tmp_path / "signed.tflite").write_bytes(tflite_file([stem, depthwise, *signed[2:]]))
    first, second = read_folded(file), read_folded(tmp_path / "signed.tflite")
    first[1].weight[5] *= 3
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.weight, other.weight)
        torch.testing.assert_close(one.bias, other.bias)


def test_stem_takes_our_pixels_whatever_those_of_the_file(layers: list[Levels], tmp_path: Path) -> None:
    pixels, path = Pixels(1 / 127.5, 127), tmp_path / "other.tflite"
    path.write_bytes(tflite_file(layers, pixels))
    stem = read_folded(path)[0]
    patch = torch.randint(0, 256, (1, 3, 3, 3), generator=torch.Generator().manual_seed(0))
    as_in_file = (patch.double() - pixels.zero_point) * float(np.float32(pixels.scale))
    weight = (layers[0].weight.astype(float) - ZERO_POINT) * float(layers[0].scale[0])
    expected = torch.from_numpy(weight).permute(0, 3, 1, 2).mul(as_in_file).sum((1, 2, 3))
    expected += torch.from_numpy(layers[0].bias * float(np.float32(0.001)))
    torch.testing.assert_close(stem.weight.mul(INTEGER_GRID(patch).double()).sum((1, 2, 3)) + stem.bias, expected)


def test_unfolded_network_computes_what_the_file_does(unfolded: MobileNetV2, file: Path) -> None:
    others = coloured_noise(8, seed=4).images
    unfolded.eval()
    with torch.no_grad():
        ours = unbounded(unfolded, INTEGER_GRID(others))
    expected = folded_outputs(read_folded(file), others)
    assert expected.std() > 0.01
    gain = unfolded.classifier[1].weight.double().norm() / read_folded(file)[-1].weight[1:].norm()
    torch.testing.assert_close(ours.double() * gain, expected, rtol=0, atol=1e-4)


def test_heads_factors_are_as_large_as_a_fresh_networks(unfolded: MobileNetV2) -> None:
    _, norm = list(normalised_convolutions(unfolded, capture(unfolded)))[-1]
    torch.testing.assert_close(norm.weight.square().mean(), torch.tensor(1.0))


def test_batch_statistics_are_those_kept(unfolded: MobileNetV2, images: Tensor) -> None:
    with torch.no_grad():
        unfolded.eval()
        kept = unfolded.features(INTEGER_GRID(images))
        unfolded.train()
        of_batch = unfolded.features(INTEGER_GRID(images))
    torch.testing.assert_close(of_batch, kept, rtol=0, atol=0.01)


def test_filters_are_as_long_as_each_other(unfolded: MobileNetV2) -> None:
    for number, (conv, _) in enumerate(normalised_convolutions(unfolded, capture(unfolded))):
        lengths = conv.weight.flatten(1).norm(dim=1)
        expected = torch.ones(len(lengths))
        expected[EMPTY] = 0.0 if number == 0 else 1.0
        torch.testing.assert_close(lengths, expected)


def test_classifier_is_that_of_imagenet_for_features_scaled_alike(unfolded: MobileNetV2, file: Path) -> None:
    classifier = read_folded(file)[-1]
    expected = classifier.weight[1:, :, 0, 0].float()
    scaled = unfolded.classifier[1].weight
    torch.testing.assert_close(scaled / scaled.norm(), expected / expected.norm())
    torch.testing.assert_close(unfolded.classifier[1].bias, classifier.bias[1:].float())


def test_other_networks_are_refused(file: Path, images: Tensor) -> None:
    folded = read_folded(file)
    with pytest.raises(UserError, match="not MobileNetV2: 0 convolutions, not 52 and a classifier"):
        unfold(network(1), [], images)
    narrow = [folded[0], Folded(folded[1].weight[:16], folded[1].bias[:16]), *folded[2:]]
    with pytest.raises(UserError, match=r"convolution 1 has the shape \(16, 1, 3, 3\), not \(32, 1, 3, 3\)"):
        unfold(network(1), narrow, images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\0ONNX\0\0", "is not a TFLite file: it has b'ONNX' where b'TFL3' should stand"),
        (b"\xff\xff\xff\xffTFL3", "does not hold the 8-bit convolutions of MobileNetV2"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "other.tflite").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_folded(tmp_path / "other.tflite")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.tflite: No such file or directory"):
        read_folded(tmp_path / "absent.tflite")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.zeros((32, 3, 3, 3), np.float32)}, r"\(tensor type 0, not 3 or 9\)"),
        ({"scale": np.ones(3, np.float32)}, r"does not hold the 8-bit convolutions of MobileNetV2 \("),
    ],
)
def test_other_numbers_are_refused(
    tmp_path: Path, layers: list[Levels], change: dict[str, NDArray[np.float32]], message: str
) -> None:
    (tmp_path / "other.tflite").write_bytes(tflite_file([layers[0]._replace(**change)]))
    with pytest.raises(UserError, match=message):
        read_folded(tmp_path / "other.tflite")
