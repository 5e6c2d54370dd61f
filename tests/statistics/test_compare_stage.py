"""The stage as a user runs it, on made-up logits: its outputs, and faults in one line."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from stage_process import run_stage

from selectq.config.load import overlay, read_yaml
from selectq.data.packed import Dataset, Split, write_dataset
from selectq.files import write_tensors

IMAGES, CLASSES = 400, 4
LABELS = torch.arange(IMAGES) % CLASSES
WRONG = {"fp32": 40, "tensor": 300, "full": 36, "dw": 50}
"""Of how many images, the first ones, a network takes each for the next class."""
CONFIGURATIONS = {"ptq": ["tensor"], "qat": ["full", "dw"]}
SEEDS = {1: 52, 2: 48}
"""The same for further trainings of `dw`."""


def logits(wrong: int) -> torch.Tensor:
    """(IMAGES, CLASSES): 1 for the class that is named, 0 for the others."""
    named = LABELS.clone()
    named[:wrong] = (named[:wrong] + 1) % CLASSES
    return torch.nn.functional.one_hot(named, CLASSES).float()


def write_logits(path: Path, wrong: int, **network: str | int) -> None:
    write_tensors(path, {"logits": logits(wrong)}, {**network, "split": "test"})


@pytest.fixture(scope="module")
def made(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the stage reads; to be read, not changed."""
    folder = tmp_path_factory.mktemp("made")
    document = read_yaml(checkout / "params.yaml")
    names = {section: {name: document[section][name] for name in kept} for section, kept in CONFIGURATIONS.items()}
    changes = {
        "repeat": {"names": ["dw"], "seeds": list(SEEDS)},
        "ship": ["dw"],
        "calibration_sweep": {"names": ["tensor"]},
        "plan": {"ptq": ["tensor"], "start": "tensor"},
        "statistics": {"contrasts": ["dw - full", "dw - tensor"]},
    }
    document = overlay(document, changes)
    (folder / "params.yaml").write_text(
        yaml.safe_dump(document | names | {"convert": ["tensor", "full", "dw"]}, sort_keys=False)
    )
    images = torch.zeros(IMAGES, 3, 8, 8, dtype=torch.uint8)
    splits = [Split(images.clone(), labels.clone()) for labels in (LABELS.flip(0), LABELS.flip(0), LABELS)]
    dataset = Dataset(*splits, ("a", "b", "c", "d"), {"name": "made", "source": "up"})
    write_dataset(folder / "data/images.safetensors", dataset)
    for name, wrong in WRONG.items():
        write_logits(folder / f"models/logits/{name}.safetensors", wrong, config=name)
    for seed, wrong in SEEDS.items():
        write_logits(folder / f"models/logits/repeats/dw-{seed}.safetensors", wrong, config="dw", seed=seed)
    return folder


@pytest.fixture(scope="module")
def compared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of results after the stage has run, and what it printed."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("compared") / "run")
    for name, seed in {"old": {}, "repeats/full-1": {"seed": 1}}.items():
        write_logits(folder / f"models/logits/{name}.safetensors", 0, config="old", **seed)
    ended = run_stage("compare", folder=folder)
    assert (ended.status, ended.err) == (0, "")
    return folder / "results", ended.out


def test_outputs_are_those_declared(checkout: Path, compared: tuple[Path, str]) -> None:
    results, _ = compared
    declared = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]["compare"]["outs"]
    assert {f"results/{path.name}" for path in results.iterdir()} == {path for out in declared for path in out}


def test_what_removed_configurations_left_behind_goes(made: Path, compared: tuple[Path, str]) -> None:
    logits = compared[0].parent / "models" / "logits"
    assert {path.name for path in logits.rglob("*")} == {path.name for path in made.glob("models/logits/**/*")}


def test_folder_of_retraining_is_there_where_nothing_was_retrained(compared: tuple[Path, str]) -> None:
    """DVC ends `table` with an error of its own otherwise: the folder is one of its dependencies."""
    results, _ = compared
    assert (results.parent / "metrics" / "oscillation").is_dir()


def test_pairs_are_counted_in_the_logits(compared: tuple[Path, str]) -> None:
    results, printed = compared
    paired = pd.read_csv(results / "paired.csv").set_index(["config", "reference"])
    counts = paired[["images", "gap_points", "only_config_right", "only_reference_right"]]
    assert counts.loc["tensor", "fp32"].to_list() == [400, -65.0, 0, 260]
    assert counts.loc["full", "fp32"].to_list() == [400, 1.0, 4, 0]
    assert counts.loc["dw", "fp32"].to_list() == [400, -2.5, 0, 10]
    assert counts.loc["dw", "full"].to_list() == [400, -3.5, 0, 14]
    assert paired.loc[("tensor", "fp32"), "mcnemar_p"] == pytest.approx(2.0**-259, rel=1e-3)
    assert paired.loc[("dw", "fp32"), "holm_p"] == pytest.approx(2 * 2.0**-9, rel=1e-3)
    assert printed == "keeps up with FP32, within 2 points: full\n"


def test_seeds_are_gathered(compared: tuple[Path, str]) -> None:
    results, _ = compared
    seeds = pd.read_csv(results / "seeds.csv")
    assert seeds.to_numpy().tolist() == [["dw", 0, 87.5, -2.5], ["dw", 1, 87.0, -3.0], ["dw", 2, 88.0, -2.0]]
    methods = pd.read_csv(results / "methods.csv").set_index("config")
    assert methods["seed_count"].to_dict() == {"tensor": 1, "full": 1, "dw": 3}
    contrasts = pd.read_csv(results / "contrasts.csv").set_index(["config", "reference"])
    assert contrasts.loc[("dw", "full"), ["gap_points", "seed_count"]].to_list() == [-3.5, 1], "full was trained once"
    assert contrasts.loc[("dw", "tensor"), ["gap_points", "seed_count", "seeds_gap_points"]].to_list() == [
        62.5,
        3,
        62.5,
    ]
    assert methods.loc["dw", "gap_points"] == -2.5 and methods["ci_low"].isna().to_list() == [True, True, False]


def test_fault_is_one_line_and_nothing_is_written(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "run")
    (folder / "models/logits/dw.safetensors").unlink()
    ended = run_stage("compare", folder=folder)
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1 and ended.err.startswith("error: models/logits/dw.safetensors: ")
    assert not (folder / "metrics").exists() and not (folder / "results").exists()
