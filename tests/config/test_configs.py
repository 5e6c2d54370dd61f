"""The parameters as a whole: what is refused, and how it is said."""

import copy
from pathlib import Path
from typing import Any

import pytest

from selectq.config.algorithms import ALGORITHMS as REGISTERED
from selectq.config.algorithms import BlockSettings, RoundingSettings, algorithm_settings
from selectq.config.configs import BitWidths, WeightScheme, width_of, widths, write_bits
from selectq.config.load import load_params, read_yaml, validate
from selectq.errors import UserError

PARAMS_FILE = Path(__file__).resolve().parents[2] / "params.yaml"
ALGORITHMS = ", ".join(REGISTERED.own)
ROUNDING = {"iterations": 10, "batch_images": 8, "lr": 1, "rounding_weight": 0}
TENSOR = {
    "weights": {"bits": 8, "granularity": "tensor"},
    "activations": {"bits": 8, "symmetric": False},
    "calibration": {"split": "train", "images": 64, "estimator": "minmax", "percentile": 99.9, "averaging": 0.1},
}
KINDS = "stem, expansion, depthwise, projection, dense, pointwise, squeeze_excite, head, classifier, batchnorm"


@pytest.fixture
def document() -> dict[str, Any]:
    """The committed parameters with two PTQ and two QAT configurations, as plain mappings."""
    document = copy.deepcopy(read_yaml(PARAMS_FILE))
    document["ptq"] = {name: document["ptq"][name] for name in ("tensor", "channel")}
    document["qat"] = {name: document["qat"][name] for name in ("clf", "dw")}
    document["convert"] = ["tensor", "channel", "clf", "dw"]
    document["ship"] = ["dw"]
    document["plan"] |= {"ptq": ["tensor", "channel"], "start": "channel"}
    document["repeat"] = {"names": [], "seeds": []}
    document["statistics"]["contrasts"] = ["dw - clf"]
    return document


def _with(document: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The document with one dotted key set."""
    section = document
    *sections, name = key.split(".")
    for part in sections:
        section = section[part]
    section[name] = value
    return document


def test_committed_parameters_are_valid() -> None:
    params = load_params(PARAMS_FILE)
    assert set(params.convert) == {*params.ptq, *params.qat}


def test_single_kinds_may_have_their_own_width(document: dict[str, Any]) -> None:
    params = validate(_with(document, "qat.dw.weights.bits", {"all": 4, "classifier": 8}), "p")
    weights = params.qat["dw"].weights
    assert (weights.of("classifier", "last"), weights.of("stem", "first")) == (
        WeightScheme(8, "channel"),
        WeightScheme(4, "channel"),
    )
    assert weights == WeightScheme({"classifier": 8, "all": 4}, "channel"), "in whatever order"
    assert hash(weights) == hash(WeightScheme({"classifier": 8, "all": 4}, "channel"))


def test_algorithms_may_be_written_with_their_settings(document: dict[str, Any]) -> None:
    entries = ["equalize", {"reconstruct_blocks": {**ROUNDING, "quantized_share": 1}}, "adaptive_rounding"]
    config = validate(_with(document, "ptq.tensor.algorithms", entries), "p").ptq["tensor"]
    assert config.algorithm_names == ("equalize", "reconstruct_blocks", "adaptive_rounding")
    assert algorithm_settings(config.algorithms) == {
        "reconstruct_blocks": BlockSettings(10, 8, 1.0, 0.0, 1.0),
        "adaptive_rounding": RoundingSettings(),
    }


@pytest.mark.parametrize(
    ("bits", "text", "found"),
    [
        (8, "8", (8,)),
        ({"all": 4}, "4", (4,)),
        ({"all": 4, "stem": 4}, "4", (4,)),
        ({"pool": 8, "all": 4, "stem": 8, "head": 6}, "4 (8: stem, pool; 6: head)", (4, 8, 6)),
        ({"all": 4, "f.1": 8, "stem": 8, "f.2": 4}, "4 (8: stem, f.1; 4: f.2)", (4, 8)),
        ({"all": 4, "f.1": 4, "f.2": 8}, "4 (8: f.2)", (4, 8)),
        ({"all": 4, **{f"f.{index}": 8 for index in (3, 1, 2, 0)}}, "4 (8: f.0, f.1, f.2, f.3)", (4, 8)),
    ],
)
def test_widths_as_text(bits: BitWidths, text: str, found: tuple[int, ...]) -> None:
    assert (write_bits(bits), widths(bits)) == (text, found)


def test_module_goes_before_its_kind_and_kind_before_all() -> None:
    bits = {"all": 4, "stem": 8, "features.0.0": 6, "head": 5}
    assert width_of(bits, "stem", "features.0.0") == 6 and width_of(bits, "stem", "conv1") == 8
    assert width_of(bits, "depthwise", "features.1.0") == 4 and width_of(3, "stem", "features.0.0") == 3
    assert width_of(bits, "classifier", "head") == 4, "a word that is a kind names no module"


def test_parameters_cannot_be_changed(document: dict[str, Any]) -> None:
    with pytest.raises(AttributeError):
        validate(document, "p").seed = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "sead",
            0,
            "sead: unknown key; allowed: "
            "seed, deterministic, setting, data, model, finetune, range_skew, ptq, calibration_sweep, drift, audit, "
            "qat_training, qat, plan, repeat, convert, formats, export, parity, statistics, ship",
        ),
        ("finetune.learning_rate", 0.1, None),
        (
            "finetune.lr",
            "1e-3",
            "finetune.lr: '1e-3' is not a number",
        ),
        ("finetune.lr", -0.1, "finetune.lr: -0.1 is out of range; allowed: 0 to 10"),
        ("finetune.lr", float("nan"), "finetune.lr: nan is out of range; allowed: 0 to 10"),
        ("finetune.schedule", "step", "finetune.schedule: 'step' is not allowed; allowed: multistep, cosine"),
        ("data.name", "mnist", "data.name: 'mnist' is not allowed; allowed: cifar10, imagefolder, digits"),
        (
            "model.network",
            "my net",
            "model.network: 'my net' names no network; allowed: a name of torchvision's, timm:NAME or FILE.py:FUNCTION",
        ),
        ("model.arguments", [0.5], "model.arguments: [0.5] is not a mapping of names to configurations"),
        (
            "model.normalization.std",
            [0.2, 0.2],
            "model.normalization.std: [0.2, 0.2]; allowed: three numbers, of red, green and blue",
        ),
        ("model.normalization.std", [1, 1, 0], "model.normalization.std[2]: 0.0 is out of range; allowed: 0.001 to 10"),
        (
            "model.new_classifier",
            True,
            "model.new_classifier: true has no weights to leave the classifier out of; allowed: false",
        ),
        ("model.strides_removed", -1, "model.strides_removed: -1 is out of range; allowed: 0 to 100"),
        ("model.activation", "relu6", "model.activation: 'relu6' is not allowed; allowed: as_is, relu"),
        ("range_skew", 3.5, "range_skew: 3.5 is out of range; allowed: 0 to 3"),
        ("drift.inspect", [3], "drift.inspect[0]: 3 is not text"),
        ("qat.dw.weights.bits", 9, "qat.dw.weights.bits: 9 is out of range; allowed: 2 to 8"),
        ("qat.dw.activations.bits", 1, "qat.dw.activations.bits: 1 is out of range; allowed: 2 to 8"),
        ("qat.dw.weights.bits", None, "qat.dw.weights.bits: None is not a whole number"),
        ("qat.dw.weights.bits", {"all": 4, "stem": 9}, "qat.dw.weights.bits.stem: 9 is out of range; allowed: 2 to 8"),
        (
            "qat.dw.weights.bits",
            {"all": 4, "features.0.0": 1},
            "qat.dw.weights.bits.features.0.0: 1 is out of range; allowed: 2 to 8",
        ),
        (
            "qat.dw.weights.bits",
            {"stem": 8},
            "qat.dw.weights.bits: {'stem': 8} has no width for `all`; write one beside those of single kinds",
        ),
        (
            "audit.activations.bits",
            {"all": 8, "stem": 8},
            "audit.activations.bits: {'all': 8, 'stem': 8}; allowed here: one width for all, 2 to 8",
        ),
        (
            "audit.activations.symmetric",
            "unsigned",
            "audit.activations.symmetric: 'unsigned'; allowed here: true, false",
        ),
        (
            "qat.dw.weights.bits",
            {"all": 4, "pool": 8},
            f"qat.dw.weights.bits.pool: no such kind; allowed: all, {KINDS.removesuffix(', batchnorm')},"
            " or a layer's module",
        ),
        (
            "qat.dw.activations.bits",
            {"all": 4, "classifier": 8},
            "qat.dw.activations.bits.classifier: no such kind; allowed: all, stem, expansion, depthwise, projection,"
            " dense, pointwise, squeeze_excite, head, block, product, pool, lookup, or a layer's module",
        ),
        (
            "qat.dw.weights.granularity",
            "row",
            "qat.dw.weights.granularity: 'row' is not allowed; allowed: tensor, channel",
        ),
        (
            "qat.dw.scope",
            [14],
            "qat.dw.scope[0]: 14 is not text",
        ),
        ("qat.dw.scope", [], "qat.dw.scope: [] lets nothing learn; name at least one layer kind"),
        ("qat.dw.scope", "all", "qat.dw.scope: 'all' is not a list"),
        ("qat_training.optimizer", "adamw", "qat_training.optimizer: 'adamw' is not allowed; allowed: sgd, adam"),
        (
            "convert",
            ["tensor", "channel", "clf"],
            "convert: dw is missing; add it, so that it is converted and tabulated",
        ),
        (
            "convert",
            ["tensor", "channel", "clf", "dw", "dv"],
            "convert: 'dv' is no configuration; allowed: tensor, channel, clf, dw, auto",
        ),
        (
            "convert",
            ["tensor", "channel", "clf", "dw", "dw"],
            "convert: ['tensor', 'channel', 'clf', 'dw', 'dw'] names a configuration twice",
        ),
        (
            "ptq.tensor.algorithms",
            ["equalise"],
            f"ptq.tensor.algorithms[0]: 'equalise' is not allowed; allowed: {ALGORITHMS}",
        ),
        (
            "ptq.tensor.algorithms",
            ["equalize", "equalize"],
            "ptq.tensor.algorithms: ['equalize', 'equalize'] names one twice",
        ),
        (
            "ptq.tensor.algorithms",
            [{"adaptive_rounding": ROUNDING}, "adaptive_rounding"],
            "ptq.tensor.algorithms: ['adaptive_rounding', 'adaptive_rounding'] names one twice",
        ),
        (
            "ptq.tensor.algorithms",
            ["equalize", {"correct_bias": {}}],
            "ptq.tensor.algorithms[1]: 'correct_bias' has no settings; allowed with some: adaptive_rounding,"
            " reconstruct_blocks",
        ),
        (
            "ptq.tensor.algorithms",
            [{"adaptive_rounding": ROUNDING, "equalize": {}}],
            f"ptq.tensor.algorithms[0]: { ({'adaptive_rounding': ROUNDING, 'equalize': {}})!r} is not one name with its"
            " settings",
        ),
        (
            "ptq.tensor.algorithms",
            [{"adaptive_rounding": 2000}],
            "ptq.tensor.algorithms[0].adaptive_rounding: 2000 is not a mapping",
        ),
        (
            "ptq.tensor.algorithms",
            [{"adaptive_rounding": {**ROUNDING, "quantized_share": 0.5}}],
            "ptq.tensor.algorithms[0].adaptive_rounding.quantized_share: unknown key; allowed: iterations,"
            " batch_images, lr, rounding_weight",
        ),
        (
            "ptq.tensor.algorithms",
            [{"reconstruct_blocks": ROUNDING}],
            "ptq.tensor.algorithms[0].reconstruct_blocks.quantized_share: missing; every key is written out, there are"
            " no hidden defaults",
        ),
        (
            "qat_training.algorithms",
            [{"reconstruct_blocks": {**ROUNDING, "quantized_share": 2}}],
            "qat_training.algorithms[0].reconstruct_blocks.quantized_share: 2.0 is out of range; allowed: 0 to 1",
        ),
        (
            "ptq.tensor",
            {**TENSOR, "algorithms": [{"adaptive_rounding": {**ROUNDING, "batch_images": 100}}]},
            "ptq.tensor.calibration.images: 64 are too few; adaptive_rounding needs 100 or more, a mini-batch",
        ),
        (
            "calibration_sweep.names",
            ["dw"],
            "calibration_sweep.names: 'dw' is not under ptq; allowed: tensor, channel",
        ),
        ("ship", ["full"], "ship: 'full' is not converted; allowed: tensor, channel, clf, dw"),
        ("export.input", "int8", "export.input: 'int8' is not allowed; allowed: uint8, float32"),
        ("export.layout", "hwc", "export.layout: 'hwc' is not allowed; allowed: nchw, nhwc"),
        ("formats", ["onnx", "tflite"], "formats[1]: 'tflite' is not allowed; allowed: onnx, pt2, pte"),
        (
            "formats",
            ["pt2"],
            "formats: ['pt2']; allowed: onnx, whose accuracy is reported, and pt2, pte, each once",
        ),
        ("audit.flaws.fusion", ["some"], "audit.flaws.fusion[0]: 'some' is not allowed; allowed: none"),
        (
            "audit.combined",
            [{"fusion": "none"}, {"range_skew": 9.0}],
            "audit.combined[1].range_skew[0]: 9.0 is out of range; allowed: 0 to 3",
        ),
        ("parity.flipped_pct", 101, "parity.flipped_pct: 101.0 is out of range; allowed: 0 to 100"),
        (
            "repeat.names",
            ["tensor"],
            "repeat.names: 'tensor' is not under qat; allowed: clf, dw",
        ),
        ("repeat.names", ["dw", "dw"], "repeat.names: ['dw', 'dw'] names a configuration twice"),
        ("repeat.seeds", [1, 0], "repeat.seeds: [1, 0]; allowed: each once, and not seed (0)"),
        ("setting", "Plain", "setting: 'Plain' is no short name; allowed: up to 20 of a-z, 0-9, _"),
        ("statistics.confidence", 95, "statistics.confidence: 95.0 is out of range; allowed: 0.5 to 0.999"),
        (
            "statistics.contrasts",
            ["dw-clf"],
            "statistics.contrasts: 'dw-clf'; allowed: the names of two configurations, as `dwpw - full`",
        ),
        (
            "statistics.contrasts",
            ["dw - dw"],
            "statistics.contrasts: 'dw - dw'; allowed: the names of two configurations, as `dwpw - full`",
        ),
        (
            "statistics.contrasts",
            ["dw - clf", "dw - clf"],
            "statistics.contrasts: ['dw - clf', 'dw - clf'] names a contrast twice",
        ),
        (
            "statistics.contrasts",
            ["dw - full"],
            "statistics.contrasts: 'full' is no configuration; allowed: tensor, channel, clf, dw",
        ),
        ("statistics.margin_points", -0.5, "statistics.margin_points: -0.5 is out of range; allowed: 0 to 100"),
        ("ship", ["auto"], "ship: 'auto' gets no card; write what `selectq plan` prints under qat or ptq, ship that"),
        ("plan.ptq", [], "plan.ptq: [] tries nothing; name configurations of ptq, the cheapest first"),
        ("plan.ptq", ["channel", "dw"], "plan.ptq: 'dw' is not under ptq; allowed: tensor, channel"),
        ("plan.ptq", ["channel", "channel"], "plan.ptq: ['channel', 'channel'] names a configuration twice"),
        ("plan.start", "dw", "plan.start: 'dw' is not among plan.ptq; allowed: tensor, channel"),
        ("plan.cost", "joules", "plan.cost: 'joules' is not allowed; allowed: parameters, backward_macs"),
        ("plan.lrs", [], "plan.lrs: [] trains nothing; name at least one learning rate"),
        ("plan.budgets_pct", [5, 101], "plan.budgets_pct[1]: 101.0 is out of range; allowed: 0.01 to 100"),
        (
            "plan.max_loss_points",
            1,
            "plan.max_loss_points: 1 points cannot be shown on 200 validation images; 381 would do if no prediction"
            " changes",
        ),
        ("repeat.seeds", [2, 2], "repeat.seeds: [2, 2]; allowed: each once, and not seed (0)"),
    ],
)
def test_bad_value_is_one_line(document: dict[str, Any], key: str, value: Any, message: str | None) -> None:
    message = message or f"{key}: unknown key; allowed: {', '.join(document['finetune'])}"
    with pytest.raises(UserError) as error:
        validate(_with(document, key, value), "params.yaml")
    assert str(error.value) == f"params.yaml: {message}"


def test_missing_key(document: dict[str, Any]) -> None:
    del document["finetune"]["gamma"]
    message = "^p: finetune.gamma: missing; every key is written out, there are no hidden defaults$"
    with pytest.raises(UserError, match=message):
        validate(document, "p")


def test_name_taken_twice(document: dict[str, Any]) -> None:
    document["qat"]["tensor"] = document["qat"]["dw"]
    with pytest.raises(
        UserError, match=r"^p: qat\.tensor: the name is taken by ptq\.tensor; every configuration has its own$"
    ):
        validate(document, "p")


@pytest.mark.parametrize("name", ["DW", "2nd", "a/b", "fp32", "", "x" * 41, 3, True, None, "auto"])
def test_name_that_cannot_be_a_file_name(document: dict[str, Any], name: Any) -> None:
    document["qat"][name] = document["qat"]["dw"]
    with pytest.raises(UserError) as error:
        validate(document, "p")
    assert str(error.value) == f"p: {name!r} cannot name a configuration; allowed: a-z, 0-9, _ (not 'fp32' or 'auto')"


@pytest.mark.parametrize("digest", ["ab12", "g" * 64])
@pytest.mark.parametrize("key", ["network", "weights"])
def test_hash_of_a_file_is_one(document: dict[str, Any], key: str, digest: str) -> None:
    file = {"network": "mine.py:make", "weights": "mine.safetensors"}[key]
    document["model"] |= {key: file, f"{key}_sha256": digest}
    with pytest.raises(UserError, match=rf"model\.{key}_sha256: .* is not the sha256 \(64 hex digits\) of a file$"):
        validate(document, "p")
    for allowed in ("0" * 64, None):
        document["model"][f"{key}_sha256"] = allowed
        assert getattr(validate(document, "p").model, key) == file


def test_scope_takes_module_names(document: dict[str, Any]) -> None:
    document["qat"]["dw"]["scope"] = ["features.14", "classifier.1"]
    assert validate(document, "p").qat["dw"].scope == ("features.14", "classifier.1")
