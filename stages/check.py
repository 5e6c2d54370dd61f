"""Check `params.yaml` as a whole, also where no other stage has to run: a misspelt key is silent otherwise."""

from _src import stage

from pathlib import Path

from selectq.config.configs import Params
from selectq.config.load import load_params, read_yaml
from selectq.config.registry import require_registered
from selectq.graph.capture import capture
from selectq.networks.build import build_network
from selectq.programs.program import find
from selectq.quantization.scopes import check_network
from selectq.selection.retraining import layer_shares, require_layers

CLASSES = 10
"""Of the network that is checked: those of digits and CIFAR-10. Layers and kinds do not depend on them."""

PERHAPS_EMPTY = ("calibration", "int8", "oscillation", "parity")
"""Folders of `metrics/` that `table` reads, and DVC wants to find, also where no stage has anything to write there."""


@stage(load_params)
def main(params: Params) -> None:
    model = build_network(params.model, CLASSES)
    check_network(model, params)
    if params.data.name != "imagefolder" and params.plan.cost == "parameters":  # otherwise `plan` can tell, and not yet
        require_layers(layer_shares(model, capture(model)), params.plan.budgets_pct, params.plan.cost)
    for ending in params.formats:
        find(ending).refuse(capture(model))
    for folder in PERHAPS_EMPTY:
        Path("metrics", folder).mkdir(parents=True, exist_ok=True)
    if Path("profiles").is_dir():  # a study's workspace has none, and no registry either
        require_registered(params, read_yaml(Path("dvc.yaml")).get("artifacts", {}))
