"""Processes that train together take the steps of one."""

import multiprocessing
import os
import socket
from pathlib import Path
from unittest import mock

import pytest
import torch
from one_step import CPU, step
from torch import Tensor, nn

from selectq.errors import UserError
from selectq.files import read_tensors, write_tensors
from selectq.training.parallel import ALONE, Workers, training_workers

_fresh = multiprocessing.get_context("spawn")  # torch's gradients do not outlive a fork


def take_part(rank: int, port: int, output: Path) -> None:
    """What torchrun tells one of two processes, and the step."""
    told = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    with mock.patch.dict(os.environ, told), training_workers(CPU) as workers:
        found = step(workers)
        if workers.first:
            write_tensors(output, found, {})


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What one process finds, and what it finds together with another."""
    output = tmp_path_factory.mktemp("steps") / "together"
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    other = _fresh.Process(target=take_part, args=(1, port, output))
    other.start()
    take_part(0, port, output)
    other.join(120)
    assert other.exitcode == 0
    return step(ALONE), read_tensors(output)[0]


def of_kind(found: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {name: value for name, value in found.items() if name.startswith(kind)}


@pytest.mark.parametrize(("kind", "tolerance"), [("float", 1e-10), ("quantized", 1e-4)])
def test_two_processes_give_the_gradients_of_one(
    kind: str, tolerance: float, steps: tuple[dict[str, Tensor], dict[str, Tensor]]
) -> None:
    """Batch norms' running statistics and the quantizers' ranges, too."""
    alone, together = (of_kind(found, kind) for found in steps)
    assert alone.keys() == together.keys() and len(alone) > 100
    for name, expected in alone.items():
        scale = max(expected.double().abs().max().item(), 0.001)  # some gradients are zero but for rounding
        assert (together[name] - expected).double().abs().max().item() <= tolerance * scale, name
    assert any(name.startswith(f"{kind}.buffer.") for name in alone)


def test_alone_nothing_is_changed() -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    ALONE.average_gradients([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]
    ranges = [(torch.tensor(-1.0), torch.tensor(2.0))]
    assert ALONE.widest(ranges) is ranges and ALONE.first
    with training_workers(torch.device("cpu")) as workers:
        assert workers is ALONE


def test_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(UserError, match=r"^batch_size: 8 cannot be divided among 3 processes; use a multiple$"):
        Workers(1, 3).require_equal_shares(8)
