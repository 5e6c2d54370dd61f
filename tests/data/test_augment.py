"""Augmentation is shifts, flips and holes and nothing else; an epoch shows every image at most once."""

import itertools
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from small_networks import coloured_dataset
from torch import Tensor

from selectq.config.configs import AugmentConfig, NormalizationConfig
from selectq.data.augment import (
    EVALUATION_BATCH,
    augmented,
    draw_changes,
    image_batches,
    training_batches,
)
from selectq.data.normalization import INTEGER_GRID, PIXEL_SCALE, PIXEL_ZERO_POINT, Normalization
from selectq.data.packed import Split
from selectq.training.batches import FixedViews

HEIGHT, WIDTH = 6, 5
NOTHING = AugmentConfig(flip=False, crop_padding=0, cutout=0)


def images(count: int) -> Tensor:
    """Images that no shift or flip turns into one another."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def explanations(original: Tensor, found: Tensor, padding: int) -> list[tuple[int, int, bool]]:
    """Every (row offset, column offset, flipped) that turns one image into the other."""
    padded = F.pad(original, (padding,) * 4, value=PIXEL_ZERO_POINT)
    offsets = range(2 * padding + 1)
    return [
        (row, column, flipped)
        for row, column, flipped in itertools.product(offsets, offsets, (False, True))
        for crop in [padded[:, row : row + HEIGHT, column : column + WIDTH]]
        if torch.equal(crop.flip(2) if flipped else crop, found)
    ]


@pytest.mark.parametrize(("flip", "padding"), [(True, 2), (False, 2), (True, 0), (False, 1)])
def test_every_image_is_shifted_and_flipped_by_itself(flip: bool, padding: int) -> None:
    before = images(400)
    after = augmented(before, draw_changes(400, AugmentConfig(flip, padding, 0), seeded()))
    assert after.dtype == torch.uint8 and after.shape == before.shape
    found = [explanations(one, other, padding) for one, other in zip(before, after, strict=True)]
    assert all(len(ways) == 1 for ways in found), "one way, and one alone"
    rows, columns, flips = zip(*(ways[0] for ways in found), strict=True)
    positions = Counter(zip(rows, columns, strict=True))
    assert len(positions) == (2 * padding + 1) ** 2, "every shift occurs"
    assert max(positions.values()) < 3 * 400 / len(positions) + 10, "none much more than the others"
    assert sum(flips) == pytest.approx(200, abs=40) if flip else sum(flips) == 0


@pytest.mark.parametrize("size", [2, 3, 9])
def test_every_image_gets_one_grey_square(size: int) -> None:
    before = images(400).clamp(max=PIXEL_ZERO_POINT - 1)
    after = augmented(before, draw_changes(400, AugmentConfig(False, 0, size), seeded()))
    greyed = (after == PIXEL_ZERO_POINT).all(1)  # (N, H, W)
    assert torch.equal(torch.where(greyed[:, None], before, after), before), "the rest is left as it is"
    rows, columns = greyed.any(2), greyed.any(1)  # (N, H), (N, W)
    assert torch.equal(greyed, rows[:, :, None] & columns[:, None, :]), "a rectangle"
    heights, widths = rows.sum(1), columns.sum(1)
    assert heights.amin() >= min(size, HEIGHT) // 2 and heights.amax() == min(size, HEIGHT)
    assert widths.amin() >= min(size, WIDTH) // 2 and widths.amax() == min(size, WIDTH)
    assert len(greyed.unique(dim=0)) > 1, "not always at the same place"


def test_no_augmentation_leaves_the_images() -> None:
    before = images(10)
    assert torch.equal(augmented(before, draw_changes(10, NOTHING, seeded())), before)


def test_augmentation_depends_on_the_generator_alone() -> None:
    config, before = AugmentConfig(flip=True, crop_padding=2, cutout=0), images(20)
    one = augmented(before, draw_changes(20, config, seeded(1)))
    torch.rand(5)
    assert torch.equal(one, augmented(before, draw_changes(20, config, seeded(1))))
    assert not torch.equal(one, augmented(before, draw_changes(20, config, seeded(2))))


def test_shares_of_a_batch_make_up_the_batch() -> None:
    split, config = Split(images(20), torch.arange(20)), AugmentConfig(flip=True, crop_padding=2, cutout=0)
    whole = list(training_batches(split, 8, config, seeded()))
    shares = [list(training_batches(split, 8, config, seeded(), slice(rank, None, 2))) for rank in range(2)]
    assert len(whole) == len(shares[0]) == len(shares[1]) == 2
    for (pixels, labels), *parts in zip(whole, *shares, strict=True):
        for rank, (part, part_labels) in enumerate(parts):
            assert torch.equal(part, pixels[rank::2]) and torch.equal(part_labels, labels[rank::2])


def test_normalised_pixels_are_exact() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    found = INTEGER_GRID(pixels)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
    assert found[0, 0].flatten().tolist() == [(level - 128) / 64 for level in range(256)]
    assert torch.equal((found / PIXEL_SCALE + PIXEL_ZERO_POINT).to(torch.uint8), pixels), "and come back"


def test_committed_normalization_is_the_integer_grid_bit_for_bit() -> None:
    config = NormalizationConfig((0.5019607843137255,) * 3, (0.25098039215686274,) * 3)
    assert Normalization.of(config) == INTEGER_GRID
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    assert torch.equal(INTEGER_GRID(pixels), (pixels.float() - 128) / 64)


def test_normalization_is_each_channels_own() -> None:
    config = NormalizationConfig((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    pixels = images(3)
    found = Normalization.of(config)(pixels)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (config.mean, config.std))
    torch.testing.assert_close(found, (pixels / 255 - mean) / std)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_batches_are_made_with_the_normalization_of_their_data_set() -> None:
    plain, other = coloured_dataset(), Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    dataset = plain.normalised(other).to(torch.device("cpu"))
    for split in (dataset.validation, dataset.test.part(slice(3)), dataset.train.sample(3, seed=0)):
        assert torch.equal(torch.cat(list(image_batches(split))), other(split.images))
    views = FixedViews(dataset.train, 8, NOTHING, views=1, seed=0)
    order = torch.randperm(len(plain.train), generator=seeded())
    for batches in (training_batches(dataset.train, 8, NOTHING, seeded()), views.epoch(0, seeded())):
        assert torch.equal(next(iter(batches))[0], other(plain.train.images[order[:8]]))
    assert plain.train.normalization == INTEGER_GRID


def epoch(count: int, batch_size: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """One epoch over images whose every pixel, and label, is their number."""
    numbers = torch.arange(count)
    split = Split(numbers.to(torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous(), numbers)
    return list(training_batches(split, batch_size, NOTHING, seeded(seed)))


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(20, 6, 3), (18, 6, 3), (5, 6, 0), (6, 6, 1), (7, 1, 7)])
def test_epoch_shows_no_image_twice_and_drops_the_incomplete_batch(count: int, batch_size: int, steps: int) -> None:
    batches = epoch(count, batch_size)
    assert [len(labels) for _, labels in batches] == [batch_size] * steps
    shown = [label for _, labels in batches for label in labels.tolist()]
    assert len(set(shown)) == len(shown) == steps * batch_size
    for found, labels in batches:
        assert torch.equal(found[:, 0, 0, 0] / PIXEL_SCALE + PIXEL_ZERO_POINT, labels.float()), (
            "labels stay with images"
        )


def test_order_is_random_and_of_the_seed() -> None:
    one, same, other = (torch.cat([labels for _, labels in epoch(60, 6, seed)]) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, one.sort().values)


def test_batches_of_evaluation_hold_every_image_once_in_order() -> None:
    before = images(EVALUATION_BATCH * 2 + 3)
    batches = list(image_batches(Split(before, torch.zeros(len(before)))))
    assert [len(batch) for batch in batches] == [EVALUATION_BATCH, EVALUATION_BATCH, 3]
    assert torch.equal(torch.cat(batches), INTEGER_GRID(before))
