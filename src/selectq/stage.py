"""How a stage script or a command runs: errors as one line, and the exit status that goes with them."""

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable

from selectq.errors import UserError

ONLY_RESTORE = "SELECTQ_ONLY_RESTORE"
"""Environment variable: where it is set, no stage does any work, because what ran elsewhere is to be fetched."""


def run(main: Callable[[], None]) -> None:
    """Run `main` and exit: 0 when it is done, 2 for a user's mistake or a full disk, 130 for Ctrl-C.

    SIGTERM ends the run like Ctrl-C, so that nothing is left half-written.
    """
    gc.enable()  # held while the modules loaded, by those who want to start fast
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _refuse_work_that_ran_elsewhere()
        main()
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        _fail(f"{error.filename or 'an output'}: {error.strerror}")


def _refuse_work_that_ran_elsewhere() -> None:
    if os.environ.get(ONLY_RESTORE):
        raise UserError(f"{' '.join(sys.argv)}: its outputs are neither in the cache nor on the remote")


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
