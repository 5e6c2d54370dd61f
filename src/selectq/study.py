"""Studies: the checkout's pipeline under a profile, in a scratch workspace that leaves the checkout untouched.

Workspaces share the checkout's DVC cache, so a stage that ran anywhere under the same parameters is
restored, not run again. Parameters therefore stay free of paths that differ between the two.
"""

import csv
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selectq.command import Positive
from selectq.config.load import PARAMS_FILE, load_params, overlay, read_yaml, validate, write_yaml
from selectq.errors import UserError
from selectq.files import only_writer, read_json, write_bytes
from selectq.team.dvc import cache_folder, opened, run_dvc, settings, stage_environment
from selectq.team.leftovers import LOCK_FILE, mend_leftovers
from selectq.team.parallel import repro_in_parallel
from selectq.team.pipeline import dependencies
from selectq.team.servable_lock import had_from_cache, servable_lock

SOURCES = (
    "dvc.yaml",
    "pyproject.toml",
    ".dvcignore",
    ".dvc/config",
    ".dvc/plots",
    "benchmarks/results",
    "stages",
    "src",
)
"""What a workspace takes from the checkout as it is."""

TABLE = "results/table2.md"
VERDICT = "results/verdict"
REPORT = "results/report.html"
PROGRAMS = "models/int8"
CARDS = "results/cards"
KEPT_PROGRAMS = Path("models") / "kept"
"""Where `--keep` puts the models and cards: git ignores it, and `make clean` leaves it."""


@dataclass(frozen=True)
class Study:
    """One profile of a checkout. Paths are relative to the current folder, as messages show them."""

    checkout: Path
    profile: str

    @property
    def overlay_file(self) -> Path:
        """The few lines laid over `params.yaml`."""
        return self.checkout / "profiles" / f"{self.profile}.yaml"

    @property
    def workspace(self) -> Path:
        """The scratch folder in which the study runs."""
        return self.checkout / ".workspaces" / self.profile

    @property
    def results(self) -> Path:
        """The folder of the tables that are kept."""
        return self.checkout / "results" / self.profile


def find_checkout() -> Path:
    """The nearest folder with `dvc.yaml` and `profiles/`, from the current one upwards, as a relative path.

    Raises:
        UserError: there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "profiles").is_dir():
            return Path(os.path.relpath(folder, here))
    raise UserError(f"{here} is not in a checkout of selectq: no dvc.yaml with profiles/ here or above")


def run_study(checkout: Path, profile: str, *, keep: bool = False, jobs: Positive = 1) -> None:
    """Run the pipeline under a profile; print Table 2, the verdict, and the paths of the report and the model.

    Where the profile lists `studies`, those are run instead, one after another; what they share runs once.

    Args:
        checkout: the folder of `dvc.yaml` and `profiles/`.
        profile (PROFILE): profiles/PROFILE.yaml is laid over params.yaml
        keep: copy small tables to results/PROFILE/, and models and cards to models/kept/PROFILE/
        jobs (N): configurations at a time, sharing the cores (default 1)

    Raises:
        UserError: no such profile, bad parameters, no DVC, a study under way, or a stage that failed.
    """
    studies = studies_of(Study(checkout, profile))
    for number, study in enumerate(studies, 1):
        if len(studies) > 1:
            print(f"study {number} of {len(studies)}: {study.profile}", flush=True)
        _run(study, keep, jobs)


def _run(study: Study, keep: bool, jobs: int) -> None:
    with reproduced(study, jobs=jobs):
        if keep:
            from selectq.claims.archive import archive_study  # noqa: PLC0415  # pandas: half a second

            with opened(study.workspace) as repository:
                archive_study(study.workspace, study.results, sorted(dependencies(repository)))
            _keep_programs(study)
    _print_result(study)
    if keep:
        print(f"kept:   {study.results}{os.sep} and {study.checkout / KEPT_PROGRAMS / study.profile}{os.sep}")


def _keep_programs(study: Study) -> None:
    """Copy the shipped and the recommended models, in all formats, and all cards to what outlives the workspace."""
    names = {*load_params(study.workspace / PARAMS_FILE).ship, _recommended(study)} - {None}
    programs = [path for name in names for path in (study.workspace / PROGRAMS / str(name)).iterdir()]
    for path in [*programs, *(study.workspace / CARDS).glob("*.md")]:
        write_bytes(study.checkout / KEPT_PROGRAMS / study.profile / path.name, path.read_bytes())


def _recommended(study: Study) -> str | None:
    """The configuration that the verdict names, if it names one."""
    name: str | None = read_json(study.workspace / f"{VERDICT}.json")["recommended"]
    return name


def _print_result(study: Study) -> None:
    """Print Table 2, the verdict, and where the report and the recommended model are."""
    print((study.workspace / TABLE).read_text(encoding="utf-8"))
    print((study.workspace / f"{VERDICT}.md").read_text(encoding="utf-8"))
    print(f"report: {study.workspace / REPORT}")
    best = _recommended(study)
    if best:
        print(f"model:  {study.workspace / PROGRAMS / best / f'{best}.onnx'}")


@contextmanager
def reproduced(study: Study, stages: Sequence[str] = (), jobs: int = 1) -> Iterator[None]:
    """Run the pipeline in the study's workspace, which nobody else runs in before the block ends.

    Only `stages` and what they need are run, if there are any.

    Raises:
        UserError: no such profile, bad parameters, no DVC or one at work, a study under way, or a stage that failed.
    """
    parameters = study_parameters(study)
    with only_writer(Path(".workspaces") / study.profile, locks=study.checkout / ".workspaces"):
        prepare_workspace(study, parameters)
        for line in mend_leftovers(study.workspace):
            print(line, flush=True)
        if jobs > 1:
            before = _seconds_before(study)
            repro_in_parallel(study.workspace, jobs, stage_environment(study.checkout), before=before)
        status = run_dvc(study.workspace, ("repro", *stages), stage_environment(study.checkout))
        if status:
            stopped = f"study {study.profile} stopped in {study.workspace}"
            raise UserError(f"{stopped} (dvc's exit status: {status}); see above")
        yield


def _seconds_before(study: Study) -> dict[str, float]:
    """What the stages took where the study was kept, by name, in `results/`: on another machine it may be otherwise."""
    path = study.results / "seconds.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        return {row["stage"]: float(row["seconds"]) for row in csv.DictReader(file)}


def studies_of(study: Study) -> list[Study]:
    """What a profile lists under `studies`, in that order; itself where it lists none.

    Raises:
        UserError: no such profile.
    """
    profiles = _profiles(study.checkout)
    study_parameters(study)  # refuses what is no profile
    names: list[str] = read_yaml(study.overlay_file).get("studies", [study.profile])
    for name in names:
        if name not in profiles:
            raise UserError(f"{study.overlay_file}: studies: {name!r} is no profile; allowed: {', '.join(profiles)}")
    return [replace(study, profile=name) for name in names]


def _profiles(checkout: Path) -> list[str]:
    return sorted(path.stem for path in (checkout / "profiles").glob("*.yaml"))


def study_parameters(study: Study) -> dict[str, Any]:
    """`params.yaml`, what the profile names as its `base` laid over that, then its own lines; validated as a whole.

    A base is a profile, or a list of them: the first is laid first, each over its own bases, and none twice.

    Raises:
        UserError: no such profile, a base that comes back to itself, or a bad parameter.
    """
    profiles = _profiles(study.checkout)
    if study.profile not in profiles:
        raise UserError(f"{study.profile!r} is no profile; allowed: {', '.join(profiles)} (the files in profiles/)")
    overlays = _overlays(study, profiles, (study.profile,))
    parameters = overlay(read_yaml(study.checkout / PARAMS_FILE), *overlays.values())
    validate(parameters, f"{study.overlay_file} over {PARAMS_FILE}")
    return parameters


def _overlays(study: Study, profiles: Sequence[str], path: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The lines of the last profile of `path`, behind those of its bases, by name; `path` says how it was come to."""
    file = replace(study, profile=path[-1]).overlay_file
    lines = read_yaml(file)
    base = lines.pop("base", [])
    lines.pop("studies", None)
    overlays: dict[str, dict[str, Any]] = {}
    for name in base if isinstance(base, list) else [base]:
        if name not in profiles:
            raise UserError(f"{file}: base: {name!r} is no profile; allowed: {', '.join(profiles)}")
        if name in path:
            raise UserError(f"{file}: base: {name} goes in a circle ({' -> '.join([*path, name])})")
        overlays |= _overlays(study, profiles, (*path, name))  # what is there already keeps its place
    return overlays | {path[-1]: lines}


def prepare_workspace(study: Study, parameters: dict[str, Any]) -> None:
    """Bring the workspace's code, configuration and parameters up to date; earlier outputs stay.

    Raises:
        UserError: DVC is not installed or cannot read its configuration.
    """
    for source in SOURCES:
        _mirror(study.checkout / source, study.workspace / source)
    cache = cache_folder(study.checkout)
    local = settings({"core": {"no_scm": "true"}, "cache": {"dir": str(cache)}})
    write_bytes(study.workspace / ".dvc" / "config.local", local.encode())
    header = f"# params.yaml under profiles/{study.profile}.yaml, written by `selectq study {study.profile}`\n"
    write_bytes(study.workspace / PARAMS_FILE, (header + write_yaml(parameters)).encode())
    own, lock = study.workspace / LOCK_FILE, study.checkout / LOCK_FILE
    if lock.exists() and not own.exists():
        write_bytes(own, servable_lock(lock, had_from_cache(cache, study.checkout)).encode())


def _mirror(source: Path, target: Path) -> None:
    """Make `target` a copy of a file or folder, without what Python and pip leave there."""
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
