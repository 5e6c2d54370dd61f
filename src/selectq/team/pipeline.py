"""Which stage needs what, as DVC reads the pipeline."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage


def dependencies(repository: "Repo") -> dict[str, set[str]]:
    """Stage -> the stages it depends on, directly or through others."""
    return {
        name: {before.name for before in stages if before.cmd and before.name != name}
        for name, stages in _with_all_before(repository).items()
    }


def folder_inputs(repository: "Repo") -> dict[str, list[str]]:
    """Stage -> what it or those before it read in folders that several stages fill: the paths of these outputs."""
    outs = [out for out in repository.index.outs if out.use_cache]
    within = {
        dependency.fs_path: [out.def_path for out in outs if out.fs.isin(out.fs_path, dependency.fs_path)]
        for dependency in repository.index.deps
    }
    return {
        name: sorted({path for stage in stages for dependency in stage.deps for path in within[dependency.fs_path]})
        for name, stages in _with_all_before(repository).items()
    }


def _with_all_before(repository: "Repo") -> dict[str, list["PipelineStage"]]:
    from networkx import descendants  # noqa: PLC0415  # comes with DVC; an edge leads to what a stage depends on

    graph = repository.index.graph
    return {stage.name: [stage, *descendants(graph, stage)] for stage in graph if stage.cmd}
