"""What a format of program files is: all that the rest of the package asks of it, in one class."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selectq.errors import UserError
from selectq.programs.manifest import INPUT_NAME, Manifest

if TYPE_CHECKING:
    from selectq.export.reference import ReferenceNetwork
    from selectq.graph.nodes import Graph
    from selectq.quantization.network import Network

WEIGHTS, BIASES, SCALES, GRAPH = "weights", "biases", "scales", "graph"

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]
Stored = list[NDArray[np.float32]]
"""The stored values of all sites, in order of execution, as floats."""


@dataclass(frozen=True)
class Program:
    """A converted network that can be run.

    Attributes:
        manifest: its own description.
        run: images as `manifest.input` says, as many as the format allows at once -> float32 (N, classes).
    """

    manifest: Manifest
    run: Callable[[NDArray[Any]], Logits]

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 (N, 3, H, W), whatever the program takes, -> float32 (N, classes)."""
        return self.run(self.manifest.input.of_pixels(pixels))


@dataclass(frozen=True)
class Backend:
    """What runs a network.

    Attributes:
        name: as tables call it.
        logits: uint8 pixels (N, 3, H, W) -> float (N, classes).
        stored: the same pixels -> what every site stores; None where the backend does not show it.
    """

    name: str
    logits: Callable[[Pixels], Logits]
    stored: Callable[[Pixels], Stored] | None


@dataclass(frozen=True)
class Runtime:
    """What runs program files of a format, to be timed.

    Attributes:
        name: in tables.
        package: the name that it is imported and installed by.
        prepare: a file, a batch and the number of threads -> one inference of that batch, which returns the logits.
    """

    name: str
    package: str
    prepare: Callable[[Path, NDArray[Any], int], Callable[[], Any]]

    @property
    def installed(self) -> bool:
        """Whether the package can be imported."""
        return find_spec(self.package) is not None


@dataclass(frozen=True)
class Images:
    """What a program is fed.

    Attributes:
        name: of the input.
        dtype: `uint8` or `float32`.
        shape: of one image, three sizes in the program's order.
        least, most: images that the program takes at once; `most` is None where any number is taken.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    least: int = 1
    most: int | None = None

    def random(self, batch: int) -> NDArray[Any]:
        """A batch, the same each time: uint8 from 0 to 255, or float32 from 0 to 1."""
        generator, shape = np.random.default_rng(0), (batch, *self.shape)
        if self.dtype == "uint8":
            return generator.integers(0, 256, shape, np.uint8)
        return generator.random(shape, np.float32)


class Format(ABC):
    """A format of program files. What is no abstract method serves most formats as it is.

    Attributes:
        ending: of the files, without the dot.
        title: what it is.
        runtime, package: what runs it, by its name and as it is imported and installed.
        extra: what installs `package` in a version that fits, if that is another name.
        largest_batch: images that a program takes at once; None: any number.
        in_float: what its runtime computes in floating point, in words.
        size_note: what there is to say of the bytes that `parts` counts.
    """

    ending: str
    title: str
    runtime: str
    package: str
    extra = ""
    largest_batch: int | None = None
    in_float = ""
    size_note = ""

    @property
    def needs(self) -> str:
        """Which versions of what load a file that is written now.

        Raises:
            UserError: the runtime is not installed.
        """
        try:
            return f"{self.runtime} {version(self.package)}, which wrote it; others may not load it"
        except PackageNotFoundError:
            wanted = f"install {self.extra or self.package}, or leave {self.ending} out"
            raise UserError(f"formats: {self.ending} needs {self.runtime}; {wanted}") from None

    def refuse(self, graph: "Graph") -> None:  # noqa: B027  # most formats carry every network
        """Refuse what the format cannot carry.

        Raises:
            UserError: names the first such node, in one line.
        """

    @abstractmethod
    def write(self, reference: "ReferenceNetwork", manifest: Manifest) -> bytes:
        """A file's bytes, the same for the same network; it takes what `manifest.input` says.

        Raises:
            UserError: what writes the format is not installed, or it cannot carry the network's values.
        """

    @abstractmethod
    def open(self, path: Path) -> Program:
        """Open a file.

        Raises:
            UserError: damaged, no program of selectq's, or its runtime is not installed.
        """

    @abstractmethod
    def parts(self, path: Path) -> Iterator[tuple[str, int]]:
        """Bytes of weights, biases and scales, each with `WEIGHTS`, `BIASES` or `SCALES`; all the rest is graph."""

    def backends(self, path: Path, network: "Network") -> list[Backend]:
        """What runs a file, for the parity gate, named by the ending; `network` is the reference's."""
        return [Backend(self.ending, self.open(path).logits, None)]

    def images(self, path: Path) -> Images:
        """What a file is fed."""
        manifest = self.open(path).manifest
        return Images(
            INPUT_NAME, manifest.input.dtype, manifest.input.shape(manifest.image_size), most=self.largest_batch
        )

    def runtimes(self) -> tuple[Runtime, ...]:
        """What a file is timed in."""
        return (Runtime(self.runtime, self.package, self.prepare),)

    def prepare(self, path: Path, images: NDArray[Any], threads: int) -> Callable[[], Any]:
        """One inference of `images`, on so many threads if the runtime can be told."""
        program = self.open(path)
        return lambda: program.run(images)

    def operators(self, path: Path) -> tuple[dict[str, int], dict[str, int]] | None:
        """How often each operator stands in the graph that runs: integer ones, float ones; None if that is unknown."""
        return None

    def lines(self, name: str, manifest: Manifest) -> dict[str, list[str]]:
        """Language -> lines that name the class of an image with the file `name`, and run as they stand."""
        read = f'resized_pixels(Path("image.png").read_bytes(), "image.png", {manifest.image_size})'
        lines = [
            "from pathlib import Path",
            "from selectq.programs.images import resized_pixels",
            "from selectq.programs.program import open_program",
            f'program = open_program(Path("{name}"))',
            f"print(program.logits({read}[None]).argmax(1))",
        ]
        return {"python": lines}

    def byte_counts(self, path: Path) -> dict[str, int]:
        """Bytes of a file by what they hold: `weights`, `biases`, `scales` (zero points too) and `graph`.

        `graph` is all that is none of the other three, so that the four add up to the file's size.
        """
        counts = {WEIGHTS: 0, BIASES: 0, SCALES: 0}
        for role, size in self.parts(path):
            counts[role] += size
        return {**counts, GRAPH: path.stat().st_size - sum(counts.values())}
