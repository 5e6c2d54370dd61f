"""What a `.pt2` file may hold: torch, as it loads one, unpickles objects, evaluates expressions, runs libraries.

So that a file from anywhere can be opened, what torch gets is an archive written anew, of entries that hold nothing
that runs: tensors as plain bytes, and a graph of the few operators that an integer program consists of.
"""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selectq.errors import UserError

MANIFEST_FILE = "selectq.json"

MANIFEST = f"extra/{MANIFEST_FILE}"
GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
EXAMPLES = "data/sample_inputs/model.pt"
PLAIN = re.compile(
    r"data/weights/weight_\d+|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
)
"""Entries that torch takes as bytes."""

OPERATORS = frozenset(
    {
        "torch.ops.aten._assert_tensor_metadata.default",
        "torch.ops.aten.add.Tensor",
        "torch.ops.aten.avg_pool2d.default",
        "torch.ops.aten.cat.default",
        "torch.ops.aten.clamp.default",
        "torch.ops.aten.contiguous.default",
        "torch.ops.aten.conv2d.default",
        "torch.ops.aten.flatten.using_ints",
        "torch.ops.aten.hardsigmoid.default",
        "torch.ops.aten.linear.default",
        "torch.ops.aten.max_pool2d.default",
        "torch.ops.aten.mul.Tensor",
        "torch.ops.aten.permute.default",
        "torch.ops.aten.round.default",
        "torch.ops.aten.sigmoid.default",
        "torch.ops.aten.slice.Tensor",
        "torch.ops.aten.to.dtype",
        "torch.ops.aten.transpose.int",
        "torch.ops.aten.unflatten.int",
        "torch.ops.quantized_decomposed.dequantize_per_channel.default",
        "torch.ops.quantized_decomposed.dequantize_per_tensor.default",
        "torch.ops.quantized_decomposed.quantize_per_tensor.default",
    }
)
"""What a program of selectq's calls."""

SYMBOL = re.compile(r"s\d+|Symbol\('s\d+', positive=True, integer=True\)")
"""The size of a batch in the graph: torch evaluates such text as Python."""

LARGEST_BYTES = 2**30
"""Unpacked, of all entries together."""


def checked_archive(path: Path) -> io.BytesIO:
    """The archive of a `.pt2` file, written anew from what torch can load without running code of the file's.

    Raises:
        UserError: no zip archive, not of selectq's making, or something in it could run; the message says what.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not a torch.export program (no zip archive)")
    try:
        entries = _read(path)
        _check(path, entries)
    except (
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        AttributeError,
        NotImplementedError,
        EOFError,
        zlib.error,
    ) as error:
        raise UserError(f"{path}: not a torch.export program (damaged: {error})") from None
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for name, content in entries.items():
            # Without examples of its input, a program runs as well; they are the one entry that is always a pickle.
            written.writestr(f"archive/{name}", b"" if name == EXAMPLES else content)
    archive.seek(0)
    return archive


def _read(path: Path) -> dict[str, bytes]:
    """Entry -> content, the names without the archive's top folder."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > LARGEST_BYTES:
            raise UserError(f"{path}: unpacks to more than {LARGEST_BYTES} bytes")
        return {info.filename.partition("/")[2]: archive.read(info) for info in infos}


def _check(path: Path, entries: dict[str, bytes]) -> None:
    if MANIFEST not in entries:
        raise UserError(f"{path}: not a torch.export program with selectq's description")
    for name in entries:
        if name not in (MANIFEST, GRAPH, WEIGHTS, CONSTANTS, EXAMPLES) and not PLAIN.fullmatch(name):
            raise _refusal(path, f"the entry {name!r}")
    graph, weights, constants = (json.loads(entries[name]) for name in (GRAPH, WEIGHTS, CONSTANTS))
    for payload in weights["config"].values():
        if payload["use_pickle"] is not False or not PLAIN.fullmatch(f"data/weights/{payload['path_name']}"):
            raise _refusal(path, "a pickled weight")
    if constants["config"]:
        raise _refusal(path, "constants")
    if graph["guards_code"]:
        raise _refusal(path, "guards")
    for key, value in _leaves(graph):
        if key == "target" and value not in OPERATORS:
            raise _refusal(path, f"the operator {value!r:.80}")
        if key == "expr_str" and not SYMBOL.fullmatch(value):
            raise _refusal(path, f"the expression {value!r:.80}")


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every text in a JSON document, with the key that it stands under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    elif isinstance(value, str):
        yield key, value


def _refusal(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: holds {what}, which no program of selectq's does; it is not loaded, since it could run code"
    )
