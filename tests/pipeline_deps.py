"""What each stage of dvc.yaml uses, by the imports of its script."""

import ast
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

CANNOT_CHANGE_AN_OUTPUT = (
    "src/selectq/errors.py",
    "src/selectq/stage.py",
    "src/selectq/progress.py",
)

PARAMETER = re.compile(r"\$\{([\w.]+)\}")
"""How dvc.yaml writes a parameter's value."""

DATA_SUFFIXES = (".csv", ".json", ".html", ".cpp", ".hpp")


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml, or what `foreach` or `matrix` repeats."""

    command: str
    dependencies: list[str]
    parameters: list[str]  # of params.yaml
    outputs: list[str]
    repeated_over: str | None

    @property
    def script(self) -> str:
        """The stage script that the command runs."""
        return self.command.split()[1]

    @property
    def sources(self) -> list[str]:
        """The dependencies on the package's modules."""
        return [path for path in self.dependencies if path.startswith("src/")]


def read_stages(checkout: Path) -> dict[str, Stage]:
    """The stages as dvc.yaml writes them, `foreach` not repeated."""
    document = yaml.safe_load((checkout / "dvc.yaml").read_text())
    return {name: _stage(body) for name, body in document["stages"].items()}


def expand_stages(checkout: Path, parameters: dict[str, Any]) -> dict[str, Stage]:
    """The stages under their full names, `foreach` repeated over the parameters."""
    document = yaml.safe_load((checkout / "dvc.yaml").read_text())
    stages = {}
    for name, body in document["stages"].items():
        for key, values in _repetitions(body, parameters):
            text = json.dumps(body.get("do", body))
            for variable, value in values.items():
                text = text.replace(f"${{{variable}}}", value)
            text = PARAMETER.sub(lambda found: str(_value(found[1], parameters)), text)
            stages[f"{name}@{key}" if key else name] = _stage(json.loads(text))
    return stages


def _repetitions(body: dict[str, Any], parameters: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The keys of a stage's repetitions ("" where there are none), and what stands for which variable in each."""
    if "matrix" in body:
        section = parameters[str(_stage(body).repeated_over)]
        for name, seed in itertools.product(section["names"], section["seeds"]):
            yield f"{name}-{seed}", {"item.name": name, "item.seed": str(seed)}
    elif "foreach" in body:
        for item in _value(body["foreach"].removeprefix("${").removesuffix("}"), parameters):
            yield item, {"key": item, "item": item}
    else:
        yield "", {}


def _value(key: str, parameters: dict[str, Any]) -> Any:
    """Of a parameter, by its dotted key."""
    return reduce(getitem, key.split("."), parameters)


def _stage(body: dict[str, Any]) -> Stage:
    values = body.get("foreach") or next(iter(body.get("matrix", {}).values()), None)
    over = values.removeprefix("${").removesuffix("}").partition(".")[0] if values else None
    body = body.get("do", body)
    parameters = [entry for entry in body.get("params", []) if isinstance(entry, str)]
    return Stage(body["cmd"], body["deps"], parameters, output_paths(body), over)


def output_paths(body: dict[str, Any]) -> list[str]:
    """What a stage declares to write; an entry is a path, or a mapping of one path to its options."""
    entries = [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def used_sources(checkout: Path, script: str) -> list[str]:
    """The files of the package that a script uses, directly or not, and that can change what it writes."""
    found: set[Path] = set()
    waiting = [checkout / script]
    while waiting:
        new = set(used_directly(checkout / "src", waiting.pop())) - found
        found |= new
        waiting += [path for path in new if path.suffix == ".py"]
    paths = sorted(path.relative_to(checkout).as_posix() for path in found if path.name != "__init__.py")
    return [path for path in paths if not path.startswith(CANNOT_CHANGE_AN_OUTPUT)]


def used_directly(root: Path, file: Path) -> Iterator[Path]:
    """The modules that a file imports, wherever in it, and the data files beside it that it names."""
    tree = ast.parse(file.read_text())
    for block in ast.walk(tree):
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            block.body = []  # what is imported for its types alone does not run
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_module(root, alias.name) for alias in node.names if alias.name.startswith("selectq"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("selectq"):
            yield from (_module_or_member(root, f"{node.module}", alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).endswith(DATA_SUFFIXES) and root in file.parents:
            yield from (path for path in [file.parent / str(node.value)] if path.is_file())


def _module_or_member(root: Path, module: str, name: str) -> Path:
    try:
        return _module(root, f"{module}.{name}")
    except ModuleNotFoundError:
        return _module(root, module)


def _module(root: Path, name: str) -> Path:
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    raise ModuleNotFoundError(name)
