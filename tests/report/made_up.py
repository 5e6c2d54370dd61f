"""A made-up run: parameters and metrics as the earlier stages write them, with numbers that can be checked by hand."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd

from selectq.config.load import read_yaml
from selectq.files import METADATA_KEY, write_bytes, write_csv, write_json
from selectq.programs.manifest import INPUT_NAME, OUTPUT_NAME, Manifest

CHECKOUT = Path(__file__).resolve().parents[2]
PARAMETERS = 2_000_000
TEST_IMAGES = 2_500
FP32_TOP1 = 90.0

INT8_TOP1 = {"tensor": 40.0, "channel": 60.0, "full": 89.0, "dwpw": 88.0, "dwpw_asym": 90.4, "mine": 50.0}
DRIFT = {"tensor": 0.1, "channel": 0.03, "full": 0.02, "dwpw": 0.025, "dwpw_asym": 0.022, "mine": 0.06}
LEVEL_STEPS = {"tensor": 10, "mine": 16}
RETRAINED = {"tensor": 0, "channel": 0, "full": 2_000_000, "dwpw": 930_000, "dwpw_asym": 930_000, "mine": 30_000}
SIZES = {"onnx": 2_640_000, "pt2": 2_700_000, "pte": 2_550_000}
BYTES = {"weights": 2_200_000, "biases": 68_000, "scales": 142_000, "graph": 230_000}
OPERATORS = {"QGemm": 1, "QLinearAdd": 10, "QLinearConv": 52}
FLIPPED = 0.12
P_VALUES = {"tensor": 0.0, "dwpw_asym": 0.5}
SEED_COUNTS = {"dwpw": 3}
BACKENDS = ("simulation", "reference", "torch_export", "onnx_plain", "onnx", "executorch")
ENVIRONMENT = {
    "versions": {"python": "3.11.9", "torch": "2.15.0", "onnxruntime": "1.32.0", "executorch": "1.5.1"},
    "architecture": "x86_64",
    "instructions": ["avx2", "avx512_vnni"],
}
CALIBRATED = ("tensor", "channel")
SHIPPED = ("dwpw_asym", "channel")
CLASSES = ("red", "green", "blue")
IMAGE_SIZE = 32
LAYER = "features.14.conv.1.0"
KINDS_OF_A_BLOCK = ("expansion", "depthwise", "projection")
SPLITS = ("train", "validation")
CAUSES = {
    "inherited": 1.0,
    "changed weights": 0.2,
    "weight rounding": 0.1,
    "clipping": 0.0,
    "activation rounding": 0.3,
    "total": 1.1,
}
LEARNING_KINDS = {"full": (*KINDS_OF_A_BLOCK, "classifier"), "dwpw": ("depthwise", "projection", "classifier")}


def parameters(checkout: Path) -> dict[str, Any]:
    """The committed parameters with other configurations: two of PTQ, three of the paper's QAT, one of our own."""
    document = read_yaml(checkout / "params.yaml")
    document |= {"setting": "plain", "range_skew": 0.0}
    document["model"] |= {"strides_removed": 1}  # whose latency is measured
    document["calibration_sweep"]["names"] = list(CALIBRATED)
    calibration = document["qat_training"]["calibration"]
    asymmetric, symmetric = ({"bits": 8, "symmetric": value} for value in (False, True))
    per_channel = {"bits": 8, "granularity": "channel"}
    document["ptq"] = {
        granularity: {
            "weights": {"bits": 8, "granularity": granularity},
            "activations": asymmetric,
            "calibration": calibration,
            "algorithms": [],
        }
        for granularity in ("tensor", "channel")
    }
    training = {"epochs": 3, "lr": 0.001, "weights": per_channel, "activations": symmetric}
    selective = {**training, "scope": ["classifier", "projection", "depthwise"]}
    document["qat"] = {
        "full": {**training, "scope": ["all"]},
        "dwpw": selective,
        "dwpw_asym": {**selective, "activations": asymmetric},
        "mine": {**training, "scope": ["features.14"], "weights": {"bits": 4, "granularity": "channel"}},
    }
    document["plan"] |= {"ptq": ["tensor", "channel"], "start": "channel"}
    document["repeat"] = {"names": [], "seeds": []}
    document["convert"] = [*document["ptq"], *document["qat"]]
    document["ship"] = list(SHIPPED)
    document["statistics"]["contrasts"] = ["dwpw_asym - full"]
    plain: dict[str, Any] = json.loads(json.dumps(document))  # no part of it is another part
    return plain


def write_metrics(folder: Path) -> None:
    """The metrics of every configuration of `parameters`, and what `compare` makes of them, in a run's folder."""
    root, results = folder / "metrics", folder / "results"
    fp32 = {"test_top1": FP32_TOP1, "validation_top1": 91.0, "parameters": PARAMETERS, "size_bytes": 9_120_000}
    write_json(root / "fp32.json", {**fp32, "test_images": TEST_IMAGES, "data": "digits & <others>"})
    for name, top1 in INT8_TOP1.items():
        simulated = {"validation_top1": top1 + 1, "parameters": PARAMETERS, "params_retrained": RETRAINED[name]}
        write_json(root / "simulated" / f"{name}.json", simulated)
        write_json(root / "int8" / f"{name}.json", int8(name))
        write_csv(root / "int8" / f"{name}.confusion.csv", confusion(name))
        write_json(root / "parity" / f"{name}.json", parity(name))
        write_csv(root / "parity" / f"{name}.csv", pairs(name))
        write_csv(root / "parity" / f"{name}.layers.csv", pd.DataFrame({"config": [name], "steps": [1]}))
        write_csv(root / "drift" / f"{name}.csv", drift(name))
        write_csv(root / "drift" / f"{name}.histograms.csv", histograms(name), digits=8)
        write_csv(root / "causes" / f"{name}.csv", causes(name), digits=8)
    for name in ("fp32", "full", "dwpw", "dwpw_asym", "mine"):
        write_csv(root / "learning" / f"{name}.csv", learning_curve(name, 10 if name == "fp32" else 3))
    for name in ("full", "dwpw", "dwpw_asym", "mine"):
        write_csv(root / "oscillation" / f"{name}.csv", oscillation(name))
    write_csv(root / "channel_ranges.csv", channel_ranges())
    write_csv(results / "paired.csv", paired())
    write_csv(results / "seeds.csv", seeds())
    write_csv(results / "methods.csv", methods())
    write_csv(results / "contrasts.csv", contrasts())
    for name, rows in calibration().groupby("config"):
        write_csv(root / "calibration" / f"{name}.csv", rows)
    write_csv(root / "audit.csv", audit())
    write_json(results / "plan.json", plan())


def plan(met: bool = True) -> dict[str, Any]:
    """Of two layers one is retrained, which is enough; or else it is only the best."""
    shares = {"channel": 0.0, "1 layer retrained, rate 0.001": 5.0}
    rungs = [
        {
            "name": name,
            "retrained_pct": share,
            "scope": [LAYER] if share else [],
            "epochs": 2 if share else 0,
            "lr": 0.001 if share else None,
            "top1": 80.0 + share,
            "gap_points": share - 10,
            "gap_low": share - 11,
            "gap_high": share - 9,
        }
        for name, share in shares.items()
    ]
    layers = [
        {
            "layer": layer,
            "kind": kind,
            "depth": depth,
            "share_pct": 5.0,
            "backward_macs": 2_500_000,
            "choice": choice,
            "expected_gain": 0.25 + depth,
        }
        for layer, kind, depth, choice in (("first", "stem", 0.0, "frozen"), (LAYER, "depthwise", 0.74, "retrained"))
    ]
    goal = {"max_loss_points": 7.0, "budgets_pct": [5.0], "cost": "parameters", "confidence": 0.95}
    return {
        "goal": {**goal, "epochs": 2, "lrs": [0.001], "ptq": ["channel"], "start": "channel", "score_images": 64},
        "met": met,
        "reason": "the goal is met by: 1 layer retrained" if met else "nothing that was tried meets the goal",
        "validation_images": 200,
        "fp32_top1": 90.0,
        "rungs": rungs,
        "chosen": {"name": rungs[1]["name"], "retrained_pct": 5.0, "won_points": 5.0},
        "layers": layers,
        "configuration": {
            "qat_training": read_yaml(CHECKOUT / "params.yaml")["qat_training"],
            "qat": {
                "planned": {
                    "lr": 0.001,
                    "epochs": 2,
                    "activations": {"bits": 8, "symmetric": False},
                    "weights": {"bits": 8, "granularity": "channel"},
                    "scope": [LAYER],
                }
            },
        },
    }


def int8(name: str) -> dict[str, Any]:
    """A program in all formats; `mine` has weights of 4 bits."""
    top1, weight_bits = INT8_TOP1[name], 4 if name == "mine" else 8
    return {
        "test_top1": top1,
        "test_images": TEST_IMAGES,
        "correct": round(top1 * TEST_IMAGES / 100),
        "size_bytes": SIZES["onnx"],
        "sizes": SIZES,
        "bytes": BYTES,
        "operators": OPERATORS,
        "float_operators": 0,
        "weight_bits": weight_bits,
        "activation_bits": 8,
        "integer_arithmetic": weight_bits == 8,
    }


def confusion(name: str) -> pd.DataFrame:
    """Of three classes, each taken for the next as often as the accuracy leaves room for."""
    right = INT8_TOP1[name] / 100
    shares = {(true, true): right for true in CLASSES}
    shares |= {(true, CLASSES[index - 2]): 1 - right for index, true in enumerate(CLASSES)}
    rows = [
        (name, true, predicted, round(800 * shares.get((true, predicted), 0)), shares.get((true, predicted), 0.0))
        for true, predicted in itertools.product(CLASSES, repeat=2)
    ]
    return pd.DataFrame(rows, columns=["config", "true_class", "predicted_class", "images", "share"])


def parity(name: str) -> dict[str, Any]:
    """The worst of all pairs, and what it was measured on."""
    return {
        "flipped_pct": FLIPPED,
        "layer_steps": 1,
        "pairs": len(pairs(name)),
        "cpu": {"vnni": True, "u8s8_saturates": False},
        "environment": ENVIRONMENT,
    }


def pairs(name: str) -> pd.DataFrame:
    """Every pair of forms; ExecuTorch's has another class for three of 2,500 images, and is right for one less."""
    top1 = dict.fromkeys(BACKENDS, INT8_TOP1[name]) | {"executorch": INT8_TOP1[name] - 0.04}
    rows = [
        (name, one, other, FLIPPED if other == "executorch" else 0.0, 0.4, 0.01, top1[one], top1[other])
        for one, other in itertools.combinations(BACKENDS, 2)
    ]
    columns = ["config", "one", "other", "flipped_pct", "differing_pct", "logit_difference", "one_top1", "other_top1"]
    return pd.DataFrame(rows, columns=columns)


def learning_curve(name: str, epochs: int) -> pd.DataFrame:
    """An accuracy that rises to the configuration's own."""
    top1 = INT8_TOP1.get(name, FP32_TOP1)
    rows = [
        (name, epoch, split, 2.0 / epoch, top1 * (1 - 0.5**epoch) + SPLITS.index(split))
        for epoch in range(1, epochs + 1)
        for split in SPLITS
    ]
    return pd.DataFrame(rows, columns=["config", "epoch", "split", "loss", "top1"])


def drift(name: str) -> pd.DataFrame:
    """Both kinds, along 19 blocks and 53 layers; most in depthwise layers."""
    layers = ["stem", *KINDS_OF_A_BLOCK[1:], *KINDS_OF_A_BLOCK * 16, "head", "classifier"]
    units = [(index, f"features.{index}", "block") for index in range(19)]
    units += [(index, f"layers.{index}", kind) for index, kind in enumerate(layers)]
    rows = [
        (name, index, layer, layer_kind, kind, DRIFT[name] * (2 if layer_kind == "depthwise" else 1) * growth(index))
        for kind, growth in (("accumulated", lambda index: 1 + index / 4), ("isolated", lambda index: 1 + index % 5))
        for index, layer, layer_kind in units
    ]
    return pd.DataFrame(rows, columns=["config", "index", "layer", "layer_kind", "kind", "drift"])


def causes(name: str) -> pd.DataFrame:
    """The configuration's drift in shares, along the layers of a block, its sum and the classifier; none inherited by
    the first."""
    units = [*enumerate((*KINDS_OF_A_BLOCK, "block", "classifier"))]
    rows = [
        (name, index, f"layers.{index}", kind, cause, DRIFT[name] * share * (index > 0 or cause != "inherited"))
        for index, kind in units
        for cause, share in CAUSES.items()
    ]
    return pd.DataFrame(rows, columns=["config", "index", "layer", "layer_kind", "cause", "drift"])


def oscillation(name: str) -> pd.DataFrame:
    """Two layers of each kind that learns: one of 300 weights, of which none move, and one of 100, of which half do."""
    rows = [
        (name, f"layers.{kind}.{number}", kind, weights, 50.0 * number, 20.0 * number)
        for kind in LEARNING_KINDS.get(name, LEARNING_KINDS["dwpw"])
        for number, weights in enumerate((300, 100))
    ]
    columns = ["config", "layer", "layer_kind", "weights", "flipped_pct", "oscillating_pct"]
    return pd.DataFrame(rows, columns=columns)


def channel_ranges() -> pd.DataFrame:
    """Log-normal ranges of 576 channels."""
    high = np.random.default_rng(0).lognormal(1.0, 1.0, 576)
    return pd.DataFrame({"layer": LAYER, "channel": range(576), "low": 0.0, "high": high})


def calibration() -> pd.DataFrame:
    """Two configurations by two estimators; more images are a little better."""
    rows = [
        (name, name, estimator, images, top1 + 1 + images / 1024, top1 + images / 1024)
        for name, top1 in ((name, INT8_TOP1[name]) for name in CALIBRATED)
        for estimator in ("minmax", "mse")
        for images in (128, 512)
    ]
    columns = ["config", "granularity", "estimator", "images", "validation_top1", "test_top1"]
    return pd.DataFrame(rows, columns=columns)


AUDIT = {("none", ""): (89.0, 90.0), ("range_skew", "1.5"): (10.0, 10.0), ("fusion", "none"): (42.0, 64.0)}
"""Flaw and setting -> accuracy per tensor and per channel; nothing is between the last pair and the paper's losses."""


def audit() -> pd.DataFrame:
    """The sound experiment and two flaws, of a float network that is right for 90 % of the images."""
    rows = [
        (flaw, setting, granularity, 500, 10, FP32_TOP1, top1, 120.0 if top1 < 20 else 0.5)
        for (flaw, setting), pair in AUDIT.items()
        for granularity, top1 in zip(("tensor", "channel"), pair, strict=True)
    ]
    columns = ["flaw", "setting", "granularity", "images", "classes", "float_top1", "int8_top1", "drift_last"]
    return pd.DataFrame(rows, columns=columns)


def histograms(name: str) -> pd.DataFrame:
    """Weights around 0; activations of which half are 0. Per tensor, a tenth of the codes is used."""
    tables, step = [], LEVEL_STEPS.get(name, 1)
    for tensor, codes in (("weight", np.arange(-127, 128, step)), ("activation", np.arange(0, 256, step))):
        frequencies = np.exp(-np.abs(codes) / 20)
        table = pd.DataFrame({"level": codes, "share": frequencies / frequencies.sum()})
        tables.append(table.assign(config=name, layer=LAYER, tensor=tensor))
    return pd.concat(tables)[["config", "layer", "tensor", "level", "share"]]


def paired() -> pd.DataFrame:
    """Each configuration against FP32, and one against `full`; intervals of a point about the gap, p times six."""
    against = [(name, "fp32", top1 - FP32_TOP1) for name, top1 in INT8_TOP1.items()]
    rows = [
        {
            "config": name,
            "reference": reference,
            "images": TEST_IMAGES,
            "gap_points": gap,
            "ci_low": gap - 0.5,
            "ci_high": gap + 0.5,
            "only_config_right": 100,
            "only_reference_right": 100 - round(gap * TEST_IMAGES / 100),
            "mcnemar_p": f"{P_VALUES.get(name, 1.25e-7):.4g}",
            "holm_p": f"{min(1.0, 6 * P_VALUES.get(name, 1.25e-7)):.4g}",
            "non_inferior": gap > 0,
        }
        for name, reference, gap in [*against, ("dwpw", "full", -1.0)]
    ]
    return pd.DataFrame(rows)


def seeds() -> pd.DataFrame:
    """Three trainings of `dwpw`."""
    rows = [("dwpw", seed, 88.0 + seed, seed - 2.0) for seed in range(SEED_COUNTS["dwpw"])]
    return pd.DataFrame(rows, columns=["config", "seed", "top1", "gap_points"])


def methods() -> pd.DataFrame:
    """Of every configuration; the mean of those that were trained once is what was measured."""
    rows = [(name, 1, top1, top1 - FP32_TOP1, None, None) for name, top1 in INT8_TOP1.items() if name != "dwpw"]
    columns = ["config", "seed_count", "top1", "gap_points", "ci_low", "ci_high"]
    return pd.DataFrame([*rows, ("dwpw", SEED_COUNTS["dwpw"], 89.0, -1.0, -3.5, 1.5)], columns=columns)


def contrasts() -> pd.DataFrame:
    """One: as much as the two differ, with an interval of a point about it; both trained once."""
    gap = INT8_TOP1["dwpw_asym"] - INT8_TOP1["full"]
    row = {**paired().iloc[0], "config": "dwpw_asym", "reference": "full", "gap_points": gap, "ci_low": gap - 0.5}
    row |= {"ci_high": gap + 0.5, "seed_count": 1, "seeds_gap_points": gap, "seeds_ci_low": None, "seeds_ci_high": None}
    return pd.DataFrame([row])


def manifest(name: str) -> Manifest:
    """Of a program for images of the committed size."""
    weights, activations = {"bits": 8, "granularity": "channel"}, {"bits": 8, "symmetric": False}
    return Manifest(name, CLASSES, IMAGE_SIZE, weights, activations, ())


def write_program(path: Path, description: Manifest) -> None:
    """A small ONNX program with an INT8 program's interface, whose logits are the mean of each colour."""
    pixels = onnx.helper.make_tensor_value_info(
        INPUT_NAME, onnx.TensorProto.UINT8, ["batch", 3, IMAGE_SIZE, IMAGE_SIZE]
    )
    logits = onnx.helper.make_tensor_value_info(OUTPUT_NAME, onnx.TensorProto.FLOAT, ["batch", 3])
    nodes = [
        onnx.helper.make_node("Cast", [INPUT_NAME], ["values"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("GlobalAveragePool", ["values"], ["means"]),
        onnx.helper.make_node("Flatten", ["means"], [OUTPUT_NAME]),
    ]
    graph = onnx.helper.make_graph(nodes, "means", [pixels], [logits])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    model.metadata_props.add(key=METADATA_KEY, value=description.to_json())
    write_bytes(path, model.SerializeToString())


def write_shipped(folder: Path) -> None:
    """The files of the shipped models in a run's folder, with their metrics and latencies."""
    for name in SHIPPED:
        programs = {suffix: folder / f"models/int8/{name}/{name}.{suffix}" for suffix in SIZES}
        write_program(programs["onnx"], manifest(name))
        write_bytes(programs["pt2"], b"pt2" * 1000)
        write_bytes(programs["pte"], b"pte" * 2000)
        sizes = {suffix: path.stat().st_size for suffix, path in programs.items()}
        counts = {"weights": 9, "biases": 5, "scales": 7, "graph": sizes["onnx"] - 21}
        measured = {"size_bytes": sizes["onnx"], "sizes": sizes, "bytes": counts}
        write_json(folder / "metrics" / "int8" / f"{name}.json", int8(name) | measured)
    write_latencies(folder)


def write_latencies(folder: Path) -> None:
    """Two versions' latencies in a run's folder."""
    for version, factor in (("1.9.0", 1), ("1.32.0", 2)):
        write_csv(folder / f"benchmarks/results/int8_acme-4c-vnni_onnxruntime-{version}.csv", latencies(factor))


def latencies(factor: float) -> pd.DataFrame:
    """Measurements of two cases, batches and numbers of threads; `factor` is the speed of one image on one thread."""
    speeds = [
        (
            case,
            batch,
            threads,
            500.0 * factor * threads * (2 if batch > 1 else 1) * (1 if case == "asymmetric" else 0.8),
        )
        for case in ("asymmetric", "symmetric")
        for batch in (64, 8, 1)
        for threads in (1, 4)
    ]
    columns = ["case", "batch", "threads", "ours", "peer_name", "peer", "ratio", "goal", "met", "repeats"]
    peers = (("ONNX Runtime FP32", 2.5), ("ExecuTorch, our .pte program", 0.8))
    rows = [(*speed, name, speed[-1] / ratio, ratio, None, None, 7) for speed in speeds for name, ratio in peers]
    return pd.DataFrame(rows, columns=columns)
