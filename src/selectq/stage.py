"""What stage scripts share, and how they and commands run: errors as one line, and the exit status for them."""

import argparse
import contextlib
import errno
import gc
import inspect
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from selectq.errors import UserError
from selectq.files import only_writer
from selectq.seconds import record_seconds

if TYPE_CHECKING:
    from selectq.config.configs import Params

MAY_RUN = "SELECTQ_MAY_RUN"
"""Environment variable: where it is set, only the stages that it names do any work; what others wrote is to be had."""

LOADED = perf_counter()
"""When this process began, but for Python's own start."""

SHELLS = ("sh", "dash", "bash", "zsh", "fish")


def stage(
    load: "Callable[[], Params]", writes: str = "", names: str = ""
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Make a function the main function of a stage script, and run it where the script is what Python runs.

    It is called with the arguments that it asks for: `params`, `output`, and others, which are options of the command:
    `name` is `--name`.

    Args:
        load: gives the checked parameters, `params`.
        writes: the path of an output, `output`, with options in braces. Nobody else writes it at the same time.
        names: where the parameters list the configurations that `--name` may be: a section, or a key in it.
    """

    def decorate(work: Callable[..., None]) -> Callable[[], None]:
        def main() -> None:
            run(lambda: _do(work, load, writes, names))
            if "DVC_STAGE" in os.environ:
                record_seconds(os.environ["DVC_STAGE"], perf_counter() - LOADED)

        if work.__module__ == "__main__":
            main()
        return main

    return decorate


def _do(work: Callable[..., None], load: "Callable[[], Params]", writes: str, names: str) -> None:
    asked = inspect.signature(work).parameters
    parser = argparse.ArgumentParser(description=getattr(inspect.getmodule(work), "__doc__", None))
    for name in [name for name in asked if name not in ("params", "output")]:
        allowed = f"a configuration under {names} in params.yaml" if name == "name" else None
        parser.add_argument(f"--{name}", required=True, type=asked[name].annotation, help=allowed)
    options = vars(parser.parse_args())
    params, output = load(), Path(writes.format(**options))
    if names:
        from selectq.config.load import choose  # noqa: PLC0415  # what commands do without

        section: Iterable[str] = reduce(getattr, names.split("."), cast(Any, params))
        choose(dict.fromkeys(section), options["name"], names)
    given = {"params": params, "output": output, **options}
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, it alone writes
    with only_writer(output) if writes and first else contextlib.nullcontext():
        work(**{name: given[name] for name in asked})


def run(main: Callable[[], None]) -> None:
    """Run `main` and exit: 0 when it is done, 2 for a user's mistake or a full disk, 130 for Ctrl-C.

    SIGTERM ends the run like Ctrl-C, so that nothing is left half-written.
    """
    gc.enable()  # held while the modules loaded, by those who want to start fast
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _end_with_dvc()
    try:
        main()
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        _fail(f"{error.filename or 'an output'}: {error.strerror}")


def refuse_unless_it_may_run() -> None:
    """End the process where DVC runs this stage although what it writes is to be had without."""
    stage = os.environ.get("DVC_STAGE", "")
    if MAY_RUN in os.environ and stage.partition("@")[0] not in os.environ[MAY_RUN].split():
        _fail(f"{stage}: what it writes is neither in the cache nor on the remote")


def _end_with_dvc() -> None:
    """Where DVC runs this stage, end when it is killed: left behind, the stage would meet the next `dvc repro`."""
    if "DVC_STAGE" not in os.environ or not hasattr(os, "pidfd_open"):
        return
    dvc = os.getppid()
    if Path(f"/proc/{dvc}/comm").read_text(encoding="utf-8").strip() in SHELLS:  # some stay between DVC and the stage
        dvc = int(Path(f"/proc/{dvc}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])

    def end_with(process: int) -> None:
        select.select([process], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    with contextlib.suppress(OSError):  # it is gone already
        threading.Thread(target=end_with, args=[os.pidfd_open(dvc)], daemon=True).start()


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
