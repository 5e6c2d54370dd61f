"""Comparison of backends, on made-up ones whose differences are known."""

import numpy as np
import pytest
from exported_networks import program_of
from small_networks import blends, scheme

from selectq.parity.backends import Backend, Stored, reference_backend
from selectq.parity.compare import all_logits, compare_layers, compare_pairs

LABELS = np.array([0, 1, 0, 1])
LOGITS = np.array([[2.0, 1.0], [1.0, 3.0], [1.0, 0.9], [4.0, 0.0]], np.float32)


def test_pairs_by_hand() -> None:
    flipped = LOGITS.copy()
    flipped[2] = [0.9, 1.0]
    nudged = LOGITS + np.float32(1e-5)
    pairs = compare_pairs("c", {"a": LOGITS, "b": flipped, "c": nudged}, LABELS).set_index(["one", "other"])
    assert list(pairs.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert pairs["flipped_pct"].tolist() == [25.0, 0.0, 25.0]
    assert pairs["differing_pct"].tolist() == [25.0, 0.0, 25.0]
    assert pairs.loc[("a", "b"), "logit_difference"] == pytest.approx(0.1)
    assert pairs.loc[("a", "b"), ["one_top1", "other_top1"]].tolist() == [75.0, 50.0]


def test_one_lower_logit_of_one_image_differs() -> None:
    lower = LOGITS.copy()
    lower[1, 0] -= 0.25
    for one, other in ((LOGITS, lower), (lower, LOGITS)):
        pairs = compare_pairs("c", {"a": one, "b": other}, LABELS)
        assert pairs["logit_difference"].tolist() == [0.25] and pairs["differing_pct"].tolist() == [25.0]


@pytest.mark.parametrize("damaged", [0, 7])
@pytest.mark.parametrize("steps", [-3, 3])
def test_one_value_of_one_image_differs(damaged: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first of several batches or in the last, up or down."""
    monkeypatch.setattr("selectq.parity.compare.BATCH", 4)
    reference, images = program_of(scheme()).reference, blends(8).numpy()
    honest = reference_backend(reference)
    assert honest.stored is not None
    first, *_ = reference.network.sites()

    def stored(pixels: np.ndarray) -> Stored:
        found = honest.stored(pixels)
        found[0][(pixels == images[damaged]).all((1, 2, 3)), 2, 1, 1] += steps * first.activation.scale
        return found

    layers = compare_layers("c", reference, [Backend("damaged", honest.logits, stored)], images).set_index("layer")
    assert layers.loc[first.name, "steps"] == 3
    assert layers.loc[first.name, "differing_ppm"] == pytest.approx(1e6 / honest.stored(images)[0].size)


def test_logits_of_all_batches_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selectq.parity.compare.BATCH", 4)
    images = blends(10).numpy()
    sums = Backend("sums", lambda pixels: pixels.sum((2, 3)).astype(np.float32), None)
    assert np.array_equal(all_logits(sums, images, "c"), sums.logits(images))


def test_difference_is_found_at_its_place_and_nowhere_else() -> None:
    """A backend that stores 3 steps more in one channel of one layer, and goes on from there as it should."""
    reference = program_of(scheme()).reference
    places = [place.name for place in reference.network.sites()]
    damaged = places.index("features.9.conv.1.0")
    honest = reference_backend(reference)
    assert honest.stored is not None

    def stored(pixels: np.ndarray) -> Stored:
        (layer,) = [place for place in reference.network.sites() if place.name == places[damaged]]
        handle = layer.register_forward_hook(lambda module, arguments, output: output + bump(module, output))
        found = honest.stored(pixels)
        handle.remove()
        return found

    def bump(module, output):  # type: ignore[no-untyped-def]
        bump = output.new_zeros(output.shape)
        bump[:, 3] = 3 * module.activation.scale
        return bump

    backends = [honest, Backend("damaged", honest.logits, stored), Backend("blind", honest.logits, None)]
    layers = compare_layers("c", reference, backends, blends(8).numpy()).set_index(["form", "layer"])["steps"]
    assert set(layers.index.get_level_values("form")) == {"reference", "damaged"}
    assert layers["reference"].max() == 0
    assert layers["damaged"].pop(places[damaged]) == 3
    assert layers["damaged"].drop(places[damaged]).max() == 0
