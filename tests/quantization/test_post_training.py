"""Post-training quantization as a whole: close to FP32, repeatable, and calibrated on the images asked for."""

import dataclasses

import pytest
import torch
from small_networks import calibration, coloured_dataset, coloured_noise, float_images, same_tensors, scheme, trained

from selectq.config.configs import CalibrationConfig
from selectq.data.packed import Dataset
from selectq.errors import UserError
from selectq.quantization.network import Network
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import Scheme


def quantized_after_training(
    config: CalibrationConfig, chosen: Scheme | None = None, seed: int = 0, dataset: Dataset | None = None
) -> Network:
    return quantize(trained(), dataset or coloured_dataset(), config, chosen or scheme(), seed)


def distance(network: Network) -> float:
    """Relative distance of the logits from those of FP32."""
    x = float_images(60, seed=9)
    with torch.no_grad():
        expected = trained().model(x)
        return ((network(x) - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("estimator", ["minmax", "moving_average", "percentile", "mse"])
def test_eight_bits_stay_close_to_fp32(estimator: str) -> None:
    network = quantized_after_training(calibration(estimator))
    assert 0 < distance(network) < 0.1
    assert not network.training


def test_fewer_bits_are_further_away() -> None:
    distances = [distance(quantized_after_training(calibration(), scheme(bits, bits=bits))) for bits in (8, 6, 4, 2)]
    assert distances == sorted(distances)


def test_same_seed_same_network() -> None:
    one, same, other = (quantized_after_training(calibration(images=5), seed=seed) for seed in (0, 0, 1))
    assert same_tensors(one, same)
    assert not same_tensors(one, other)


def test_calibrates_on_the_split_asked_for() -> None:
    plain = coloured_dataset()
    other_validation = dataclasses.replace(plain, validation=coloured_noise(12, seed=5))
    for split, unchanged in (("train", True), ("validation", False)):
        config = dataclasses.replace(calibration(images=12), split=split)
        networks = [quantized_after_training(config, dataset=dataset) for dataset in (plain, other_validation)]
        assert same_tensors(*networks) is unchanged, split


def test_more_calibration_images_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="1000 images are asked for; this split holds 48"):
        quantized_after_training(calibration(images=1000))


@pytest.mark.parametrize("estimator", ["minmax", "mse"])
def test_overflowing_layer_is_named(estimator: str) -> None:
    fp32 = trained()
    with torch.no_grad():
        fp32.model.features[3].conv[1][0].weight[0] = 3e38
    with pytest.raises(
        UserError, match=r"^features\.3\.conv\.1\.0: puts out .* on the calibration images; see its weights"
    ):
        quantize(fp32, coloured_dataset(), calibration(estimator), scheme(), seed=0)


def test_layer_that_puts_out_nothing_has_an_ordinary_scale() -> None:
    """All channels are far below 0, so ReLU cuts them off: its values are 0 at any scale."""
    fp32 = trained()
    with torch.no_grad():
        fp32.model.features[8].conv[0][1].bias[:] = -100
    network = quantize(fp32, coloured_dataset(), calibration(), scheme(), seed=0)
    (place,) = (place for place in network.sites() if place.name == "features.8.conv.0.0")
    assert place.activation.scale.item() == pytest.approx(1 / 255)
    x = float_images(8, seed=9)
    with torch.no_grad():
        expected = fp32.model(x)
        assert ((network(x) - expected).norm() / expected.norm()).item() < 0.1
