"""Small stand-ins for what the data package reads: pictures, archives, a CIFAR-10 archive, an HTTP server."""

import io
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("bird", "cat", "dog")


def picture(number: int, size: int = 16) -> Image.Image:
    """A picture of noise; the same number gives the same pixels."""
    return Image.fromarray(np.random.RandomState(number).randint(0, 256, (size, size, 3), np.uint8))


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def image_files(form: str = "PNG", train: int = 6, test: int = 2) -> dict[str, bytes]:
    """An image folder's files by name: `train` and `test` pictures of each class."""
    files = {}
    for label, name in enumerate(CLASSES):
        for part, count in (("train", train), ("test", test)):
            for number in range(count):
                unique = 1000 * label + number + (500 if part == "test" else 0)
                files[f"{part}/{name}/{number}.{form.lower()}"] = encoded(picture(unique), form)
    return files


def pack_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    """Write a tar; `mode` is tarfile's."""
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def pack_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a compressed zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def pack_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files below a folder."""
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


def python2_pickle(value: object) -> bytes:
    """Pickle as Python 2 did for CIFAR-10: protocol 2, byte strings, arrays of the old numpy."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: object) -> bytes:
    if isinstance(value, np.ndarray):
        dtype = (
            b"cnumpy\ndtype\n"
            + _opcodes("u1")
            + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        shape = b"(" + b"".join(_opcodes(length) for length in value.shape) + b"t"
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        return empty + b"(K\x01" + shape + dtype + b"\x89" + _opcodes(value.tobytes().decode("latin1")) + b"tb"
    if isinstance(value, dict):
        return b"(" + b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items()) + b"d"
    if isinstance(value, list):
        return b"(" + b"".join(map(_opcodes, value)) + b"l"
    if isinstance(value, str):
        return b"T" + struct.pack("<i", len(value)) + value.encode("latin1")
    assert isinstance(value, int)
    return b"J" + struct.pack("<i", value)


def cifar10_files(per_batch: int = 6) -> dict[str, bytes]:
    """The members of a small `cifar-10-python.tar.gz` with the three classes of CLASSES."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    files = {"cifar-10-batches-py/batches.meta": python2_pickle({"label_names": list(CLASSES)})}
    for seed, name in enumerate(names):
        data = np.random.RandomState(seed).randint(0, 256, (per_batch, 3072), np.uint8)
        labels = [number % len(CLASSES) for number in range(per_batch)]
        files[f"cifar-10-batches-py/{name}"] = python2_pickle({"data": data, "labels": labels})
    return files


@dataclass
class Server:
    """A running HTTP server: what it answers by path, and the paths it was asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


@contextmanager
def http_server() -> Iterator[Server]:
    """Serve `Server.files` on 127.0.0.1; of a path in `cut` half is sent. Unknown paths are 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in server.cut else content)

        def log_message(self, *_: object) -> None:
            """Keep the test output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        server = Server(f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()
