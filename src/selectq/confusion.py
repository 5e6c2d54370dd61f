"""Which classes a program takes for which, in counts and shares."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Confusion:
    """How often each class was taken for each: `counts` is int64 (true class, predicted class)."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def images(self) -> NDArray[np.int64]:
        """(classes,): images of each true class."""
        return self.counts.sum(axis=1)

    @property
    def correct(self) -> NDArray[np.int64]:
        """(classes,): images of each class that were taken for what they are."""
        return self.counts.diagonal()

    @property
    def shares(self) -> NDArray[np.float64]:
        """(classes, classes): each row's counts as shares in [0, 1] of the row's images; nan where there are none."""
        images = self.images[:, None].astype(float)
        return np.divide(self.counts, images, out=np.full(self.counts.shape, np.nan), where=images > 0)


def count_confusion(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Labels (N,) and predictions (N,) -> counts (classes, classes)."""
    return np.bincount(classes * true + predicted, minlength=classes**2).reshape(classes, classes)
