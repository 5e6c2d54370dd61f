"""What a GPU's convolutions may round, and where."""

import pytest
import torch

from selectq.data.device import choose_device, tensor_float32


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, algorithms_put_back: None) -> None:
    """Torch's settings are those of the process: other tests find them as they were."""
    monkeypatch.setenv("SELECTQ_DEVICE", "cpu")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)


def test_stages_measure_in_full_float32() -> None:
    choose_device()
    assert not torch.backends.cudnn.allow_tf32


def test_permission_ends_with_the_block() -> None:
    choose_device()
    with tensor_float32(True):
        assert torch.backends.cudnn.allow_tf32
        with pytest.raises(KeyboardInterrupt), tensor_float32(False):
            assert not torch.backends.cudnn.allow_tf32
            raise KeyboardInterrupt
        assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
