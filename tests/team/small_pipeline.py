"""A pipeline of six quick stages, with what the real one has: configurations, folders, files for git."""

import sys
from pathlib import Path

import yaml
from trivial_pipeline import CHECKOUT, FEW, STAGE, Repository

MODEL = "models/quantized/dw.safetensors"
OTHER_MODEL = "models/quantized/clf.safetensors"
LISTED = "models/int8/clf/file.txt"

RATE = 0.001
NEW_RATE = 0.00077

RERUN = {"qat@dw", "compare", "table"}
"""What an edit of qat.dw.lr reruns."""

WRITE = f"{sys.executable} trivial.py"

STAGES = {
    "download": {
        "cmd": f"{WRITE} data/images.safetensors",
        "params": ["data"],
        "outs": ["data/images.safetensors"],
    },
    "qat": {
        "foreach": "${qat}",
        "do": {
            "cmd": f"{WRITE} models/quantized/${{key}}.safetensors",
            "deps": ["data/images.safetensors"],
            "params": ["qat.${key}"],
            "outs": ["models/quantized/${key}.safetensors"],
        },
    },
    "convert": {
        "foreach": ["clf"],
        "do": {
            "cmd": f"{WRITE} models/int8/${{item}}/file.txt",
            "deps": ["models/quantized/${item}.safetensors"],
            "outs": ["models/int8/${item}"],
        },
    },
    "compare": {
        "cmd": "cat models/quantized/* | tee models/compared.txt",
        "deps": ["models/quantized", "models/int8"],
        "outs": ["models/compared.txt"],
    },
    "table": {
        "cmd": f"{WRITE} metrics/summary.json results/table.md",
        "deps": ["models/compared.txt"],
        "metrics": [{"metrics/summary.json": {"cache": False}}],
        "outs": [{"results/table.md": {"cache": False}}],
    },
}

PARAMETERS = {**FEW, "qat": {name: {**body, "lr": RATE} for name, body in FEW["qat"].items()}}


def write_small_pipeline(root: Path) -> Repository:
    """The pipeline with nothing run yet."""
    repository = Repository(root)
    for path in (".dvcignore", ".gitignore", ".gitattributes"):
        repository.write(path, (CHECKOUT / path).read_text())
    repository.write("trivial.py", STAGE)
    repository.write("profiles/some.yaml", "data: {split_seed: 2}\n")
    repository.write("dvc.yaml", yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    repository.write("params.yaml", yaml.safe_dump(PARAMETERS, sort_keys=False))
    return repository


def set_rate(repository: Repository, name: str) -> None:
    """Give a configuration another rate."""
    parameters = yaml.safe_load(repository.read("params.yaml"))
    parameters["qat"][name]["lr"] = NEW_RATE
    repository.write("params.yaml", yaml.safe_dump(parameters, sort_keys=False))
