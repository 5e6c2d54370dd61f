"""README and docs against what is there: links, commands, profiles, parameters, examples, figures."""

import csv
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from selectq.cli.main import COMMANDS, command_parser
from selectq.config.load import read_yaml, validate
from selectq.study import Study, study_parameters

CHECKOUT = Path(__file__).resolve().parents[1]
README = CHECKOUT / "README.md"
GENERATED = ("networks.md", "results.md")
PAGES = [README, *sorted(page for page in (CHECKOUT / "docs").glob("*.md") if page.name not in GENERATED)]
HOSTS = {"dvc.org"}
PARAMETERS = read_yaml(CHECKOUT / "params.yaml")
EXAMPLE = re.compile(r"```yaml\n# profiles/(\w+)\.yaml\n(.*?)```", re.DOTALL)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands(page: Path) -> Iterator[str]:
    """Every command of an indented block."""
    for line in read(page).replace("\\\n", "").splitlines():
        if line.startswith("    "):
            yield line.strip()


def spans(page: Path) -> list[str]:
    """What stands between backticks, on one line."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", read(page))


def examples() -> dict[str, str]:
    """The profiles written out in the docs, by name."""
    return {name: text for page in PAGES for name, text in EXAMPLE.findall(read(page))}


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short() -> None:
    assert len(read(README).splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_fit_a_screen(page: Path) -> None:
    long = [line for line in read(page).splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not long


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", read(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_sends_readers_to_another_host(page: Path) -> None:
    assert set(re.findall(r"https?://([^/)\s]+)", read(page))) <= HOSTS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_profiles_exist(page: Path) -> None:
    makefile = read(CHECKOUT / "Makefile")
    targets = set(re.findall(r"^([a-z][\w-]*(?: [a-z][\w-]*)*):", makefile, re.MULTILINE))
    targets = {target for group in targets for target in group.split()}
    profiles = {path.stem for path in (CHECKOUT / "profiles").glob("*.yaml")} | examples().keys()
    parser = command_parser([command.name for command in COMMANDS])
    for command in [*commands(page), *spans(page)]:
        words = shlex.split(command, comments=True) if command.startswith(("make ", "selectq ")) else []
        if words[:1] == ["make"]:
            assert words[1] in targets, command
        elif words and command in commands(page):
            parser.parse_args(words[1:])  # exits where it does not understand
        elif words and words[1] in ("predict", "evaluate", "inspect"):
            continue  # named without their arguments
        elif words:
            parser.parse_args(["1" if word == "N" else word for word in words[1:]])
    for name in re.findall(r"PROFILE=(\w+)|profiles/(\w+)\.yaml|--profile (\w+)", read(page)):
        assert "".join(name) in profiles, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_parameters_that_are_named_exist(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(r"(src|stages|benchmarks|tests|docs)/[\w./-]+", span):
            assert (CHECKOUT / span).exists(), span
        section, *keys = span.rstrip(":").split(".")
        value: Any = PARAMETERS.get(section)
        if keys and isinstance(value, dict) and re.fullmatch(r"[\w.]+:?", span) and not span.endswith(".md"):
            for key in keys:
                assert isinstance(value, dict) and key in value, span
                value = value[key]


@pytest.mark.parametrize("name", examples())
def test_profiles_in_the_docs_are_valid(name: str, tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "profiles", tmp_path / "profiles")
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    (tmp_path / "profiles" / f"{name}.yaml").write_text(examples()[name], encoding="utf-8")
    study_parameters(Study(tmp_path, name))


def test_entries_in_the_docs_are_valid() -> None:
    diffs = re.findall(r"```diff\n (\w+):\n(.*?)```", read(CHECKOUT / "docs" / "extend.md"), re.DOTALL)
    assert {section for section, _ in diffs} == {"qat", "ptq"}
    for section, text in diffs:
        added = [line[1:] for line in text.splitlines() if line.startswith("+  ")]
        entries = yaml.safe_load("\n".join(added))
        merged = {**PARAMETERS, section: {**PARAMETERS[section], **entries}}
        validate({**merged, "convert": [*PARAMETERS["convert"], *entries]}, "extend.md")


def test_picture_shows_every_stage() -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)```", read(README), re.DOTALL)
    for stage in read_yaml(CHECKOUT / "dvc.yaml")["stages"]:
        assert re.search(rf"\b{stage}\b", picture), stage


NUMBER = re.compile(r"−?\d[\d,]*(?:\.\d+)?")


def labelled_figures() -> Iterator[tuple[list[str], list[str]]]:
    """Of every row of a table in benchmarks.md: its text cells, and the figures of its right-aligned ones."""
    for block in re.findall(r"(?:^\|.*\n)+", read(CHECKOUT / "docs" / "benchmarks.md"), re.MULTILINE):
        _, alignment, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        for row in rows:
            cells = list(zip(alignment, row, strict=True))
            figures = [figure for side, cell in cells if side == "---:" for figure in NUMBER.findall(cell)]
            yield [cell.replace("`", "") for side, cell in cells if side == "---"], figures


def rounded_from(figure: str, value: str) -> bool:
    """Whether a figure is a CSV's value, rounded to the digits shown."""
    try:
        error = abs(float(figure.replace(",", "").replace("−", "-")) - float(value))
    except ValueError:
        return False
    return error <= 0.5 * 10 ** -len(figure.partition(".")[2]) + 1e-9


def values_of(labels: list[str], file: Path) -> list[str]:
    """All that stands in the rows of a CSV in which some cell begins with each label."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    if labels[0].startswith("Ours"):
        return [row["ours"] for row in rows if "ours" in row]
    for label in labels:
        rows = [row for row in rows if any(cell.replace("`", "").startswith(label) for cell in row.values())]
    return [value for row in rows for value in row.values()]


def hold(figures: list[str], values: list[str]) -> bool:
    return all(any(rounded_from(figure, value) for value in values) for figure in figures)


def test_minutes_are_those_of_the_file() -> None:
    (file,) = (CHECKOUT / "benchmarks/results").glob("commands_*.csv")
    measured = {row["command"]: round(float(row["minutes"])) for row in csv.DictReader(read(file).splitlines())}
    told = re.findall(r"^ +(make \w+) +# about (\d+) minutes", read(README), re.MULTILINE)
    assert {command: int(minutes) for command, minutes in told} == measured


def test_benchmark_tables_are_those_of_the_files() -> None:
    files = [*(CHECKOUT / "benchmarks").glob("results/*.csv"), *(CHECKOUT / "benchmarks").glob("gpu/*.csv")]
    checked = 0
    for labels, figures in labelled_figures():
        assert any(hold(figures, values_of(labels, file)) for file in files), (labels, figures)
        checked += len(figures)
    assert checked > 100
