"""What `ship` promises: an entry of DVC's model registry, under `artifacts` in dvc.yaml, for each file of a model."""

from collections.abc import Mapping
from typing import Any

from selectq.config.configs import Params
from selectq.config.load import write_yaml
from selectq.errors import UserError

RUNTIMES = {"onnx": "ONNX Runtime", "pt2": "PyTorch (torch.export)", "pte": "ExecuTorch with XNNPACK"}


def registry_entries(params: Params) -> dict[str, dict[str, Any]]:
    """The entries of all shipped models, by name: DVC allows no `_` and no `.` in it."""
    return {
        f"{name.replace('_', '-')}-{form}": {
            "path": f"models/int8/{name}/{name}.{form}",
            "type": "model",
            "desc": f"INT8 {params.model.title}, {name}; for {RUNTIMES.get(form, form)}",
            "labels": ["int8", params.model.network, form],
            "meta": {
                "configuration": name,
                "card": f"results/cards/{name}.md",
                "metrics": f"metrics/int8/{name}.json",
            },
        }
        for name in params.ship
        for form in params.formats
    }


def require_registered(params: Params, artifacts: Mapping[str, Any]) -> None:
    """Refuse a shipped file that is not under `artifacts`; the lines to add are printed. DVC makes no entries itself.

    Raises:
        UserError: names what is missing.
    """
    registered = {artifact["path"] for artifact in artifacts.values()}
    missing = {name: entry for name, entry in registry_entries(params).items() if entry["path"] not in registered}
    if missing:
        print(write_yaml({"artifacts": missing}))
        raise UserError(f"ship: not under artifacts in dvc.yaml: {', '.join(missing)}; add the lines above")
