"""A trained network from the user's own file, as the command line describes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selectq.config.configs import ModelConfig
from selectq.errors import UserError
from selectq.files import sha256
from selectq.networks.build import build_network, check_logits
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.networks.weights import Origin, fill_network

OTHER_CLASSES = "images of its own classes, one folder for each"


def trained_config(
    weights: Path, network: str, arguments: Mapping[str, Any], mean: tuple[float, ...], std: tuple[float, ...]
) -> ModelConfig:
    """What the command line says of a network, as a section of the parameters: the network as it is, trained.

    A file that the command line names is trusted, whatever its hash. `mean` and `std` are of pixels from 0 to 1.

    Raises:
        UserError: no such file, or something of it is not allowed.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such file")
    own_code = Path(network.rpartition(":")[0]) if ".py:" in network else None
    described = {
        "network": network,
        "network_sha256": sha256(own_code) if own_code and own_code.is_file() else None,
        "arguments": dict(arguments),
        "strides_removed": 0,
        "activation": "as_is",
        "normalization": {"mean": list(mean), "std": list(std)},
        "weights": "none",
        "weights_sha256": None,
        "trained": str(weights),
        "trained_sha256": sha256(weights),
        "new_classifier": False,
    }
    return ModelConfig.from_mapping(described, "model")


def read_trained(config: ModelConfig, classes: tuple[str, ...], size: int) -> Fp32Checkpoint:
    """The trained network in evaluation mode, on the CPU, for these classes and images of `size` pixels.

    Raises:
        UserError: no such network, or the file holds another or none.
    """
    assert config.trained is not None
    model = build_network(config, len(classes))
    fill_network(model, Origin("WEIGHTS", Path(config.trained), OTHER_CLASSES), config, len(classes))
    check_logits(model, config, size, len(classes))
    return Fp32Checkpoint(model.eval(), config, classes)
