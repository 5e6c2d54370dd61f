"""Jobs on a Ray cluster. Every machine of it has selectq installed, and reaches the repository and the remote."""

import importlib.util
import logging
import socket

from selectq.errors import UserError
from selectq.team.job import Engine, Job, Outcome, work

RETRIES = 3
"""How often a job is given to another worker when the one that had it died."""

CONNECT_TIMEOUT_S = 10


def ray_engine(address: str) -> Engine:
    """An engine on the cluster at `address` (`auto`: the one that this machine belongs to).

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed; install selectq[fanout], or use --engine local")
    import ray  # noqa: PLC0415

    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address!r}: {str(error).splitlines()[0]}") from None
    remote = ray.remote(max_retries=RETRIES)(work)

    def engine(job: Job) -> Outcome:
        try:
            outcome: Outcome = ray.get(remote.options(num_cpus=job.threads).remote(job))
            return outcome
        except ray.exceptions.RayError as error:
            return Outcome(job.stage, False, f"its worker died {RETRIES + 1} times: {str(error).splitlines()[0]}")

    return engine


def _require_answer(address: str) -> None:
    """Raise an OSError or a ValueError at once where Ray would try for minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
