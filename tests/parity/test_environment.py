"""What a measurement ran on, without anything that names the machine."""

import platform

import torch

from selectq.parity.environment import INSTRUCTION_SETS, describe_environment


def test_versions_are_those_that_run() -> None:
    versions = describe_environment()["versions"]
    assert versions["python"] == platform.python_version()
    assert torch.__version__.startswith(versions["torch"].partition("+")[0])
    assert set(versions) <= {"python", "torch", "onnxruntime", "executorch"}


def test_machine_is_not_named() -> None:
    found = describe_environment()
    assert set(found) == {"versions", "architecture", "instructions"}
    assert set(found["instructions"]) <= set(INSTRUCTION_SETS)
    assert platform.node() not in str(found)
