"""A team's shared results: everything that ran, to the remote and back, without training again."""

from pathlib import Path
from typing import Any

from selectq.errors import UserError
from selectq.params.load import read_yaml
from selectq.stage import ONLY_RESTORE
from selectq.team.dvc import ask_dvc, run_dvc, stage_environment
from selectq.team.leftovers import mend_leftovers


def share(checkout: Path) -> None:
    """Push what the workspace's stages wrote, and the run cache: which inputs led to which outputs.

    Raises:
        UserError: no remote is named, or not everything could be pushed.
    """
    remote = default_remote(checkout)
    if run_dvc(checkout, ("push", "--run-cache"), stage_environment(checkout)):
        raise UserError(f"not everything reached the remote {remote!r}, see above; nothing is lost: share again")


def fetch(checkout: Path) -> None:
    """Bring the workspace to what `dvc repro` would make of it, from cache and remote, without running costly stages.

    Where the lock is missing or the parameters differ from it, the run cache says which outputs belong to them.

    Raises:
        UserError: no remote is named, DVC is at work here, or a stage's outputs are neither in the cache nor on the
            remote.
    """
    remote = default_remote(checkout)
    for line in mend_leftovers(checkout):
        print(line, flush=True)
    environment = stage_environment(checkout)
    restoring = environment | {ONLY_RESTORE: "1"}
    if run_dvc(checkout, ("repro", "--pull", "--keep-going", *costly_stages(checkout)), restoring):
        raise UserError(
            f"some stages' outputs could not be had from the remote {remote!r}, see above; the others are in place: "
            "fetch again once they are shared, or let `dvc repro` run them"
        )
    if run_dvc(checkout, ("repro",), environment):
        raise UserError("the tables could not be written, see above")


def default_remote(checkout: Path) -> str:
    """The name of the remote that DVC uses if none is named.

    Raises:
        UserError: there is none.
    """
    names = [line.split()[0] for line in ask_dvc(checkout, "remote", "list").splitlines()]
    chosen = [line for line in ask_dvc(checkout, "config", "--list").splitlines() if line.startswith("core.remote=")]
    if not chosen:
        known = f"; name one of {', '.join(names)}: dvc remote default NAME" if names else ""
        raise UserError(f"no remote is the default{known or '; add one: dvc remote add --default NAME URL'}")
    return chosen[-1].partition("=")[2]


def costly_stages(checkout: Path) -> list[str]:
    """The stages that DVC keeps the outputs of; the others only lay tables out anew."""
    stages: dict[str, Any] = read_yaml(checkout / "dvc.yaml")["stages"]
    return [name for name, body in stages.items() if all(isinstance(out, str) for out in body.get("do", body)["outs"])]
