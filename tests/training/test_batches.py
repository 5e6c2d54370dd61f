"""Batches: of images augmented anew, of fixed views, and of features that a frozen network gave once."""

import dataclasses

import pytest
import torch
from small_networks import (
    BATCH,
    NO_AUGMENT,
    Unsaved,
    coloured_dataset,
    committed_params,
    plan,
    quantized,
    scheme,
    trained,
)
from torch import Tensor

from selectq.config.configs import AugmentConfig, QatConfig
from selectq.data.normalization import INTEGER_GRID
from selectq.errors import UserError
from selectq.graph.nodes import PIXELS
from selectq.quantization.network import Network
from selectq.quantization.scopes import freeze_outside, parameters_in_scope
from selectq.training.batches import AugmentedImages, Batches, FixedViews
from selectq.training.features import ClassifierFeatures
from selectq.training.loop import fit
from selectq.training.qat import batches_and_forward, build_optimizer

AUGMENT = AugmentConfig(flip=True, crop_padding=2, cutout=0)
DATASET = coloured_dataset(train=3 * BATCH + 5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def views(count: int = 2, seed: int = 0) -> FixedViews:
    return FixedViews(DATASET.train, BATCH, AUGMENT, count, seed)


@pytest.mark.parametrize("batches", [AugmentedImages(DATASET.train, BATCH, AUGMENT), views()])
def test_an_epoch_is_whole_batches_of_its_length(batches: Batches) -> None:
    epoch = list(batches.epoch(0, generator()))
    assert len(epoch) == len(batches) == 3
    assert all(images.shape == (BATCH, 3, 16, 16) and labels.shape == (BATCH,) for images, labels in epoch)


def test_fewer_images_than_a_batch_are_refused() -> None:
    few = coloured_dataset(train=7).train
    for make in (lambda: AugmentedImages(few, 8, AUGMENT), lambda: FixedViews(few, 8, AUGMENT, 2, 0)):
        with pytest.raises(UserError, match=r"^batch_size: 8 is more than the 7 training images$"):
            make()


def whole(views: FixedViews, index: int) -> Tensor:
    return torch.cat(list(views.view(index)))


def test_views_take_turns_and_differ() -> None:
    first, second, third = (whole(views(), index) for index in range(3))
    assert torch.equal(first, third) and not torch.equal(first, second)
    other = [whole(views(seed=1), index) for index in range(2)]
    assert not any(torch.equal(one, another) for one in other for another in (first, second))


def test_fixed_views_without_augmentation_are_the_images() -> None:
    plain = FixedViews(DATASET.train, BATCH, NO_AUGMENT, 1, 0)
    assert torch.equal(whole(plain, 0), DATASET.train.images)
    chosen = torch.cat(list(plain.chosen(generator())))
    assert len(set(chosen.tolist())) == 3 * BATCH, "every image at most once"
    images, labels = next(plain.epoch(0, generator()))
    assert torch.equal(images, INTEGER_GRID(DATASET.train.images[chosen[:BATCH]]))
    assert torch.equal(labels, DATASET.train.labels[chosen[:BATCH]])


def frozen(symmetric: bool) -> Network:
    """A quantized network in which only the classifier learns."""
    network: Network = quantized(scheme(symmetric=symmetric))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for parameter in network.classifier().parameters():
        parameter.requires_grad_(True)
    return network


@pytest.mark.parametrize("symmetric", [False, True])
def test_features_are_the_networks_own_to_the_bit(symmetric: bool) -> None:
    network = frozen(symmetric)
    features, read = ClassifierFeatures(network, network.classifier(), views()), network.classifier().node.inputs[0]
    for epoch in range(3):
        pairs = zip(features.epoch(epoch, generator(epoch)), views().epoch(epoch, generator(epoch)), strict=True)
        for (found, labels), (images, expected_labels) in pairs:
            assert torch.equal(found, network.compute(read, {PIXELS: images}))
            assert torch.equal(labels, expected_labels)


def test_each_view_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, calls = frozen(False), list[int]()
    compute = network.compute

    def counted(name: str, given: dict[str, Tensor]) -> Tensor:
        calls.append(len(given[PIXELS]))
        return compute(name, given)

    monkeypatch.setattr(network, "compute", counted)
    features = ClassifierFeatures(network, network.classifier(), views())
    for epoch in range(6):
        list(features.epoch(epoch, generator(epoch)))
    assert sum(calls) == 2 * len(DATASET.train)


def test_training_caches_as_many_views_as_asked_for_from_its_own_seed() -> None:
    training = dataclasses.replace(committed_params().qat_training, batch_size=BATCH, feature_views=3, augment=AUGMENT)
    found = {}
    for seed in (0, 1):
        batches, _ = batches_and_forward(frozen(False), DATASET.train, config(), training, seed)
        assert isinstance(batches, ClassifierFeatures)
        found[seed] = [next(batches.epoch(index, generator()))[0] for index in range(4)]
    first, *others = found[0]
    assert torch.equal(first, others.pop())
    assert not any(torch.equal(first, other) for other in (*others, *found[1]))


def config() -> QatConfig:
    return dataclasses.replace(committed_params().qat["clf"], epochs=5, lr=0.01)


def train(network: Network, cached: bool) -> list[dict[str, object]]:
    training = dataclasses.replace(committed_params().qat_training, batch_size=BATCH, feature_views=2)
    batches, forward = batches_and_forward(network, DATASET.train, config(), training, seed=0)
    assert isinstance(batches, ClassifierFeatures) and forward is network.classifier()
    if not cached:
        batches, forward = FixedViews(DATASET.train, BATCH, training.augment, 2, 0), network
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    chosen = dataclasses.replace(plan(network, DATASET, epochs=5, lr=0.01), batches=batches, forward=forward)
    return fit(network, build_optimizer(parameters, config(), training), DATASET, chosen, Unsaved())


def test_training_on_features_gives_the_same_bits_as_training_the_network() -> None:
    cached, plain = frozen(True), frozen(True)
    histories = train(cached, cached=True), train(plain, cached=False)
    assert histories[0] == histories[1]
    assert torch.equal(cached.classifier().weight, plain.classifier().weight)
    assert torch.equal(cached.classifier().bias, plain.classifier().bias)
    assert not torch.equal(cached.classifier().weight, frozen(True).classifier().weight), "it did learn"


@pytest.mark.parametrize(
    ("scope", "cached"), [(["classifier"], True), (["classifier.1"], True), (["head"], False), (["all"], False)]
)
def test_features_are_for_networks_in_which_only_the_classifier_learns(scope: list[str], cached: bool) -> None:
    network = quantized(scheme())
    freeze_outside(network, parameters_in_scope(trained().model, scope))
    training = dataclasses.replace(committed_params().qat_training, batch_size=BATCH)
    batches, _ = batches_and_forward(network, DATASET.train, config(), training, seed=0)
    assert isinstance(batches, ClassifierFeatures) == cached
