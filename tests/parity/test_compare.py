"""Comparison of forms, on made-up ones whose differences are known."""

import numpy as np
import pytest
from made_programs import program_of
from networks import blends, scheme

from selectq.parity.compare import compare_layers, compare_pairs
from selectq.parity.forms import Form, Stored, reference_form

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


def test_difference_is_found_at_its_place_and_nowhere_else() -> None:
    """A form that stores 3 steps more in one channel of one layer, and goes on from there as it should."""
    reference = program_of(scheme()).reference
    places = [place.name for place in reference.network.places()]
    damaged = places.index("features.9.conv.1.0")
    honest = reference_form(reference)
    assert honest.stored is not None

    def stored(pixels: np.ndarray) -> Stored:
        (layer,) = [place for place in reference.network.places() if place.name == places[damaged]]
        handle = layer.register_forward_hook(lambda module, arguments, output: output + bump(module, output))
        found = honest.stored(pixels)
        handle.remove()
        return found

    def bump(module, output):  # type: ignore[no-untyped-def]
        bump = output.new_zeros(output.shape)
        bump[:, 3] = 3 * module.activation.scale
        return bump

    forms = [honest, Form("damaged", honest.logits, stored), Form("blind", honest.logits, None)]
    layers = compare_layers("c", reference, forms, blends(8).numpy()).set_index(["form", "layer"])["steps"]
    assert set(layers.index.get_level_values("form")) == {"reference", "damaged"}
    assert layers["reference"].max() == 0
    assert layers["damaged"].pop(places[damaged]) == 3
    assert layers["damaged"].drop(places[damaged]).max() == 0
