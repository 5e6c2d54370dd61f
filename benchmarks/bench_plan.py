"""Do the layers that scores choose win more, retrained, than others? Every set of groups is tried: `make bench-plan`.

Small networks, trained on handwritten digits, are quantized after training: at W4A4, and at W8A8 with skewed channel
ranges. Their layers form eight groups, by kind and depth. Each of the 256 sets of groups is retrained for half an
epoch, at a learning rate that follows from its gradient. The oracle takes the set of the smallest test loss within a
budget, once these losses are smoothed over all sets; selectors take what their scores say. The sets so chosen are then
retrained from further seeds, and only these are reported. A training is written down as soon as it is done, and not
done again.

Writes `plan_<hardware>_<versions>.csv`; the same with `groups_` (scores beside what retraining a group alone won) and
`selectors_` (over all networks, settings and budgets) before the hardware; and a picture.
"""

import argparse
import copy
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from bench_ptq import Network, parameters, prepare
from machine import machine_slug
from plan_choice import (
    CASE,
    Groups,
    average_gain,
    budgets,
    by_budget,
    by_selector,
    choices,
    group_layers,
    group_table,
    learning_rate,
    members,
    selector_rows,
    smoothed,
    subsets,
    with_regret,
)
from plan_picture import draw
from workload import CHECKOUT

from selectq.config.configs import ActivationScheme, PtqConfig, QatConfig, QatTrainingConfig, WeightScheme
from selectq.config.load import read_yaml, validate
from selectq.data.evaluate import evaluate
from selectq.data.packed import Dataset, read_dataset
from selectq.files import sha256, write_csv
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.networks.range_skew import read_skewed
from selectq.progress import progress
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.network import Network as Quantized
from selectq.quantization.post_training import fold_fp32
from selectq.quantization.scopes import parameters_in_scope
from selectq.selection.retraining import SHARE, layer_shares, scope_entries
from selectq.selection.sensitivity import retraining_scores
from selectq.stage import run
from selectq.training.qat import Retraining, retrain_quantized
from selectq.training.resume import Unsaved

SEED = 0
"""Of the FP32 network and of scores."""

SEEDS = (1, 2, 3)
"""Of the trainings that are reported."""

FIRST_SEED = 100
"""Of the trainings that rates and the oracle's sets are chosen by: each set has its own, so that what one order of the
images does to some group is not taken for the group's."""

STEPS = (0.06, 0.2, 0.6, 2.0)
"""What a first step may take from the divergence, in nats: a set's learning rate follows from its gradient. Which of
these holds for a network in a setting, the validation images decide, by every group alone and all together."""

BATCH = 64
SHARE_OF_EPOCH = 0.5
SCORED_IMAGES = 256
TRAINED_COLUMNS = ["groups", "rate", "seed", "validation_loss", "loss", "top1"]
NETWORK_FILE = Path(__file__).with_name("digit_network.py")


def _on_digits(title: str, range_skew: float, function: str = "named", **arguments: Any) -> Network:
    """A network of `digit_network.py`; the study's configurations, whose kinds it may not have, are left out.

    `range_skew` is as large as it takes to lose some ten points at W8A8: networks have more or fewer such channels.
    """
    committed = read_yaml(CHECKOUT / "params.yaml")
    model = {"network": f"{NETWORK_FILE.name}:{function}", "network_sha256": sha256(NETWORK_FILE)}
    return Network(
        title,
        {
            "model": {**model, "arguments": arguments},
            "finetune": {"epochs": 15, "batch_size": 32, "lr": 0.02},  # a larger rate fails in narrow networks
            "range_skew": range_skew,
            "qat": dict.fromkeys(committed["qat"]),
            "convert": [name for name in committed["convert"] if name in committed["ptq"]],
            "drift": {"inspect": []},
            "statistics": {"contrasts": []},
            "ship": [],
        },
    )


NETWORKS = (
    _on_digits("mobilenet_v2 0.35", 1.1, name="mobilenet_v2", width_mult=0.35),
    _on_digits("mobilenet_v3_small 0.35", 1.5, name="mobilenet_v3_small", width_mult=0.35),
    _on_digits("resnet18 0.25", 1.4, "NarrowResNet18"),
)


@dataclass(frozen=True)
class Setting:
    """Bits of weights, a scale per channel, and of activations; and whether channel ranges are skewed before."""

    name: str
    bits: int
    skewed: bool

    @property
    def widths(self) -> tuple[WeightScheme, ActivationScheme]:
        """Of weights, and of activations."""
        return WeightScheme(self.bits, "channel"), ActivationScheme(self.bits, symmetric=False)


SETTINGS = (Setting("W8A8 skewed", 8, skewed=True), Setting("W4A4", 4, skewed=False))


@dataclass(frozen=True)
class Case:
    """A network in a setting, with the images, and the file that its trainings are kept in."""

    network: Network
    setting: Setting
    fp32: Fp32Checkpoint
    dataset: Dataset
    kept: Path

    @cached_property
    def training(self) -> QatTrainingConfig:
        """As `selectq quantize --retrain` has it: activation ranges stay as they were calibrated."""
        study = validate(parameters(self.network), self.network.name).qat_training
        return dataclasses.replace(study, batch_size=BATCH, range_epochs=0.0)

    @cached_property
    def start(self) -> Quantized:
        """Quantized after training, without PTQ algorithms."""
        config = PtqConfig(*self.setting.widths, self.training.calibration, ())
        return ptq_pipeline(self.fp32, self.dataset, config, SEED)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """Every layer's scores, its share of the parameters, and its group."""
        network = fold_fp32(self.fp32, self.dataset.train.device)
        scores = retraining_scores(network, self.start, self.dataset.train.sample(SCORED_IMAGES, SEED), SEED)
        scores[SHARE] = scores["layer"].map(layer_shares(self.fp32.model, self.fp32.graph))
        return scores.assign(group=group_layers(scores))

    @cached_property
    def groups(self) -> pd.DataFrame:
        """See `group_table`."""
        return group_table(self.layers)

    def train(self, groups: Groups, rate: float, seed: int) -> dict[str, float]:
        """Validation loss, and loss and top-1 on the test images, once these groups are retrained."""
        network, dataset = copy.deepcopy(self.start), self.dataset
        if groups:
            layers = self.layers.loc[self.layers["group"].isin(members(groups)), "layer"]
            scope = scope_entries(self.fp32.model, self.fp32.graph, layers)
            half = dataset.train.sample(int(SHARE_OF_EPOCH * len(dataset.train)), seed)
            retraining = Retraining(QatConfig(scope, *self.setting.widths, 1, rate), self.training, seed)
            names = parameters_in_scope(self.fp32.model, scope, self.fp32.graph)
            retrain_quantized(network, names, retraining, dataclasses.replace(dataset, train=half), Unsaved())
        predict = quantized_forward(network, dataset.test.device)
        validation, test = (evaluate(predict, split, "") for split in (dataset.validation, dataset.test))
        return {"validation_loss": validation["loss"], **test}


Key = tuple[Groups, float, int]
"""A set, the learning rate, and the seed."""


class Trainings:
    """Those of a case; each is written as it is done, and read where it was done before."""

    def __init__(self, case: Case) -> None:
        self._case = case
        kept = pd.read_csv(case.kept, keep_default_na=False) if case.kept.is_file() else pd.DataFrame()
        self._rows: list[Mapping[Any, Any]] = [*kept.to_dict("records")]
        self._done = {(row["groups"], row["rate"], row["seed"]) for row in self._rows}

    def add_all(self, keys: Sequence[Key], label: str) -> None:
        """Train these sets."""
        for key in progress(keys, len(keys), label, "training"):
            if key not in self._done:
                self._add(*key)

    def _add(self, groups: Groups, rate: float, seed: int) -> None:
        with redirect_stderr(io.StringIO()):  # a bar for each of thousands of trainings
            measured = self._case.train(groups, rate, seed)
        self._done.add((groups, rate, seed))
        self._rows.append({"groups": groups, "rate": rate, "seed": seed, **measured})
        write_csv(self._case.kept, pd.DataFrame(self._rows, columns=TRAINED_COLUMNS))

    @property
    def table(self) -> pd.DataFrame:
        """A row each."""
        return pd.DataFrame(self._rows, columns=TRAINED_COLUMNS)

    def at(self, keys: Sequence[Key], column: str) -> dict[Groups, float]:
        """What was measured, by set."""
        own = self.table.set_index(TRAINED_COLUMNS[:3])[column]
        return {key[0]: float(own[key]) for key in keys}


def main() -> None:
    """Train what is missing, then compare."""
    arguments = _arguments()
    torch.set_num_threads(1)  # networks are small, and sums of a given order
    os.environ["SELECTQ_DATA"] = os.pathsep.join(
        [str(NETWORK_FILE.parent), *filter(None, [os.environ.get("SELECTQ_DATA")])]
    )  # where checkpoints find the file of their network
    rows, groups = [], []
    for case in cases(arguments.workspaces):
        named = dict(zip(CASE, (case.network.name, case.setting.name), strict=True))
        trainings, losses = measure(case, ", ".join(named.values()))
        reported = trainings.table.query(f"seed in {SEEDS}")
        rows.append(selector_rows(case.groups, reported, losses).assign(**named))
        groups.append(with_gains(case.groups, reported, losses).assign(**named))
        write(arguments.output, with_regret(pd.concat(rows)), pd.concat(groups))


def write(folder: Path, rows: pd.DataFrame, groups: pd.DataFrame) -> None:
    """The three tables and the picture."""
    machine = machine_slug(torch.device("cpu"), ["torch"])
    path = folder / f"plan_{machine}.csv"
    write_csv(path, by_budget(rows))
    write_csv(folder / f"plan_groups_{machine}.csv", groups)
    write_csv(folder / f"plan_selectors_{machine}.csv", by_selector(rows, groups))
    draw(by_budget(rows), machine, path.with_suffix(".png"))
    print(by_selector(rows, groups).to_string(index=False), f"\nwritten: {path}", flush=True)


def cases(workspaces: Path) -> list[Case]:
    """Every network in every setting, once its FP32 network is trained."""
    found = []
    for network, setting in product(NETWORKS, SETTINGS):
        folder = workspaces / network.name.replace(" ", "_")
        prepare(network, folder)
        skew = parameters(network)["range_skew"] if setting.skewed else 0.0
        fp32 = read_skewed(folder / "models/fp32.safetensors", skew, SEED)
        dataset = read_dataset(folder / "data/images.safetensors").normalised(fp32.normalization)
        kept = folder / f"trained_{setting.name.replace(' ', '_')}.csv"
        found.append(Case(network, setting, fp32, dataset, kept))
    return found


def measure(case: Case, label: str) -> tuple[Trainings, dict[Groups, float]]:
    """Train every set, then from further seeds every group alone and every set that a selector takes.

    Returns:
        The trainings, and the test loss of every set, smoothed.
    """
    trainings, table = Trainings(case), case.groups
    every, alone = subsets(table["layer"].to_list()), table["layer"].to_list()
    seeds = {groups: FIRST_SEED + index for index, groups in enumerate(every)}

    def keys(nats: float, sets: Sequence[Groups]) -> list[Key]:
        return [(groups, learning_rate(table, groups, nats), seeds[groups]) for groups in sets]

    swept = {nats: keys(nats, [*alone, every[-1]]) for nats in STEPS}
    trainings.add_all([key for each in swept.values() for key in each], f"{label}: rates")
    nats = min(STEPS, key=lambda nats: sum(trainings.at(swept[nats], "validation_loss").values()))
    tried = keys(nats, every)
    trainings.add_all(tried, f"{label}: every set, a step of {nats:g} nats")
    losses = smoothed(trainings.at(tried, "loss"))
    chosen = (choices(table, budget, losses).values() for budget in budgets(table))
    taken = {"", *alone, *(groups for each in chosen for sets in each for groups in sets)}
    again = [(groups, rate, seed) for groups, rate, _ in tried if groups in taken for seed in SEEDS]
    trainings.add_all(again, f"{label}: further seeds")
    return trainings, losses


def with_gains(groups: pd.DataFrame, measured: pd.DataFrame, losses: Mapping[Groups, float]) -> pd.DataFrame:
    """The table of groups, with what each won: alone, in nats of loss and points of top-1; on average among others."""
    means = measured.groupby("groups")[["loss", "top1"]].mean()
    start, alone = means.loc[""], means.loc[groups["layer"]]
    return groups.assign(
        loss_gain=(start["loss"] - alone["loss"]).to_numpy(),
        top1_gain=(alone["top1"] - start["top1"]).to_numpy(),
        average_gain=[average_gain(losses, name) for name in groups["layer"]],
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "benchmarks/results", help="folder of the tables")
    parser.add_argument(
        "--workspaces", type=Path, default=CHECKOUT / ".workspaces/plan", help="FP32 networks, and all trainings"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
