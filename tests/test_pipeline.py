"""dvc.yaml declares exactly what each stage uses, and everything it names exists."""

import ast
from pathlib import Path

import pytest
import yaml
from pipeline_deps import expand_stages, read_stages, used_sources

from selectq.config.load import read_yaml, validate
from selectq.study import Study, study_parameters

CHECKOUT = Path(__file__).resolve().parents[1]
PARAMETERS = read_yaml(CHECKOUT / "params.yaml")
STAGES = read_stages(CHECKOUT)


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_the_folders_that_it_imports_from_and_no_others(name: str) -> None:
    stage = STAGES[name]
    used = used_sources(CHECKOUT, stage.script)
    assert [path for path in used if not any(_within(path, source) for source in stage.sources)] == []
    assert [source for source in stage.sources if not any(_within(path, source) for path in used)] == []
    assert stage.script in stage.dependencies


@pytest.mark.parametrize("name", STAGES)
def test_what_is_computed_depends_on_the_pinned_versions(name: str) -> None:
    """Another torch may give other bits; stages that only read metrics do not import it."""
    body = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["stages"][name]
    pinned = {"pyproject.toml": ["project.dependencies"]} in body.get("do", body).get("params", [])
    assert pinned == any(path in STAGES[name].sources for path in ("src/selectq/networks", "src/selectq/kernels"))


def _within(path: str, source: str) -> bool:
    return path == source or path.startswith(f"{source}/")


def test_package_init_files_hold_nothing_but_a_docstring() -> None:
    files = sorted((CHECKOUT / "src" / "selectq").rglob("__init__.py"))
    assert files
    for file in files:
        body = ast.parse(file.read_text()).body
        assert len(body) == 1 and ast.get_docstring(ast.parse(file.read_text())), file


@pytest.mark.parametrize("name", STAGES)
def test_script_is_a_page_of_one_function(name: str) -> None:
    """What stages share is in `@stage`, and what they do in the package."""
    text = (CHECKOUT / STAGES[name].script).read_text()
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert [node.name for node in functions] == ["main"] and text.count("@stage(") == 1
    assert len(text.splitlines()) < 100


@pytest.mark.parametrize("name", sorted(STAGES.keys() - {"check"}))  # which depends on the whole file
def test_script_reads_only_the_parameters_that_its_stage_declares(name: str) -> None:
    """Scripts read sections as `params.<section>` and never hand on `params` as a whole.

    The section that `foreach` goes over is read to find the entry, which is declared by its full name.
    """
    declared = {parameter.partition(".")[0] for parameter in STAGES[name].parameters} | {STAGES[name].repeated_over}
    tree = ast.parse((CHECKOUT / STAGES[name].script).read_text())
    sections = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_params(node.value)]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    assert sum(node.id == "params" for node in names) == sum(isinstance(node.value, ast.Name) for node in sections)
    assert {node.attr for node in sections} | {STAGES[name].repeated_over} == declared


def _is_params(node: ast.AST) -> bool:
    """Whether an expression is the loaded parameters: the name `params`, or a call of load_params."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "load_params"
    return isinstance(node, ast.Name) and node.id == "params"


def test_every_parameter_is_tracked_by_a_stage() -> None:
    tracked = {parameter for stage in expand_stages(CHECKOUT, PARAMETERS).values() for parameter in stage.parameters}
    tracked |= {str(stage.repeated_over) for stage in STAGES.values()}  # their values are in the stages' names
    for section, value in PARAMETERS.items():
        keys = [section] if section in tracked else [f"{section}.{name}" for name in value]
        assert set(keys) <= tracked, section


def test_outputs_of_different_stages_are_apart() -> None:
    outputs = [path for stage in expand_stages(CHECKOUT, PARAMETERS).values() for path in stage.outputs]
    assert len(set(outputs)) == len(outputs)


@pytest.mark.parametrize("profile", sorted(path.stem for path in (CHECKOUT / "profiles").glob("*.yaml")))
def test_profile_is_valid(profile: str) -> None:
    validate(study_parameters(Study(CHECKOUT, profile)), profile)


def test_every_plot_template_exists() -> None:
    plots = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["plots"]
    templates = {body["template"] for entry in plots for body in entry.values()}
    assert templates
    missing = [name for name in templates if not (CHECKOUT / name).is_file()]
    assert not missing
