"""Learning rate as a function of the (fractional) epoch."""

import math
from bisect import bisect_right
from collections.abc import Callable

from selectq.config.configs import FinetuneConfig, QatConfig, QatTrainingConfig

Schedule = Callable[[float], float]


def warmup(schedule: Schedule, epochs: float) -> Schedule:
    """`schedule`, reached linearly from 0 over the first `epochs`."""
    return lambda epoch: schedule(epoch) * (min(1.0, epoch / epochs) if epochs else 1.0)


def cosine(peak: float, epochs: float) -> Schedule:
    """From `peak` to 0 over `epochs` along half a cosine (Loshchilov and Hutter 2017)."""
    return lambda epoch: peak * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / epochs)))


def multistep(peak: float, milestones: tuple[int, ...], gamma: float) -> Schedule:
    """`peak`, multiplied by `gamma` at each milestone epoch."""
    return lambda epoch: peak * gamma ** bisect_right(sorted(milestones), epoch)


def finetune_schedule(config: FinetuneConfig) -> Schedule:
    """The FP32 schedule of the parameters."""
    schedules = {
        "cosine": cosine(config.lr, config.epochs),
        "multistep": multistep(config.lr, config.milestones, config.gamma),
    }
    return warmup(schedules[config.schedule], config.warmup_epochs)


def qat_schedule(config: QatConfig, training: QatTrainingConfig) -> Schedule:
    """The QAT schedule of a configuration: cosine to 0 after a short warm-up."""
    return warmup(cosine(config.lr, config.epochs), training.warmup_epochs)
