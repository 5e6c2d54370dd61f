"""Schemas of the CSV files: typed rows from what is written, and one line for what is damaged."""

from pathlib import Path

import pandas as pd
import pytest

from selectq.analysis import drift, error_decomposition
from selectq.errors import UserError
from selectq.files import write_csv
from selectq.parity.evidence import CONFUSION_COLUMNS
from selectq.statistics import schemas
from selectq.statistics.schemas import Number, Schema
from selectq.training.oscillation import OSCILLATION_COLUMNS

EVERY_TYPE = Schema(config=str, images=int, top1=float, low=Number, sure=bool)
ROWS = [("nan", 3, 0.1, None, True), ("b", 4, 1e-5, -0.5, False)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = EVERY_TYPE.frame(ROWS)
    write_csv(tmp_path / "a.csv", table.assign(further=1))
    pd.testing.assert_frame_equal(EVERY_TYPE.read(tmp_path / "a.csv"), table, check_dtype=False)
    assert table["low"].isna().to_list() == [True, False] and table["config"].to_list() == ["nan", "b"]


def test_what_is_missing_is_empty() -> None:
    (row,) = EVERY_TYPE.frame([{"images": 1, "top1": 2, "sure": True}]).itertuples(index=False)
    assert (row.config, row.top1) == ("", 2.0) and pd.isna(row.low)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read (No columns to parse from file)"),
        ("\0\0", "column config is missing"),
        ("config,images,top1,low\n", "column sure is missing"),
        ("config,images,top1,low,sure\na,3,,1,True\n", "column top1: '' is not a number"),
        ("config,images,top1,low,sure\na,3,nan,1,True\n", "column top1: 'nan' is not a number"),
        ("config,images,top1,low,sure\na,3,1,many,True\n", "column low: 'many' is not a number"),
        ("config,images,top1,low,sure\na,3.5,1,,True\n", "column images: '3.5' is not a whole number"),
        ("config,images,top1,low,sure\na,1e400,1,,True\n", "column images: '1e400' is not a whole number"),
        ("config,images,top1,low,sure\na,3,1,,yes\n", "column sure: 'yes' is not True or False"),
        ("config,images,top1,low,sure\nc,3,1,,True\n", "column config holds c, not in params.yaml"),
    ],
)
def test_damaged_file_is_refused_in_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(UserError) as refusal:
        EVERY_TYPE.read(path, ["a", "b"])
    assert str(refusal.value) == f"{path}: {message}; run the stage that writes it"


def test_files_of_several_configurations_are_one_table(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_csv(tmp_path / f"{name}.csv", EVERY_TYPE.frame([(name, 3, 0.1, 0.2, True)]))
    assert EVERY_TYPE.gather(tmp_path, ".csv", ["a", "b"])["config"].to_list() == ["a", "b"]
    assert list(EVERY_TYPE.gather(tmp_path, ".csv", [])) == list(EVERY_TYPE.columns)
    with pytest.raises(UserError, match=r"c\.csv: cannot be read"):
        EVERY_TYPE.gather(tmp_path, ".csv", ["a", "c"])


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        (schemas.DRIFT, ["config", *drift.DRIFT_COLUMNS]),
        (schemas.CAUSES, ["config", *error_decomposition.CAUSE_COLUMNS]),
        (schemas.OSCILLATION, ["config", *OSCILLATION_COLUMNS]),
        (schemas.CONFUSION, CONFUSION_COLUMNS),
    ],
    ids=["drift", "causes", "oscillation", "confusion"],
)
def test_stages_write_the_columns_that_are_read(schema: Schema, written: list[str]) -> None:
    assert list(schema.columns) == written
