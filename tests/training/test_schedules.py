"""Learning rates by hand: at the start, in the warm-up, in the middle, at the milestones, at the end."""

import dataclasses

import pytest
from small_networks import committed_params

from selectq.config.configs import FinetuneConfig
from selectq.training.schedules import cosine, finetune_schedule, multistep, qat_schedule, warmup


def finetune_config(schedule: str, warmup_epochs: float) -> FinetuneConfig:
    return dataclasses.replace(
        committed_params().finetune,
        epochs=60,
        lr=0.01,
        schedule=schedule,
        milestones=(30, 45),
        gamma=0.1,
        warmup_epochs=warmup_epochs,
    )


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.8), (10 / 3, 0.6), (5, 0.4), (20 / 3, 0.2), (10, 0.0), (11, 0.0)])
def test_cosine(epoch: float, rate: float) -> None:
    assert cosine(0.8, 10)(epoch) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 0.01), (29.99, 0.01), (30, 0.001), (44.99, 0.001), (45, 0.0001), (60, 0.0001)]
)
def test_multistep_is_the_paper_s(epoch: float, rate: float) -> None:
    assert finetune_schedule(finetune_config("multistep", 0.0))(epoch) == pytest.approx(rate)
    assert multistep(0.01, (45, 30), 0.1)(epoch) == pytest.approx(rate), "milestones in any order"


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.0), (0.5, 1.0), (1.5, 3.0), (2, 4.0), (7, 4.0)])
def test_warmup_is_linear(epoch: float, rate: float) -> None:
    assert warmup(lambda _: 4.0, 2.0)(epoch) == rate


def test_no_warmup_starts_at_the_peak() -> None:
    assert warmup(lambda _: 4.0, 0.0)(0) == 4.0


def test_finetune_schedule_is_cosine_after_the_warmup() -> None:
    schedule = finetune_schedule(finetune_config("cosine", 2.0))
    assert schedule(0) == 0.0
    assert schedule(1) == pytest.approx(0.5 * cosine(0.01, 60)(1))
    assert schedule(30) == pytest.approx(0.005)
    assert schedule(60) == pytest.approx(0.0, abs=1e-12)


def test_qat_schedule_is_cosine_over_the_configuration_s_own_epochs() -> None:
    params = committed_params()
    config = dataclasses.replace(params.qat["dw"], epochs=4, lr=0.2)
    schedule = qat_schedule(config, dataclasses.replace(params.qat_training, warmup_epochs=0.5))
    assert schedule(0.25) == pytest.approx(0.5 * cosine(0.2, 4)(0.25))
    assert (schedule(2), schedule(4)) == pytest.approx((0.1, 0.0), abs=1e-12)
