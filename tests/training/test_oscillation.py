"""Oscillating weights: counted right, in the last epoch alone, in resumed runs too, and without a trace in training."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_networks import (
    Unsaved,
    calibration,
    coloured_dataset,
    committed_params,
    plan,
    quantized,
    same_tensors,
    scheme,
    trained,
)

from selectq.quantization.network import Network
from selectq.quantization.scale_assignment import ScaleAssignment
from selectq.quantization.scopes import freeze_outside, parameters_in_scope
from selectq.training.loop import Hooks, fit
from selectq.training.oscillation import OSCILLATION_COLUMNS, Flips, OscillationCounter, oscillation_table
from selectq.training.parallel import ALONE
from selectq.training.qat import Retraining, build_optimizer, retrain
from selectq.training.resume import Row, TrainingState

DATASET = coloured_dataset(train=24)
LAYER = "features.5.conv.1.0"


def learning(scope: str) -> tuple[Network, torch.optim.Optimizer]:
    network, params = quantized(scheme()), committed_params()
    parameters = freeze_outside(network, parameters_in_scope(trained().model, [scope]))
    return network, build_optimizer(parameters, params.qat["dw"], params.qat_training)


def train(scope: str, epochs: int, counting: bool, state: TrainingState | None = None) -> tuple[Network, list[Row]]:
    network, optimizer = learning(scope)
    hooks = OscillationCounter(network, epochs) if counting else Hooks()
    going = dataclasses.replace(plan(network, DATASET, epochs=epochs, lr=0.003), hooks=hooks)
    return network, fit(network, optimizer, DATASET, going, state or Unsaved())


@pytest.mark.parametrize(
    ("codes", "flipped", "oscillating"),
    [
        ([3, 3, 3, 3], False, False),
        ([3, 4, 5, 6], True, False),  # on its way
        ([3, 4, 4, 3], True, True),  # back, after a rest
        ([3, 2, 3, 2], True, True),
        ([3, 5, 1, 1], True, True),  # further back
        ([3, 3, 3, 4], True, False),
        ([-127, 127, 127, 126], True, True),  # a step that int8 cannot hold
    ],
)
def test_flips_by_hand(codes: list[int], flipped: bool, oscillating: bool) -> None:
    """Beside a weight that rests: what one does is not counted for another."""
    steps = torch.tensor([codes, [7] * len(codes)], dtype=torch.int8).T
    flips = Flips(steps[0])
    for step in steps[1:]:
        flips.see(step)
    assert flips.flipped.tolist() == [flipped, False]
    assert flips.oscillating.tolist() == [oscillating, False]


def test_last_epoch_alone_is_counted() -> None:
    network, _ = learning("depthwise")
    counter, assignment = OscillationCounter(network, epochs=2), ScaleAssignment(network)
    (layer,) = (layer for layer in network.layers() if layer.name == LAYER)
    codes = layer.weight_quantizer.codes(layer.weight, layer.bias)[0].flatten(1)  # type: ignore[operator]
    kept = codes.abs().amax(1) != codes.abs().amin(1)
    channel = int(kept.nonzero()[0])
    weak = int(codes[channel].abs().argmin())  # it does not set the channel's scale
    step = layer.weight_quantizer.scale[channel].item()

    moves = {0.0: step, 0.5: -step, 1.0: step, 1.25: 0.0, 1.5: step, 1.75: 0.0}
    for epoch, move in moves.items():
        counter.before_step(epoch)
        with torch.no_grad():
            layer.weight.flatten(1)[channel, weak] += move
        assignment.assign()
        counter.after_step(epoch)
        if epoch == 0.5:
            assert counter.after_epoch(0) == {}
    table = oscillation_table([{"epoch": 1}, counter.after_epoch(1)]).set_index("layer")
    assert list(table.columns) == OSCILLATION_COLUMNS[1:]
    depthwise = [layer.weight.numel() for layer in network.layers() if layer.kind == "depthwise"]
    assert set(table.layer_kind) == {"depthwise"} and table.weights.sum() == sum(depthwise)
    assert table.loc[LAYER, "flipped_pct"] == 100 / table.loc[LAYER, "weights"] > 0
    assert table.drop(LAYER).flipped_pct.sum() == table.oscillating_pct.sum() == 0, "it came back in the first epoch"


def test_training_is_the_same_bits_with_the_counter() -> None:
    counted, history = train("depthwise", 2, counting=True)
    plain, without = train("depthwise", 2, counting=False)
    assert same_tensors(counted, plain)
    assert oscillation_table(history).flipped_pct.max() > 0, "there was something to count"
    assert [{**row, "oscillation": None} for row in history] == [{**row, "oscillation": None} for row in without]


def test_every_row_is_of_a_layer_that_learns() -> None:
    parameters = committed_params()
    training = dataclasses.replace(parameters.qat_training, batch_size=8, calibration=calibration())
    for scope, layers in (("classifier", 1), ("batchnorm", 0), ("features.5", 3)):
        config = dataclasses.replace(parameters.qat["dw"], scope=(scope,), epochs=1)
        _, history = retrain(Retraining(config, training, seed=0), trained(), DATASET, Unsaved(), ALONE)
        table = oscillation_table(history)
        assert list(table.columns) == OSCILLATION_COLUMNS and len(table) == layers
        assert (table.flipped_pct >= table.oscillating_pct).all() and (table.flipped_pct <= 100).all()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class KilledError(Exception):
    """Stands for the end of the process."""


class KilledAfter(TrainingState):
    """A state whose process ends once so many epochs are on disk."""

    def __init__(self, output: Path, key: str, epochs: int) -> None:
        super().__init__(output, key)
        self._epochs = epochs

    def save(self, network: torch.nn.Module, optimizer: torch.optim.Optimizer, history: list[Row]) -> None:
        super().save(network, optimizer, history)
        if len(history) == 2 * self._epochs:
            raise KilledError


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("epochs", [1, 2])
def test_resumed_run_counts_what_an_uninterrupted_one_counts(epochs: int) -> None:
    """Also where it is killed after the last epoch, with nothing left to train."""
    _, whole = train("depthwise", 2, counting=True)
    with pytest.raises(KilledError):
        train("depthwise", 2, counting=True, state=KilledAfter(Path("some"), "key", epochs))
    _, resumed = train("depthwise", 2, counting=True, state=TrainingState(Path("some"), "key"))
    assert resumed == whole
    assert oscillation_table(resumed).equals(oscillation_table(whole))
