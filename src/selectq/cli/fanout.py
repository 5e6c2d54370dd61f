"""`selectq fanout`: independent stages at the same time, here or on a cluster."""

from pathlib import Path
from typing import Literal

from selectq.command import Positive
from selectq.team.fanout import fan_out, job_template
from selectq.team.parallel import fan_out_here
from selectq.team.ray_engine import ray_engine


def run_fanout(
    checkout: Path,
    *,
    engine: Literal["local", "ray"] = "local",
    jobs: Positive = 2,
    threads: Positive | None = None,
    address: str = "auto",
    repository: str = ".",
    folder: str = "/tmp/selectq-fanout",
) -> None:
    """Run the checkout's pipeline.

    Args:
        checkout: whose pipeline it is.
        engine: where jobs run (default local)
        jobs (N): how many at a time (default 2)
        threads (N): of each job (default: a share of the cores; 1 on Ray)
        address: of the Ray cluster (default: this machine's)
        repository (URL): what the cluster's machines clone
        folder: where they put clones and logs

    Raises:
        UserError: stages failed, DVC is at work here, or there is no such cluster.
    """
    if engine == "local":
        fan_out_here(checkout, jobs, threads)
        return
    template = job_template(checkout, repository, folder, threads or 1)
    fan_out(checkout, ray_engine(address), jobs, template)
