"""A team's shared results: everything that ran, to the remote and back, without training again."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selectq.config.load import PARAMS_FILE, load_params, read_yaml
from selectq.errors import UserError
from selectq.stage import MAY_RUN
from selectq.team.dvc import held, opened, run_dvc, stage_environment
from selectq.team.leftovers import mend_leftovers

if TYPE_CHECKING:
    from dvc.repo import Repo


def share(checkout: Path) -> None:
    """Push what the workspace's stages wrote, and the run cache: which inputs led to which outputs.

    Raises:
        UserError: no remote is named, or not everything could be pushed.
    """
    with opened(checkout) as repository:
        remote = default_remote(repository)
    if run_dvc(checkout, ("push", "--run-cache"), stage_environment(checkout)):
        raise UserError(f"not everything reached the remote {remote!r}, see above; nothing is lost: share again")


def fetch(checkout: Path) -> None:
    """Bring the workspace to what `dvc repro` would make of it, from cache and remote, without running costly stages.

    One pull gets what the lock names. Where the lock is missing or the parameters differ from it, the run cache says
    which outputs belong to them. All in this process: one of DVC for each step costs as much as the pull.

    Raises:
        UserError: the parameters are wrong, no remote is named, DVC is at work here, or a stage's outputs are neither
            in the cache nor on the remote.
    """
    load_params(checkout / PARAMS_FILE)
    for line in mend_leftovers(checkout):
        print(line, flush=True)
    environment = stage_environment(checkout) | {MAY_RUN: " ".join(cheap_stages(checkout))}
    with held(checkout) as repository:
        remote = default_remote(repository)
        logging.getLogger("dvc").setLevel(logging.ERROR)  # two lines for every stage otherwise
        fetched, problem = 0, ""
        try:
            fetched = repository.pull(allow_missing=True)["stats"]["fetched"]
        except Exception as error:  # a remote fails with whatever its library raises
            problem = f" ({error})"  # part of it may be there, in the cache or on the remote
        try:
            changed = repository.reproduce(pull=True, on_error="keep-going", run_env=environment)
        except Exception as error:
            names = ", ".join(re.findall("'([^']+)'", str(error))) or str(error)
            raise UserError(
                f"not to be had from the remote {remote!r}{problem}: {names}; what does not need these is in place; "
                "fetch again once they are shared, or let `dvc repro` run them"
            ) from None
    restored = f", {len(changed)} stages restored or written anew" if changed else ""
    print(f"{fetched} files fetched from {remote!r}{restored}; the workspace is as `dvc repro` would make it")


def default_remote(repository: "Repo") -> str:
    """The name of the remote that DVC uses if none is named.

    Raises:
        UserError: there is none.
    """
    names, chosen = list(repository.config["remote"]), repository.config["core"].get("remote")
    if not chosen:
        known = f"; name one of {', '.join(names)}: dvc remote default NAME" if names else ""
        raise UserError(f"no remote is the default{known or '; add one: dvc remote add --default NAME URL'}")
    return str(chosen)


def cheap_stages(checkout: Path) -> list[str]:
    """The stages that write files for git, or nothing: they check, or lay out anew what the others measured."""
    stages: dict[str, Any] = read_yaml(checkout / "dvc.yaml")["stages"]
    outs = {name: body.get("do", body).get("outs", []) for name, body in stages.items()}
    return [name for name, each in outs.items() if not each or any(isinstance(out, dict) for out in each)]
