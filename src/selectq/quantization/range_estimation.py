"""Range estimators: which [low, high] an activation quantizer should cover, from calibration images."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from selectq.config.configs import ActivationScheme, CalibrationConfig
from selectq.graph.bounds import Bounds
from selectq.quantization.fake_quantize import Range, activation_integers, extremes, fake_quantize
from selectq.quantization.network import FloatActivation, Network
from selectq.quantization.scale_groups import signed_sites
from selectq.quantization.scales import activation_scale, activation_zero_point

HISTOGRAM_BINS = 2048
MSE_CANDIDATES = 100


class RangeEstimator(nn.Module, ABC):
    """Base: applies the activation function, watches the result, and in the end names a range.

    `passes` is how often the calibration images have to be shown.
    """

    passes = 1

    def __init__(self, bounds: Bounds, config: CalibrationConfig, scheme: ActivationScheme) -> None:
        super().__init__()
        self.function = FloatActivation(bounds)
        self.config = config
        self.scheme = scheme
        self.pass_index = 0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        y: Tensor = self.function(x)
        self.observe(y)
        return y

    @abstractmethod
    def observe(self, y: Tensor) -> None:
        """Take a batch of stored values into account."""

    @abstractmethod
    def estimate(self) -> Range:
        """The range (scalars), once all passes are over."""


class MinMaxEstimator(RangeEstimator):
    """The smallest and the largest value seen."""

    low: Tensor | None = None
    high: Tensor | None = None

    def observe(self, y: Tensor) -> None:
        """Widen the range to hold `y`."""
        low, high = extremes(y)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    def estimate(self) -> Range:
        """The extremes."""
        assert self.low is not None and self.high is not None, "no calibration batch was shown"
        return self.low, self.high


class MovingAverageEstimator(MinMaxEstimator):
    """A moving average of the batches' extremes (Jacob et al. 2018, section 3.1); `averaging` weighs a new batch."""

    def observe(self, y: Tensor) -> None:
        """Move the range towards the batch's."""
        low, high = extremes(y)
        self.low = low if self.low is None else torch.lerp(self.low, low, self.config.averaging)
        self.high = high if self.high is None else torch.lerp(self.high, high, self.config.averaging)


class HistogramEstimator(MinMaxEstimator):
    """Base of the estimators that need the distribution: extremes in one pass, a histogram in a second."""

    passes = 2
    counts: Tensor | None = None

    def observe(self, y: Tensor) -> None:
        """First the extremes, then the histogram between them."""
        if self.pass_index == 0:
            super().observe(y)
            return
        low, high = (end.item() for end in super().estimate())
        has_width = 0 < high - low < math.inf
        counts = histogram(y, low, high) if has_width else torch.zeros(HISTOGRAM_BINS, dtype=torch.double)
        self.counts = counts if self.counts is None else self.counts + counts

    def bins(self) -> tuple[Tensor, Tensor]:
        """Bin edges (B + 1,) and the share of the values in each bin (B,), on the CPU."""
        assert self.counts is not None, "the second calibration pass is missing"
        low, high = (end.item() for end in super().estimate())
        edges = torch.linspace(low, high, HISTOGRAM_BINS + 1, dtype=torch.double)
        return edges, self.counts / self.counts.sum().clamp(min=1)


def histogram(y: Tensor, low: float, high: float) -> Tensor:
    """How many values fall into each of HISTOGRAM_BINS even bins from `low` to `high`: float64, on the CPU.

    On a GPU by whole numbers: torch's own histogram adds up in floating point there, in no fixed order.
    """
    if not y.is_cuda:
        return torch.histc(y.float(), HISTOGRAM_BINS, low, high).double()
    bins = ((y.float().flatten() - low) * (HISTOGRAM_BINS / (high - low))).long().clamp_(0, HISTOGRAM_BINS - 1)
    return torch.bincount(bins, minlength=HISTOGRAM_BINS).double().cpu()


class PercentileEstimator(HistogramEstimator):
    """The range that leaves out `100 - percentile` percent of the values, half of it at each end.

    An end at which many values sit exactly (the zeros of a ReLU) is not moved.
    """

    def estimate(self) -> Range:
        """The two quantiles."""
        edges, shares = self.bins()
        tail = (1 - self.config.percentile / 100) / 2
        cumulative = shares.cumsum(0)
        first = int((cumulative <= tail).sum())
        last = int((cumulative < 1 - tail).sum())
        low, high = edges[min(first, HISTOGRAM_BINS - 1)], edges[min(last + 1, HISTOGRAM_BINS)]
        device = super().estimate()[0].device
        return low.float().to(device), high.float().to(device)


class MseEstimator(HistogramEstimator):
    """The range with the smallest mean squared quantization error, among evenly shrunken versions of the extremes."""

    def estimate(self) -> Range:
        """The best of `MSE_CANDIDATES` evenly shrunken ranges."""
        edges, shares = self.bins()
        centres = (edges[:-1] + edges[1:]) / 2
        integers = activation_integers(self.scheme)
        low, high = super().estimate()
        best, smallest = (low, high), float("inf")
        for index in range(MSE_CANDIDATES, 0, -1):
            candidate = (low * (index / MSE_CANDIDATES), high * (index / MSE_CANDIDATES))
            scale = activation_scale(*candidate, self.scheme).double().cpu()
            zero_point = activation_zero_point(candidate[0].double().cpu(), scale, self.scheme)
            error = ((fake_quantize(centres, scale, zero_point, integers) - centres) ** 2 * shares).sum().item()
            if error < smallest:
                best, smallest = candidate, error
        return best


ESTIMATORS: dict[str, type[RangeEstimator]] = {
    "minmax": MinMaxEstimator,
    "moving_average": MovingAverageEstimator,
    "percentile": PercentileEstimator,
    "mse": MseEstimator,
}


@torch.no_grad()
def estimate_ranges(
    network: Network,
    batches: Callable[[], Iterable[Tensor]],
    config: CalibrationConfig,
    scheme: ActivationScheme,
) -> dict[str, Range]:
    """Site name -> range of the float network's values there.

    Args:
        network: in its float form, which it has again afterwards.
        batches: gives the calibration images as float (B, 3, H, W), anew at each call.
        config: the estimator and its settings.
        scheme: what the ranges are for (the error that `mse` minimises depends on it).
    """
    estimator_type = ESTIMATORS[config.estimator]
    estimators, signed = {}, signed_sites(network.graph)
    for place in network.sites():
        own = scheme.of(place.kind, place.name, place.name in signed)
        estimators[place.name] = place.activation = estimator_type(place.bounds, config, own)
    for index in range(estimator_type.passes):
        for estimator in estimators.values():
            estimator.pass_index = index
        for batch in batches():
            network(batch)
    for place in network.sites():
        place.activation = FloatActivation(place.bounds)
    return {name: estimator.estimate() for name, estimator in estimators.items()}
