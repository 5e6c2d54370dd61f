"""The benchmark of many networks: what it asks of the pipeline, and how it sums up drift."""

from pathlib import Path

import networks
import pandas as pd
import pytest
import torch
from digit_network import MOMENTUM, named
from small_networks import quantized, scheme, trained
from torch import nn

from selectq.config.load import validate
from selectq.errors import UserError
from selectq.networks.build import build_network
from selectq.quantization.quantized import QuantizedCheckpoint, write_quantized
from selectq.quantization.scopes import check_network


@pytest.mark.parametrize("network", networks.NETWORKS, ids=lambda network: network.title)
def test_parameters_are_valid_and_name_what_the_network_has(
    network: networks.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELECTQ_DATA", str(networks.NETWORK_FILE.parent))
    params = validate(networks.parameters(network, epochs=1), network.title)
    assert list(params.ptq) == [networks.PLAIN, networks.ALGORITHMS] and not params.qat
    check_network(build_network(params.model, 10), params)


def test_batch_norms_follow_a_short_training() -> None:
    model = named(10, "mnasnet0_5")
    assert {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {MOMENTUM}
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_unknown_network_is_refused() -> None:
    assert networks.chosen([]) == list(networks.NETWORKS)
    assert [network.title for network in networks.chosen(["resnet18"])] == ["resnet18"]
    with pytest.raises(UserError, match=r"^--only: 'resnet' is no network; allowed: mobilenet_v2, mobilenet_v2 0\.5, "):
        networks.chosen(["resnet"])


def test_drift_by_kind_by_hand(tmp_path: Path) -> None:
    """A depthwise layer behind an expansion, twice; means of drift, and the geometric mean of its growth."""
    name, fp32 = networks.PLAIN, trained()
    checkpoint = QuantizedCheckpoint(name, quantized(scheme()), fp32.config, fp32.classes, scheme())
    write_quantized(tmp_path / f"models/quantized/{name}.safetensors", checkpoint)
    units = {
        "features.2.conv.0.0": 0.1,
        "features.2.conv.1.0": 0.2,
        "features.3.conv.0.0": 0.1,
        "features.3.conv.1.0": 0.8,
    }
    kinds = {"0": "expansion", "1": "depthwise"}
    causes = [(unit, kinds[unit[16]], "total", drift) for unit, drift in units.items()]
    isolated = [(unit, kind, "isolated", drift / 10) for unit, kind, _, drift in causes]
    for folder, rows, column in (("causes", causes, "cause"), ("drift", isolated, "kind")):
        (tmp_path / "metrics" / folder).mkdir(parents=True)
        table = pd.DataFrame(rows, columns=["layer", "layer_kind", column, "drift"])
        table.to_csv(tmp_path / f"metrics/{folder}/{name}.csv", index=False)
    found = networks.drift_by_kind("some", tmp_path).set_index("kind")
    assert found.loc["depthwise", ["nodes", "isolated", "accumulated", "gain"]].tolist() == [2, 0.05, 0.5, 4.0]
    assert found.loc["expansion", "accumulated"] == 0.1 and pd.isna(found.loc["expansion", "gain"])
