"""The benchmark as a whole, on tiny batches, and what makes its comparisons fair."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import bench
import ours
import pandas as pd
import peers
import pytest
import torch
from bounds import all_parameters, count_work
from report import COLUMNS
from timing import Trainer
from torch import nn
from workload import Workload, random_dataset, shrunk, study_params

from selectq.errors import UserError
from selectq.quantization.network import ConvNode
from selectq.quantization.scopes import parameters_in_scope
from selectq.training.qat import RangeFollower, ScaleUpdate

FORK_WARNING = "ignore:This process:DeprecationWarning"
"""From Python 3.12 on, starting a DataLoader's workers warns of the other threads."""


@pytest.fixture(scope="module")
def workload() -> Workload:
    params = shrunk(study_params(), batch_size=4, calibration_images=8)
    return Workload(params, random_dataset(8, torch.device("cpu")))


def test_repeats_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["bench.py", "--repeats", "0", "--output", str(tmp_path)])
    with pytest.raises(UserError, match=r"^--repeats: 0 is out of range; allowed: 1 or more$"):
        bench.main()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_chosen_sides_alone_are_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = ["evaluation", "float_pass", "qat_clf"]
    monkeypatch.setattr("sys.argv", ["bench.py", "--quick", "--output", str(tmp_path), "--sides", *chosen])
    monkeypatch.setenv("SELECTQ_DEVICE", "cpu")
    bench.main()
    (table_path,) = tmp_path.glob("quick_*.csv")
    rows = pd.read_csv(table_path)
    assert list(rows.columns) == COLUMNS
    assert rows["case"].to_list() == ["evaluation"]  # qat_clf has no side to be compared with
    assert sorted(tmp_path.iterdir()) == [table_path, table_path.with_suffix(".png")]


def test_side_of_another_device_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["bench.py", "--quick", "--output", str(tmp_path), "--sides", "fp32_unrecorded"])
    monkeypatch.setenv("SELECTQ_DEVICE", "cpu")
    with pytest.raises(
        UserError, match=r"^--sides: fp32_unrecorded is not timed on this device; allowed here: ao_channels"
    ):
        bench.main()
    assert not list(tmp_path.iterdir())


def test_qat_sides_take_the_same_images_in_their_own_layout(workload: Workload) -> None:
    nchw, last = peers.torch_ao_nchw(workload), peers.torch_ao_channels_last(workload)
    batches = [next(trainer.batches) for trainer in (ours.qat(workload, "full"), nchw, last)]
    for images, labels in batches[1:]:
        assert torch.equal(images, batches[0][0]) and torch.equal(labels, batches[0][1])
    layouts = [images.is_contiguous(memory_format=torch.channels_last) for images, _ in batches]
    assert layouts == [True, False, True]
    assert [_filters_are_channels_last(trainer.forward) for trainer in (nchw, last)] == [False, True]


def test_fp32_sides_train_the_same_network_at_the_same_rate(workload: Workload) -> None:
    settings = [dict(side(workload).optimizer.defaults) for side in (ours.fp32, peers.data_loader_loop)]
    assert [setting.pop("fused") for setting in settings] == [True, None], "how it is computed, not what"
    assert settings[0] == settings[1]
    shapes = [
        [parameter.shape for group in side(workload).optimizer.param_groups for parameter in group["params"]]
        for side in (ours.fp32, peers.data_loader_loop)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.filterwarnings(FORK_WARNING)
def test_data_loader_gives_the_scale_of_pixels_that_ours_has(workload: Workload) -> None:
    """Without augmentation, both sides see the same images up to the rounding of mean and deviation."""
    augment = dataclasses.replace(workload.params.finetune.augment, flip=False, crop_padding=0, cutout=0)
    finetune = dataclasses.replace(workload.params.finetune, augment=augment)
    plain = dataclasses.replace(workload, params=dataclasses.replace(workload.params, finetune=finetune))
    mine, peer = (_sorted_epoch(trainer(plain)) for trainer in (ours.fp32, peers.data_loader_loop))
    torch.testing.assert_close(mine, peer, atol=0.02, rtol=0)


def test_qat_sides_quantize_and_follow_ranges(workload: Workload) -> None:
    mine = ours.qat(workload, "full")
    mine.hooks.before_step(0.0)
    follower, scales = mine.hooks._hooks
    assert isinstance(follower, RangeFollower) and isinstance(scales, ScaleUpdate)
    assert len(follower._quantizers) == 52 + 10 + 1
    assert all(quantizer.observing for quantizer in follower._quantizers)
    peer = peers.torch_ao_nchw(workload).forward
    assert isinstance(peer, nn.Module)
    observed = [module for module in peer.modules() if hasattr(module, "observer_enabled")]
    assert len(observed) > 2 * 52
    assert all(
        module.get_buffer(name).item() for module in observed for name in ("observer_enabled", "fake_quant_enabled")
    )


@pytest.mark.parametrize("side", [lambda load: ours.qat(load, "full"), peers.torch_ao_nchw], ids=["ours", "torch.ao"])
def test_qat_sides_train_every_layer(workload: Workload, side: Callable[[Workload], Trainer]) -> None:
    trainer = side(workload)
    trainer.step()
    filters = [p for group in trainer.optimizer.param_groups for p in group["params"] if p.ndim > 1]
    assert len(filters) == 53
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in filters)


def test_drift_takes_the_passes_that_are_counted(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    convolutions = list[int]()
    plain = ConvNode.forward

    def counted(layer: ConvNode, x: torch.Tensor) -> torch.Tensor:
        convolutions.append(len(x))
        return plain(layer, x)

    monkeypatch.setattr(ours, "quantized_forward", lambda network, device: network)  # kernels cannot be counted
    work = ours.drift(workload)
    monkeypatch.setattr(ConvNode, "forward", counted)
    assert work() == ours.DRIFT_PASSES * len(workload.dataset.test)
    assert len(convolutions) == ours.DRIFT_PASSES * 52


def test_work_is_counted(workload: Workload) -> None:
    """Three times the forward pass, less the input's gradient of the stem, which nobody needs."""
    full = count_work(workload, all_parameters(workload))
    stem = 2 * 32 * 27 * 32 * 32
    assert full.operations == pytest.approx(3 * 2 * 24.46e6 - stem, rel=0.001)
    scope = workload.params.qat["dw"].scope
    partial = count_work(workload, parameters_in_scope(workload.network(), scope))
    assert 0.6 * full.operations < partial.operations < 0.75 * full.operations
    nothing = count_work(workload, [])
    assert nothing.operations == pytest.approx(2 * 24.46e6, rel=0.001)


def _filters_are_channels_last(network: nn.Module) -> bool:
    filters = [parameter for parameter in network.parameters() if parameter.ndim == 4 and min(parameter.shape[1:3]) > 1]
    return all(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in filters)


def _sorted_epoch(trainer: Trainer) -> torch.Tensor:
    """The images of one epoch (8, 3 * H * W), in an order of their own."""
    images = torch.cat([next(trainer.batches)[0] for _ in range(2)]).flatten(1)
    return images[images[:, :3].sum(1).argsort()]
