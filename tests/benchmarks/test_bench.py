"""The benchmark as a whole, on tiny batches, and what makes its comparisons fair."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import bench
import ours
import pandas as pd
import peers
import pytest
import torch
from report import COLUMNS
from timing import Trainer
from torch import nn
from workload import Workload, random_dataset, shrunk

from selectq.errors import UserError
from selectq.params.load import load_params
from selectq.quantization.quantizers import ActivationQuantizer

FORK_WARNING = "ignore:This process:DeprecationWarning"
"""From Python 3.12 on, starting a DataLoader's workers warns of the other threads."""


@pytest.fixture(scope="module")
def workload(checkout: Path) -> Workload:
    params = shrunk(load_params(checkout / "params.yaml"), batch_size=4, calibration_images=8)
    return Workload(params, random_dataset(8, torch.device("cpu")))


def test_quick_run_writes_table_and_picture(checkout: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1", "SELECTQ_DEVICE": "cpu"}
    script = [str(checkout / "benchmarks" / "bench.py"), "--quick", "--output", str(tmp_path)]
    command = [sys.executable, "-W", "error", "-W", FORK_WARNING, *script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (table_path,) = tmp_path.glob("quick_*.csv")
    assert sorted(tmp_path.iterdir()) == [table_path, table_path.with_suffix(".png")]
    rows = pd.read_csv(table_path)
    assert list(rows.columns) == COLUMNS
    assert rows["case"].to_list() == ["fp32", "qat_full", "qat_full_channels_last"]
    assert rows["repeats"].to_list() == [2, 2, 2]
    assert rows[["ours", "peer"]].gt(0.1).all(axis=None) and rows[["ours", "peer"]].lt(1e6).all(axis=None)
    assert rows["ratio"].between(0.02, 50).all()
    assert rows["goal"].to_list()[:2] == [1.5, 1.5]


def test_repeats_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["bench.py", "--repeats", "0", "--output", str(tmp_path)])
    with pytest.raises(UserError, match=r"^--repeats: 0 is out of range; allowed: 1 or more$"):
        bench.main()
    assert not list(tmp_path.iterdir())


def test_qat_sides_take_the_same_images_in_their_own_layout(workload: Workload) -> None:
    mine, nchw, last = ours.full_qat(workload), peers.torch_ao_nchw(workload), peers.torch_ao_channels_last(workload)
    batches = [next(trainer.batches) for trainer in (mine, nchw, last)]
    for images, labels in batches[1:]:
        assert torch.equal(images, batches[0][0]) and torch.equal(labels, batches[0][1])
    layouts = [images.is_contiguous(memory_format=torch.channels_last) for images, _ in batches]
    assert layouts == [True, False, True]
    assert [_filters_are_channels_last(trainer.network) for trainer in (nchw, last)] == [False, True]


def test_fp32_sides_have_the_same_network_and_optimiser(workload: Workload) -> None:
    mine, peer = ours.fp32(workload), peers.data_loader_loop(workload)
    mine.network.load_state_dict(peer.network.state_dict())
    assert mine.optimizer.defaults == peer.optimizer.defaults
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(mine.network.eval()(images), peer.network.eval()(images))
    assert [_filters_are_channels_last(trainer.network) for trainer in (mine, peer)] == [True, False]


@pytest.mark.filterwarnings(FORK_WARNING)
def test_data_loader_gives_the_scale_of_pixels_that_ours_has(workload: Workload) -> None:
    """Without augmentation, both sides see the same images up to the rounding of mean and deviation."""
    augment = dataclasses.replace(workload.params.finetune.augment, flip=False, crop_padding=0)
    finetune = dataclasses.replace(workload.params.finetune, augment=augment)
    plain = dataclasses.replace(workload, params=dataclasses.replace(workload.params, finetune=finetune))
    mine, peer = (_sorted_epoch(trainer(plain)) for trainer in (ours.fp32, peers.data_loader_loop))
    torch.testing.assert_close(mine, peer, atol=0.02, rtol=0)


def test_qat_sides_quantize_and_follow_ranges(workload: Workload) -> None:
    mine, peer = ours.full_qat(workload), peers.torch_ao_nchw(workload)
    quantizers = [module for module in mine.network.modules() if isinstance(module, ActivationQuantizer)]
    assert len(quantizers) == 52 + 10 + 1
    assert all(quantizer.averaging > 0 for quantizer in quantizers)
    observed = [module for module in peer.network.modules() if hasattr(module, "observer_enabled")]
    assert len(observed) > 2 * 52
    assert all(
        module.get_buffer(name).item() for module in observed for name in ("observer_enabled", "fake_quant_enabled")
    )
    assert mine.optimizer.defaults == peer.optimizer.defaults


def test_qat_sides_train_every_layer(workload: Workload) -> None:
    for trainer in (ours.full_qat(workload), peers.torch_ao_nchw(workload)):
        trainer.step()
        filters = [parameter for parameter in trainer.network.parameters() if parameter.ndim > 1]
        assert len(filters) == 53
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in filters)


def _filters_are_channels_last(network: nn.Module) -> bool:
    filters = [parameter for parameter in network.parameters() if parameter.ndim == 4 and min(parameter.shape[1:3]) > 1]
    return all(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in filters)


def _sorted_epoch(trainer: Trainer) -> torch.Tensor:
    """The images of one epoch (8, 3 * H * W), in an order of their own."""
    images = torch.cat([next(trainer.batches)[0] for _ in range(2)]).flatten(1)
    return images[images[:, :3].sum(1).argsort()]
