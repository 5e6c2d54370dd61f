"""A killed run goes on where it was, and ends in the same bits as one that was not killed."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from small_networks import (
    CLASSES,
    calibration,
    coloured_dataset,
    committed_params,
    model_config,
    plan,
    quantized,
    same_tensors,
    scheme,
    trained,
)
from torch import nn

from selectq.config.configs import QatTrainingConfig
from selectq.networks.build import build_network
from selectq.quantization.network import Network
from selectq.quantization.scopes import freeze_outside, parameters_in_scope, quantizers_in_scope
from selectq.training import resume
from selectq.training.loop import Hooks, HookSequence, Plan, fit
from selectq.training.qat import RangeFollower, ScaleUpdate, build_optimizer
from selectq.training.resume import TrainingState, run_key

EPOCHS = 3
OUTPUT = Path("models/some.safetensors")
DATASET = coloured_dataset(train=24)


class KilledError(Exception):
    """Stands for the end of the process."""


@dataclasses.dataclass
class Run:
    """All that a training stage puts together, built anew in every process."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    plan: Plan


def fp32_run(momentum: float) -> Run:
    torch.manual_seed(0)
    model = build_network(model_config(), len(CLASSES)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.02, momentum=momentum, nesterov=momentum > 0, weight_decay=5e-4, fused=True
    )
    augment = committed_params().finetune.augment
    return Run(model, optimizer, plan(model, DATASET, epochs=EPOCHS, augment=augment))


def qat_run(optimizer: str) -> Run:
    params = committed_params()
    training: QatTrainingConfig = dataclasses.replace(
        params.qat_training,
        optimizer=optimizer,
        weight_decay=0.001,
        range_epochs=1.5,  # ends within the second epoch
        calibration=calibration(),
    )
    network: Network = quantized(scheme(symmetric=True))
    learning = freeze_outside(network, parameters_in_scope(trained().model, ["all"]))
    follower = RangeFollower(quantizers_in_scope(network), training)
    optimiser = build_optimizer(learning, params.qat["full"], training)
    hooks = HookSequence(follower, ScaleUpdate(network))
    return Run(network, optimiser, dataclasses.replace(plan(network, DATASET, epochs=EPOCHS, lr=0.001), hooks=hooks))


RUNS: dict[str, Callable[[], Run]] = {
    "fp32 with momentum": lambda: fp32_run(0.9),
    "fp32 without": lambda: fp32_run(0.0),
    "qat with adam": lambda: qat_run("adam"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def go_on(run: Run, key: str = "key") -> list[dict[str, object]]:
    return fit(run.network, run.optimizer, DATASET, run.plan, TrainingState(OUTPUT, key))


def killed_at(run: Run, moment: float) -> Run:
    """The run, whose process ends before the step at `moment` (in epochs)."""

    class Killing(Hooks):
        def before_step(self, epoch: float) -> None:
            run.plan.hooks.before_step(epoch)
            if epoch >= moment:
                raise KilledError

        def after_step(self, epoch: float) -> None:
            run.plan.hooks.after_step(epoch)

    return dataclasses.replace(run, plan=dataclasses.replace(run.plan, hooks=Killing()))


@pytest.mark.parametrize(
    ("kind", "moments"),
    [("fp32 with momentum", (1.0,)), ("fp32 without", (0.5, 2.4)), ("qat with adam", (0.5, 2.4))],
)
def test_resumed_run_equals_an_uninterrupted_one(kind: str, moments: tuple[float, ...], here: Path) -> None:
    whole, resumed = RUNS[kind](), RUNS[kind]()
    history = go_on(whole, "whole")
    for moment in moments:
        with pytest.raises(KilledError):
            go_on(killed_at(RUNS[kind](), moment))
    assert go_on(resumed) == history
    assert same_tensors(resumed.network, whole.network)
    states = [(here / ".checkpoints" / f"models-some-{key}.safetensors").read_bytes() for key in ("key", "whole")]
    assert states[0] == states[1], "the optimiser's state, too"


def test_resumed_run_repeats_no_epoch() -> None:
    with pytest.raises(KilledError):
        go_on(killed_at(fp32_run(0.9), 2.0))
    epochs: list[float] = []
    run = fp32_run(0.9)
    hooks = Hooks()
    hooks.before_step = epochs.append  # type: ignore[method-assign]
    go_on(dataclasses.replace(run, plan=dataclasses.replace(run.plan, hooks=hooks)))
    assert min(epochs) == 2.0


def test_killed_after_the_last_epoch_nothing_is_trained_again() -> None:
    history = go_on(fp32_run(0.9))
    run = fp32_run(0.9)
    assert go_on(killed_at(run, 0.0)) == history
    assert not run.network.training
    finished = fp32_run(0.9)
    go_on(finished)
    assert same_tensors(run.network, finished.network)


def test_forgetting_the_optimizer_would_show() -> None:
    """Negative control: the network alone is not enough to go on from."""
    whole, forgetful = fp32_run(0.9), fp32_run(0.9)
    go_on(whole, "whole")
    with pytest.raises(KilledError):
        go_on(killed_at(fp32_run(0.9), 2.0))
    state = TrainingState(OUTPUT, "key")
    history = state.restore(forgetful.network, fp32_run(0.9).optimizer)
    TrainingState(OUTPUT, "forgetful").save(forgetful.network, forgetful.optimizer, history)
    go_on(forgetful, "forgetful")
    assert not same_tensors(forgetful.network, whole.network)


def test_states_of_other_parameters_are_left_alone_until_the_run_is_done(here: Path) -> None:
    run = fp32_run(0.9)
    for output, key in ((OUTPUT, "old"), (OUTPUT, "key"), (Path("models/some_more.safetensors"), "key")):
        TrainingState(output, key).save(run.network, run.optimizer, [])
    names = {path.name for path in (here / ".checkpoints").iterdir()}
    assert names == {
        "models-some-old.safetensors",
        "models-some-key.safetensors",
        "models-some_more-key.safetensors",
    }
    TrainingState(OUTPUT, "key").discard()
    assert [path.name for path in (here / ".checkpoints").iterdir()] == ["models-some_more-key.safetensors"]


def test_key_is_of_the_code_and_of_torch(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "training").mkdir()
    monkeypatch.setattr(resume, "__file__", str(here / "training" / "resume.py"))
    keys = {run_key((), [])}
    for name in ("some.py", "training/other.py", "kernel.cpp"):
        (here / name).write_text("code")
        keys.add(run_key((), []))
    monkeypatch.setattr(torch, "__version__", "0")
    keys.add(run_key((), []))
    assert len(keys) == 5


def test_key_is_of_parameters_and_inputs(here: Path) -> None:
    (here / "input").write_bytes(b"one")
    key = run_key(("params", 1), [here / "input"])
    assert key == run_key(("params", 1), [here / "input"])
    assert key != run_key(("params", 2), [here / "input"])
    (here / "input").write_bytes(b"two")
    assert key != run_key(("params", 1), [here / "input"])
