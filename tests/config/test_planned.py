"""What a plan says is to be done: written, read back, and what is no such thing."""

import dataclasses
from pathlib import Path

import pytest

from selectq.config.configs import Params
from selectq.config.load import load_params
from selectq.config.planned import Planned, planned_configurations, read_planned
from selectq.errors import UserError
from selectq.files import write_json

PARAMS_FILE = Path(__file__).resolve().parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(PARAMS_FILE)


def retraining(params: Params) -> Planned:
    training = dataclasses.replace(params.qat_training, algorithms=("equalize", "correct_bias"))
    return Planned(params.qat["dwpw_asym"], training)


def test_it_is_read_back_as_it_was_written(params: Params, tmp_path: Path) -> None:
    for planned in (Planned(params.ptq["channel_algorithms"]), retraining(params)):
        write_json(tmp_path / "plan.json", planned.entries())
        assert read_planned(tmp_path / "plan.json") == planned


def test_it_is_a_configuration_among_others_where_it_is_converted(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert planned_configurations(params.convert) == []
    write_json(Path("models/plan.json"), retraining(params).entries())
    (one,) = planned_configurations(["channel", "auto"])
    assert (one.name, one.method, one.epochs) == ("auto", "qat", 4)
    assert (one.scope, one.algorithms) == (params.qat["dwpw_asym"].scope, ("equalize", "correct_bias"))
    write_json(Path("models/plan.json"), Planned(params.ptq["channel_algorithms"]).entries())
    (one,) = planned_configurations(["auto"])
    assert (one.method, one.epochs, one.scope) == ("ptq", 0, ())
    assert one.algorithms == params.ptq["channel_algorithms"].algorithm_names


@pytest.mark.parametrize("content", [[], {}, {"ptq": {}}, {"qat": {"planned": {}}}, {"ptq": {"planned": {"bits": 8}}}])
def test_what_says_nothing_is_refused(content: object, tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", content)
    with pytest.raises(UserError, match=r"plan\.json: .*; run the stage plan$"):
        read_planned(tmp_path / "plan.json")
