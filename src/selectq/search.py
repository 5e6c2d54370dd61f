"""Searching for a recipe: what the validation images say of a profile's configurations, and no test image.

Only the stages up to quantization and retraining run; nothing is converted, compared or tabulated.
"""

from pathlib import Path

import pandas as pd

from selectq.config.configs import Params, write_bits
from selectq.config.configurations import write_scope
from selectq.config.load import PARAMS_FILE, load_params
from selectq.files import read_json, write_csv
from selectq.report.wording import shorten_bits
from selectq.statistics.schemas import VALIDATION
from selectq.study import Study, reproduced

STAGES = ("ptq", "qat")
BITS = ("weight_bits", "activation_bits")


def run_search(checkout: Path, profile: str) -> None:
    """Run a profile's configurations, print their validation accuracies, and write `results/<profile>/validation.csv`.

    Args:
        checkout: the folder of `dvc.yaml` and `profiles/`.
        profile (PROFILE): profiles/PROFILE.yaml is laid over params.yaml

    Raises:
        UserError: no such profile, bad parameters, no DVC, a study under way, or a stage that failed.
    """
    study = Study(checkout, profile)
    path = study.results / "validation.csv"
    with reproduced(study, STAGES):
        table = validation_table(load_params(study.workspace / PARAMS_FILE), study.workspace)
        write_csv(path, table)
    shown = table.assign(**{name: table[name].map(shorten_bits, na_action="ignore") for name in BITS})
    print(shown.to_string(index=False, na_rep=""))
    print(f"kept: {path}")


def validation_table(params: Params, workspace: Path) -> pd.DataFrame:
    """A row for the FP32 network and for every configuration, in the order of the parameters.

    Returns:
        Columns as VALIDATION; the accuracy is in percent.

    Raises:
        UserError: a stage's metrics are missing.
    """
    rows: list[dict[str, object]] = [{"config": "fp32", "validation_top1": _top1(workspace / "metrics" / "fp32.json")}]
    for name in (*params.ptq, *params.qat):
        retrained = params.qat.get(name)
        config = retrained or params.ptq[name]
        rows.append(
            {
                "config": name,
                "scope": write_scope(retrained.scope) if retrained else "none",
                "weight_bits": write_bits(config.weights.bits),
                "activation_bits": write_bits(config.activations.bits),
                "symmetric": config.activations.symmetric,
                "epochs": retrained.epochs if retrained else 0,
                "lr": retrained.lr if retrained else None,
                "validation_top1": _top1(workspace / "metrics" / "simulated" / f"{name}.json"),
            }
        )
    return pd.DataFrame(rows, columns=list(VALIDATION.columns)).astype({"epochs": "Int64"})


def _top1(path: Path) -> float:
    return float(read_json(path)["validation_top1"])
