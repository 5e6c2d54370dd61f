"""FP32 checkpoints: what was written is read bit for bit, in the same bytes, and nothing else passes for one."""

import dataclasses
from pathlib import Path

import pytest
import torch
from small_networks import coloured_dataset, model_config, quantized, same_tensors, scheme, trained

from selectq.data.packed import write_dataset
from selectq.errors import UserError
from selectq.files import write_bytes, write_tensors
from selectq.networks.build import build_network
from selectq.networks.checkpoint import Fp32Checkpoint, read_fp32, write_fp32
from selectq.quantization.quantized import QuantizedCheckpoint, write_quantized


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoint = trained("as_is")
    write_fp32(tmp_path / "fp32", checkpoint)
    found = read_fp32(tmp_path / "fp32")
    assert same_tensors(found.model, checkpoint.model)
    assert (found.config, found.classes) == (checkpoint.config, checkpoint.classes)
    assert not found.model.training
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(found.model(x), checkpoint.model.to(memory_format=torch.contiguous_format)(x))


def test_same_network_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_fp32(tmp_path / name, trained())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_network_that_asks_for_its_version_is_read(tmp_path: Path) -> None:
    """torchvision's MNASNet loads no state dict without one."""
    config = model_config("as_is", 0, "mnasnet0_5")
    checkpoint = Fp32Checkpoint(build_network(config, 3).eval(), config, ("a", "b", "c"))
    write_fp32(tmp_path / "fp32", checkpoint)
    assert same_tensors(read_fp32(tmp_path / "fp32").model, checkpoint.model)


def write_other_kinds(folder: Path) -> None:
    """Files of every other origin that could be mistaken for an FP32 checkpoint."""
    fp32 = trained()
    write_dataset(folder / "images", coloured_dataset())
    write_tensors(folder / "logits", {"logits": torch.zeros(2, 3)}, {"config": "fp32", "split": "test"})
    quantized_checkpoint = QuantizedCheckpoint("x", quantized(scheme()), fp32.config, fp32.classes, scheme())
    write_quantized(folder / "quantized", quantized_checkpoint)
    write_bytes(folder / "text", b"hello")
    write_bytes(folder / "empty", b"")
    write_fp32(folder / "truncated", fp32)
    write_bytes(folder / "truncated", (folder / "truncated").read_bytes()[:-1000])
    torch.save(fp32.model.state_dict(), folder / "pickle")


@pytest.mark.parametrize("kind", ["images", "logits", "quantized", "text", "empty", "truncated", "pickle", "missing"])
def test_other_file_is_refused(kind: str, tmp_path: Path) -> None:
    write_other_kinds(tmp_path)
    with pytest.raises(UserError) as refusal:
        read_fp32(tmp_path / kind)
    assert str(refusal.value).startswith(f"{tmp_path / kind}: ")
    assert "\n" not in str(refusal.value)


def test_checkpoint_of_other_shapes_is_refused(tmp_path: Path) -> None:
    checkpoint = trained()
    metadata = {"model": dataclasses.asdict(checkpoint.config), "classes": ["only", "two"]}
    write_tensors(tmp_path / "fp32", checkpoint.model.state_dict(), metadata)
    with pytest.raises(UserError, match=r"network it should \(size mismatch for classifier.1.weight: .*\)$"):
        read_fp32(tmp_path / "fp32")
