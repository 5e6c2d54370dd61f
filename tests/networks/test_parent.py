"""The network that is quantized: the checkpoint's function, under the channel ranges that were asked for."""

from pathlib import Path

import torch
from small_networks import same_tensors, trained

from selectq.networks.checkpoint import write_fp32
from selectq.networks.parent import read_parent


def test_parent_has_skewed_ranges_and_the_same_function(tmp_path: Path) -> None:
    write_fp32(tmp_path / "fp32", trained())
    plain, skewed = (read_parent(tmp_path / "fp32", sigma, seed=0).model for sigma in (0.0, 1.0))
    assert same_tensors(plain, trained().model)
    assert not same_tensors(plain, skewed)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(plain(x), skewed(x), rtol=1e-3, atol=1e-3)
