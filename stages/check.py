"""Check `params.yaml` as a whole, also where no other stage has to run: a misspelt key is silent otherwise."""

import _src  # noqa: F401

# isort: split
from pathlib import Path

from selectq.networks.build import build_network
from selectq.params.load import load_params, read_yaml
from selectq.params.registry import require_registered
from selectq.quantization.scopes import check_network
from selectq.stage import run

PIPELINE = Path("dvc.yaml")
PROFILES = Path("profiles")
CLASSES = 10
"""Of the network that is checked: its layers do not depend on it."""


def main() -> None:
    """Run the stage."""
    params = load_params()
    check_network(build_network(params.model, CLASSES), params)
    if PROFILES.is_dir():  # a study's workspace has none, and no registry either
        require_registered(params, read_yaml(PIPELINE).get("artifacts", {}))


if __name__ == "__main__":
    run(main)
