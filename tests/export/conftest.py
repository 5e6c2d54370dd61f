"""Fixtures of the export tests."""

from collections.abc import Callable

import pytest
from networks import IMAGE_SIZE, quantized
from programs import Program

from selectq.export.onnx_program import write_onnx
from selectq.export.reference import to_reference
from selectq.quantization.quantized import Scheme


@pytest.fixture(scope="session")
def program_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Scheme], Program]:
    """The briefly trained network as a program of a scheme, written once: the exporter takes seconds."""
    folder, written = tmp_path_factory.mktemp("programs"), dict[Scheme, Program]()

    def build(scheme: Scheme) -> Program:
        if scheme not in written:
            path, network = folder / f"{len(written)}.onnx", quantized(scheme)
            reference = to_reference(network)
            write_onnx(path, reference, IMAGE_SIZE, {"name": "some"})
            written[scheme] = Program(network, reference, path)
        return written[scheme]

    return build
