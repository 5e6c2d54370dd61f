"""Fixtures of the tests of the tables."""

import shutil
from pathlib import Path

import made_up
import pandas as pd
import pytest
import yaml

from selectq.config.configs import Params
from selectq.config.configurations import Configuration, list_configurations
from selectq.config.load import validate
from selectq.report.evidence import Evidence, read_evidence
from selectq.report.latency import latency_points


@pytest.fixture(scope="session")
def params(checkout: Path) -> Params:
    """The made-up run's parameters."""
    return validate(made_up.parameters(checkout), "made up")


@pytest.fixture(scope="session")
def made_up_run(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the made-up run's params.yaml, metrics/, results/ and latencies; to be read, not changed."""
    folder = tmp_path_factory.mktemp("made_up")
    (folder / "params.yaml").write_text(yaml.safe_dump(made_up.parameters(checkout), sort_keys=False))
    made_up.write_metrics(folder)
    made_up.write_latencies(folder)
    return folder


@pytest.fixture
def run_folder(made_up_run: Path, tmp_path: Path) -> Path:
    """A copy of the made-up run that a test may change."""
    return shutil.copytree(made_up_run, tmp_path / "run")


@pytest.fixture(scope="session")
def configurations(params: Params) -> list[Configuration]:
    """The made-up run's configurations, in the order of its tables."""
    return list_configurations(params.ptq, params.qat, params.qat_training.algorithm_names)


@pytest.fixture(scope="session")
def evidence(made_up_run: Path, params: Params) -> Evidence:
    """The made-up run's metrics."""
    return read_evidence(made_up_run / "metrics", made_up_run / "results", params.ptq, params.qat, made_up.CALIBRATED)


@pytest.fixture(scope="session")
def latency(made_up_run: Path) -> pd.DataFrame:
    """The made-up machine's measurements, to be plotted."""
    return latency_points(made_up_run / "benchmarks" / "results")
