"""The fake-quantized network: everything is quantized, and its checkpoint brings back every bit."""

from pathlib import Path

import pytest
import torch
from small_networks import (
    CLASSES,
    coloured_dataset,
    float_images,
    mixed_scheme,
    model_config,
    quantized,
    same_tensors,
    scheme,
    trained,
)

from selectq.config.configs import ActivationScheme, WeightScheme, width_of
from selectq.data.packed import write_dataset
from selectq.errors import UserError
from selectq.files import write_bytes, write_tensors
from selectq.networks.checkpoint import write_fp32
from selectq.quantization.folding import fold
from selectq.quantization.quantized import (
    QuantizedCheckpoint,
    Scheme,
    describe,
    insert_quantizers,
    read_quantized,
    write_quantized,
)
from selectq.quantization.quantizers import ActivationQuantizer, WeightQuantizer

SCHEMES = [scheme(), scheme(4, "tensor", 3, symmetric=True), mixed_scheme()]


def checkpoint(chosen: Scheme) -> QuantizedCheckpoint:
    return QuantizedCheckpoint("some_name", quantized(chosen), model_config(), CLASSES, chosen)


@pytest.mark.parametrize("chosen", SCHEMES)
def test_every_weight_and_every_place_is_quantized(chosen: Scheme) -> None:
    network = quantized(chosen)
    readers = {layer: layer.weight_quantizer for layer in network.layers()}
    quantizers = {place: place.activation for place in network.sites()}
    assert len(readers) == 53 and all(isinstance(reader, WeightQuantizer) for reader in readers.values())
    assert len(quantizers) == 63
    assert all(isinstance(quantizer, ActivationQuantizer) for quantizer in quantizers.values())
    assert all(reader.scheme == chosen.weights.of(layer.kind, layer.name) for layer, reader in readers.items())
    assert all(
        quantizer.scheme == chosen.activations.of(place.kind, place.name, place.bounds.low < 0)
        for place, quantizer in quantizers.items()
    )


def test_zero_point_of_an_unsigned_range_is_0_where_nothing_is_negative() -> None:
    """Of whatever the network stores: behind a ReLU, averages of that, and sums, which have negative values."""
    symmetric, unsigned, asymmetric = (
        {site.name: site for site in quantized(scheme(symmetric=each)).sites()} for each in (True, "unsigned", False)
    )
    for name, site in unsigned.items():
        found, half = site.activation, symmetric[name].activation
        if site.bounds.low == 0 or site.kind == "pool":
            assert found.zero_point == asymmetric[name].activation.zero_point == 0, name
            assert found.scale < 1.01 * half.scale / 2, "twice as many integers"
        else:
            assert found.zero_point == half.zero_point == 128, name


def test_single_layers_have_their_own_width() -> None:
    own = {"features.2.conv.1.0": 8, "features.0.0": 6}
    chosen = Scheme(
        WeightScheme({"all": 4, "stem": 8, **own}, "channel"), ActivationScheme({"all": 4, **own}, symmetric=False)
    )
    network = quantized(chosen)
    widths = {layer.name: layer.weight_quantizer.scheme.bits for layer in network.layers()}
    assert widths == dict.fromkeys(widths, 4) | own
    stored = {site.name: site.activation.scheme.bits for site in network.sites()}
    assert stored == dict.fromkeys(stored, 4) | own


def test_single_kinds_have_their_own_width() -> None:
    network = quantized(mixed_scheme())
    wide = {layer.name for layer in network.layers() if layer.weight_quantizer.scheme.bits == 8}
    assert wide == {"features.0.0", "classifier.1"}
    narrow = {place.kind for place in network.sites() if place.activation.scheme.bits == 4}
    assert narrow == {"depthwise", "expansion", "head"}
    codes = {layer.name: layer.weight_quantizer.codes(layer.weight, layer.bias)[0] for layer in network.layers()}
    assert {name for name, found in codes.items() if found.abs().max() == 127} == wide
    assert {name for name, found in codes.items() if found.abs().max() == 7} == codes.keys() - wide


@pytest.mark.parametrize("chosen", SCHEMES)
def test_everything_stored_lies_on_its_grid(chosen: Scheme) -> None:
    network = quantized(chosen)
    codes: dict[str, torch.Tensor] = {}
    largest = {
        place.name: 2 ** width_of(chosen.activations.bits, place.kind, place.name) - 1 for place in network.sites()
    }

    def keep(place: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        codes[place.name] = output / place.activation.scale + place.activation.zero_point

    for place in network.sites():
        place.register_forward_hook(keep)
    with torch.no_grad():
        network(float_images(8, seed=3))
    for name, found in codes.items():
        assert torch.allclose(found, found.round().clamp(0, largest[name]), atol=1e-3), name
    assert len(codes) == 63


def test_insertion_takes_each_range_by_name() -> None:
    network = fold(trained().model)
    names = [place.name for place in network.sites()]
    ranges = {name: (torch.tensor(-float(i)), torch.tensor(i + 1.0)) for i, name in enumerate(names)}
    insert_quantizers(network, scheme(), dict(reversed(ranges.items())))
    for index, place in enumerate(network.sites()):
        assert (place.activation.low.item(), place.activation.high.item()) == (-float(index), index + 1.0)


@pytest.mark.parametrize("chosen", SCHEMES)
def test_what_is_written_is_read(chosen: Scheme, tmp_path: Path) -> None:
    written = checkpoint(chosen)
    write_quantized(tmp_path / "quantized", written)
    found = read_quantized(tmp_path / "quantized")
    assert same_tensors(found.network, written.network)
    assert describe(found) == describe(written)
    assert not found.network.training
    x = float_images(8, seed=3)
    with torch.no_grad():
        assert torch.equal(found.network(x), written.network(x))


def test_same_network_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_quantized(tmp_path / name, checkpoint(scheme()))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def write_other_kinds(folder: Path) -> None:
    """Files of every other origin that could be mistaken for a quantized checkpoint."""
    write_dataset(folder / "images", coloured_dataset())
    write_tensors(folder / "logits", {"logits": torch.zeros(2, 3)}, {"config": "dw", "split": "test"})
    write_fp32(folder / "fp32", trained())
    write_bytes(folder / "text", b"hello")
    write_quantized(folder / "truncated", checkpoint(scheme()))
    write_bytes(folder / "truncated", (folder / "truncated").read_bytes()[:-1000])
    write_tensors(folder / "tensors", trained().model.state_dict(), describe(checkpoint(scheme())))


@pytest.mark.parametrize("kind", ["images", "logits", "fp32", "text", "truncated", "tensors", "missing"])
def test_other_file_is_refused(kind: str, tmp_path: Path) -> None:
    write_other_kinds(tmp_path)
    with pytest.raises(UserError) as refusal:
        read_quantized(tmp_path / kind)
    assert str(refusal.value).startswith(f"{tmp_path / kind}: ")
    assert "\n" not in str(refusal.value)


def test_first_tensor_that_is_missing_is_named(tmp_path: Path) -> None:
    """As in a file of before layers had a `clip`."""
    made = checkpoint(scheme())
    tensors = {name: each for name, each in made.network.state_dict().items() if not name.endswith(".clip")}
    write_tensors(tmp_path / "older", tensors, describe(made))
    with pytest.raises(UserError) as refusal:
        read_quantized(tmp_path / "older")
    reason = 'Missing key(s) in state_dict: "parts.features/0/0.weight_quantizer.clip"'
    found = f"does not hold a quantized network ({reason}); if an older version wrote it, run the stage again"
    assert str(refusal.value) == f"{tmp_path / 'older'}: {found}"
