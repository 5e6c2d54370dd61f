"""What is kept of a finished study."""

from pathlib import Path

import pandas as pd

from selectq.claims.archive import COPIED, archive_study
from selectq.files import write_csv, write_json
from selectq.statistics.schemas import TABLE1


def test_large_tables_are_cut_to_what_is_read(tmp_path: Path) -> None:
    for name in COPIED:
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    learns = {"params_retrained": 0, "params_retrained_pct": 0.0, "epochs": 0}
    rows = [{"config": "channel", "method": "ptq", **learns}, {"config": "full", "method": "qat", **learns}]
    write_csv(tmp_path / "run/results/table1.csv", TABLE1.frame(rows))
    drift = [
        ("channel", 0, "a", "block", "accumulated", 0.1),
        ("channel", 0, "a", "block", "isolated", 0.2),
        ("channel", 0, "b", "stem", "accumulated", 0.3),
        ("full", 1, "c", "block", "accumulated", 0.4),
    ]
    causes = [
        ("channel", 0, "b", "stem", "inherited", 9.0),
        ("channel", 0, "b", "stem", "weight rounding", 0.1),
        ("channel", 0, "b", "stem", "clipping", 0.02),
        ("channel", 1, "c", "head", "activation rounding", 0.5),
        ("full", 0, "b", "stem", "clipping", 7.0),
    ]
    for name, rows in (("drift", drift), ("causes", causes)):
        columns = ["config", "index", "layer", "layer_kind", "kind" if name == "drift" else "cause", "drift"]
        pd.DataFrame(rows, columns=columns).to_csv(tmp_path / f"run/plots/{name}.csv", index=False)

    write_json(tmp_path / "run/metrics/seconds/drift@full.json", {"seconds": 1.5, "threads": 2})
    write_json(tmp_path / "run/metrics/seconds/qat@gone.json", {"seconds": 9.0, "threads": 2})

    archive_study(tmp_path / "run", tmp_path / "kept", ["check", "drift@full"])
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert kept == {*(Path(name).name for name in COPIED), "seconds.csv", "block_drift.csv", "own_errors.csv"}
    assert (tmp_path / "kept/params.yaml").read_text() == "params.yaml"
    seconds = pd.read_csv(tmp_path / "kept/seconds.csv")
    assert seconds.to_numpy().tolist() == [["drift@full", 1.5, 2]], "of the stages that there are"
    blocks = pd.read_csv(tmp_path / "kept/block_drift.csv")
    assert blocks.to_numpy().tolist() == [["channel", 0, 0.1], ["full", 1, 0.4]]
    errors = pd.read_csv(tmp_path / "kept/own_errors.csv")
    assert errors.to_numpy().tolist() == [["channel", "b", "stem", 0.12], ["channel", "c", "head", 0.5]]
