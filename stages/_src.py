"""Comes first in every stage script: the package beside the script is what runs, and starting takes a sixth less."""

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin halve the speed of whatever shares the cores
gc.disable()  # nothing that importing makes is garbage; `selectq.stage.run` has the collector back
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from selectq.stage import refuse_unless_it_may_run  # noqa: E402

refuse_unless_it_may_run()  # before torch is loaded
