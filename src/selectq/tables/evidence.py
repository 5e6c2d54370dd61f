"""What the earlier stages measured, read back and checked for completeness."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import pandas as pd

from selectq.errors import UserError
from selectq.files import read_json
from selectq.params.fields import Between, Config

Percent = Annotated[float, Between(0, 100)]
Natural = Annotated[int, Between(0, 10**12)]
Positive = Annotated[int, Between(1, 10**12)]

LEARNING_COLUMNS = {"config": str, "epoch": int, "split": str, "loss": float, "top1": float}
DRIFT_COLUMNS = {"config": str, "index": int, "layer": str, "layer_kind": str, "kind": str, "drift": float}
RANGE_COLUMNS = {"layer": str, "channel": int, "low": float, "high": float}
HISTOGRAM_COLUMNS = {"config": str, "layer": str, "tensor": str, "level": int, "share": float}


@dataclass(frozen=True)
class Fp32Metrics(Config):
    """The FP32 network, and the data that it and every other network is measured on."""

    test_top1: Percent
    validation_top1: Percent
    parameters: Positive
    size_bytes: Positive
    test_images: Positive
    data: str


@dataclass(frozen=True)
class SimulatedMetrics(Config):
    """A fake-quantized network: accuracy on the validation images, and how many parameters learned."""

    validation_top1: Percent
    parameters: Positive
    params_retrained: Natural


@dataclass(frozen=True)
class Int8Metrics(Config):
    """An integer program on the test images; `flipped_pct`: predictions that differ from the simulation's."""

    test_top1: Percent
    size_bytes: Positive
    flipped_pct: Percent


@dataclass(frozen=True)
class Evidence:
    """Metrics by configuration, and the long tables of the training and drift stages."""

    fp32: Fp32Metrics
    simulated: dict[str, SimulatedMetrics]
    int8: dict[str, Int8Metrics]
    learning: pd.DataFrame
    drift: pd.DataFrame
    channel_ranges: pd.DataFrame
    histograms: pd.DataFrame


def read_evidence(root: Path, ptq: Collection[str], qat: Collection[str], converted: Collection[str]) -> Evidence:
    """Read everything below `root`, the folder of metrics.

    Args:
        root: holds fp32.json, simulated/, int8/, learning/ and drift/.
        ptq: names of the configurations quantized after training.
        qat: names of the retrained ones.
        converted: names of all that became integer programs.

    Raises:
        UserError: a file is missing, damaged or incomplete, or belongs to a configuration that is no longer there.
    """
    names = {"fp32", *ptq, *qat}
    simulated = [root / "simulated" / f"{name}.json" for name in (*ptq, *qat)]
    int8 = [root / "int8" / f"{name}.json" for name in converted]
    learning = [root / "learning" / f"{name}.csv" for name in ("fp32", *qat)]
    refuse_stale([*simulated, *int8, *learning])
    return Evidence(
        fp32=_read_metrics(root / "fp32.json", Fp32Metrics),
        simulated={path.stem: _read_metrics(path, SimulatedMetrics) for path in simulated},
        int8={path.stem: _read_metrics(path, Int8Metrics) for path in int8},
        learning=pd.concat([_read_table(path, LEARNING_COLUMNS, names) for path in learning], ignore_index=True),
        drift=_read_table(root / "drift" / "drift.csv", DRIFT_COLUMNS, names),
        channel_ranges=_read_table(root / "drift" / "channel_ranges.csv", RANGE_COLUMNS, names),
        histograms=_read_table(root / "drift" / "histograms.csv", HISTOGRAM_COLUMNS, names),
    )


def refuse_stale(expected: Iterable[Path]) -> None:
    """Refuse what lies beside the expected files and is not one of them: a removed configuration leaves it behind.

    Raises:
        UserError: names all such files.
    """
    wanted = set(expected)
    kinds = sorted({(path.parent, path.suffix) for path in wanted})
    stale = [str(path) for folder, suffix in kinds for path in sorted(folder.glob(f"*{suffix}")) if path not in wanted]
    if stale:
        raise UserError(
            f"{', '.join(stale)}: of no configuration in params.yaml; delete, or put the configuration back"
        )


Metrics = TypeVar("Metrics", bound=Config)


def _read_metrics(path: Path, kind: type[Metrics]) -> Metrics:
    content = read_json(path)
    wanted = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if not isinstance(content, dict):
        raise UserError(f"{path}: {content!r:.60} is not a mapping of metrics; run the stage that writes it")
    for name in wanted:
        if name not in content:
            raise UserError(f"{path}: {name} is missing; run the stage that writes it")
    return kind.from_mapping({name: content[name] for name in wanted}, str(path))


def _read_table(path: Path, columns: Mapping[str, type], names: Collection[str]) -> pd.DataFrame:
    """The columns of a CSV file; `names` are those that its column `config`, if it has one, may hold."""
    try:
        table = pd.read_csv(path, dtype=dict(columns), na_filter=False)[list(columns)]  # a name may be `nan`
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}); run the stage that writes it"
        ) from None
    unknown = sorted(set(table.get("config", ())) - set(names))
    if unknown:
        raise UserError(f"{path}: holds {', '.join(unknown)}, not in params.yaml; run the stage that writes it")
    return table
