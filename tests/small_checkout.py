"""A checkout with a pipeline of its own and nothing else of the project's, for commands that run one."""

import shutil
from collections.abc import Mapping
from pathlib import Path

REAL = Path(__file__).resolve().parents[1]

FILES = {
    "src/selectq/__init__.py": "",
    ".dvc/plots/drift.json": "{}",
    "benchmarks/results/int8.csv": "",
}
"""What `selectq study` takes from every checkout."""


def write_checkout(root: Path, files: Mapping[str, str]) -> None:
    """Write these files below `root`, and what every checkout has; parameters are the project's unless given."""
    for name in ("params.yaml", "pyproject.toml", ".dvcignore", ".dvc/config"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REAL / name, root / name)
    for name, content in {**FILES, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
