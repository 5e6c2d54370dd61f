"""What is no program is refused in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from networks import scheme
from programs import Program
from steps import blends

from selectq.errors import UserError
from selectq.export.onnx_program import INPUT_NAME, OUTPUT_NAME
from selectq.export.runtime import BATCH, open_session, operator_counts, program_logits
from selectq.quantization.quantized import Scheme

CHOSEN = scheme(8, "tensor", 8, symmetric=False)


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "missing"])
def test_damaged_file_is_refused(damage: str, tmp_path: Path, program_of: Callable[[Scheme], Program]) -> None:
    path = tmp_path / "damaged.onnx"
    content = program_of(CHOSEN).path.read_bytes()
    contents = {"text": b"hello", "empty": b"", "truncated": content[: len(content) // 2]}
    if damage in contents:
        path.write_bytes(contents[damage])
    for use in (open_session, operator_counts):
        with pytest.raises(UserError) as refusal:
            use(path)
        assert str(refusal.value).startswith(f"{path}: not an ONNX program that can be loaded (")
        assert "\n" not in str(refusal.value)


def test_logits_come_in_the_images_order_whatever_the_batches(program_of: Callable[[Scheme], Program]) -> None:
    session, pixels = open_session(program_of(CHOSEN).path), blends(BATCH + 3).numpy()
    logits = program_logits(session, pixels, "program")
    assert (logits.dtype, logits.shape) == (np.float32, (BATCH + 3, 3))
    assert np.array_equal(logits, session.run([OUTPUT_NAME], {INPUT_NAME: pixels})[0])


def test_optimised_graph_is_kept_where_asked_and_nowhere_else(
    tmp_path: Path, program_of: Callable[[Scheme], Program]
) -> None:
    path = program_of(CHOSEN).path
    before = sorted(path.parent.iterdir())
    open_session(path, tmp_path / "optimised.onnx")
    assert (tmp_path / "optimised.onnx").exists()
    operator_counts(path)
    assert sorted(path.parent.iterdir()) == before
