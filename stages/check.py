"""Check `params.yaml` as a whole, also where no other stage has to run: a misspelt key is silent otherwise."""

import _src  # noqa: F401

# isort: split
from pathlib import Path

from selectq.params.load import load_params, read_yaml
from selectq.params.registry import require_registered
from selectq.stage import run

PIPELINE = Path("dvc.yaml")
PROFILES = Path("profiles")


def main() -> None:
    """Run the stage."""
    params = load_params()
    if PROFILES.is_dir():  # a study's workspace has none, and no registry either
        require_registered(params, read_yaml(PIPELINE).get("artifacts", {}))


if __name__ == "__main__":
    run(main)
