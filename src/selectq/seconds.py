"""How long each stage took, beside its metrics. DVC neither caches nor compares it: no two runs take the same time."""

import os
from collections.abc import Iterable
from pathlib import Path

from selectq.files import read_json, write_json

FOLDER = Path("metrics") / "seconds"


def record_seconds(stage: str, seconds: float) -> None:
    """Keep how long a stage took, and on how many threads, in the current folder; `stage` is DVC's name of it."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    write_json(FOLDER / f"{stage}.json", {"seconds": round(seconds, 1), "threads": threads})


def recorded_seconds(folder: Path, stages: Iterable[str]) -> dict[str, tuple[float, int]]:
    """Seconds and threads of these stages, by name, as far as they ran in a checkout or workspace."""
    records = {stage: folder / FOLDER / f"{stage}.json" for stage in stages}
    return {stage: tuple(read_json(path).values()) for stage, path in records.items() if path.exists()}
