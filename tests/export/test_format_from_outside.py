"""A made-up format takes part wherever selectq's own do, by registration alone."""

import dataclasses
import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from exported_networks import exported, program_of
from npz_format import Npz
from small_networks import blends, scheme

from selectq.cli.bench import run_bench
from selectq.cli.inspect import run_inspect
from selectq.config.formats import FORMATS
from selectq.config.load import read_yaml, validate
from selectq.errors import UserError
from selectq.export.formats import write_program
from selectq.parity.compare import all_logits, compare_layers, compare_pairs
from selectq.parity.gate import hold_to_tolerance
from selectq.programs.manifest import Input
from selectq.programs.program import find, open_program, register

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def npz() -> Iterator[str]:
    """Registered while a test runs."""
    yield register(Npz()).ending
    del FORMATS._made["npz"]


def test_it_passes_the_gate(npz: str, tmp_path: Path) -> None:
    params = validate({**read_yaml(PARAMS), "formats": ["onnx", npz]}, "params.yaml")
    made, pixels = program_of(scheme()), blends(20, seed=2).numpy()
    backends = made.backends(*params.formats)
    assert [backend.name for backend in backends[2:]] == ["onnx_plain", "onnx", npz]
    logits = {backend.name: all_logits(backend, pixels, "some") for backend in backends}
    assert len(set(logits[npz].argmax(1))) > 1
    pairs = compare_pairs("some", logits, logits["reference"].argmax(1))
    assert pairs["differing_pct"].max() == 0, pairs.to_string()
    layers = compare_layers("some", made.reference, backends, pixels[:4])
    hold_to_tolerance("some", pairs, layers, params.parity)
    logits[npz] = np.roll(logits[npz], 1, axis=1)
    with pytest.raises(UserError, match=rf"^parity: some predicts another class in backend {npz} "):
        hold_to_tolerance("some", compare_pairs("some", logits, logits["reference"].argmax(1)), layers, params.parity)


@pytest.mark.usefixtures("npz")
def test_commands_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, path = program_of(scheme()), tmp_path / "some.npz"
    write_program(path, made.reference, made.manifest)
    run_inspect(path)
    inspected = capsys.readouterr().out
    assert "NumPy archive of integer codes" in inspected and f"{path.stat().st_size:,} bytes" in inspected
    sizes = [int(size.replace(",", "")) for size in re.findall(r"^  \w.* +([\d,]+) bytes", inspected, re.MULTILINE)]
    assert len(sizes) == 4 and min(sizes) > 0 and sum(sizes) == path.stat().st_size
    run_bench([path], batch=[2], seconds=0.01)
    assert re.search(r"^1 some\.npz, NumPy +[\d.]+ ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.usefixtures("npz")
def test_what_it_cannot_carry_it_refuses_in_a_line(tmp_path: Path) -> None:
    made = exported("squeezenet1_1")
    with pytest.raises(UserError, match=r"^formats: npz: \S+ is nothing that it computes. Leave npz out$"):
        write_program(tmp_path / "some.npz", made.reference, made.manifest)
    made, taken = program_of(scheme()), Input(layout="nhwc")
    with pytest.raises(UserError, match=r"^export: npz takes uint8 images, nchw. Leave npz out$"):
        write_program(tmp_path / "some.npz", made.reference, dataclasses.replace(made.manifest, input=taken))
    assert not list(tmp_path.iterdir())


def test_format_of_an_installed_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS._offered, "npz", EntryPoint("npz", "npz_format:Npz", FORMATS.group))
    assert FORMATS.names() == (*FORMATS.own, "npz") and isinstance(find("npz"), Npz)
    with pytest.raises(UserError, match=r"^formats: 'npz' is taken by another format$"):
        register(Npz())


def test_format_that_nobody_registered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^params.yaml: formats\[1\]: 'npz' is not allowed; allowed: onnx, pt2, pte$"):
        validate({**read_yaml(PARAMS), "formats": ["onnx", "npz"]}, "params.yaml")
    with pytest.raises(UserError, match=r"some\.npz: \.npz ending; a model file ends in \.onnx, \.pt2, \.pte$"):
        open_program(tmp_path / "some.npz")
    with pytest.raises(UserError, match=r"^formats: 'npz' is no format; allowed: onnx, pt2, pte$"):
        find("npz")


def test_docs_show_this_format(checkout: Path) -> None:
    text = Path(__file__).with_name("npz_format.py").read_text()
    shown = text[text.index("class Npz") : text.index("def integers_of")].strip()
    assert shown in (checkout / "docs/extend.md").read_text()
