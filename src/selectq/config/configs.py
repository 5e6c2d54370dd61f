"""The parameters, as the sections of `params.yaml`. No field has a default: a value that can change
a result stands in the file that DVC tracks."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import Annotated, Any, Literal

from selectq.config.algorithms import ALGORITHMS, Entry, algorithm_names, algorithm_settings
from selectq.config.fields import Between, Config
from selectq.config.formats import FORMATS
from selectq.errors import UserError

Count = Annotated[int, Between(1, 10**9)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
Rate = Annotated[float, Between(0, 10)]
Share = Annotated[float, Between(0, 1)]
Bits = Annotated[int, Between(2, 8)]

Cost = Literal["parameters", "backward_macs"]
"""Of a retraining: what a budget counts."""

Score = Literal["parameters", "gain", "gradient", "gradient_times_error", "drift", "causal_gain"]
"""Of a layer: by what it is chosen to be retrained; see `selectq.selection.sensitivity.retraining_scores`."""

Estimator = Literal["minmax", "moving_average", "percentile", "mse"]
"""How a range is estimated from calibration images; see `selectq.quantization.range_estimation`."""

LAYER_KINDS = (
    "stem",
    "expansion",
    "depthwise",
    "projection",
    "dense",
    "pointwise",
    "squeeze_excite",
    "head",
    "classifier",
    "batchnorm",
)
"""Every parameter of a network belongs to exactly one of these; few networks have all of them.

`stem` reads the pixels; `expansion` is a 1x1 convolution whose output only depthwise or grouped ones read; `projection`
one without activation function behind such, or whose output meets a sum; `dense` is any other spatial convolution,
`pointwise` any other 1x1; `head` is what else comes behind or right before the last average; `classifier` gives logits.
"""

AUTO = "auto"
"""The configuration that the plan finds."""

WEIGHT_KINDS = LAYER_KINDS[:-1]
"""The layers whose weights are quantized; batch norms are folded into them."""

STORING_KINDS = (*LAYER_KINDS[:-2], "block", "product", "pool", "lookup")
"""What stores activations: every layer but the last, sums (of residual blocks), products, averages, and activation
functions that are no clamps."""

KINDS = tuple(dict.fromkeys([*STORING_KINDS, *WEIGHT_KINDS]))
"""Whatever may have a bit width of its own, in the order of the network."""

BitWidths = Bits | dict[str, Bits]
"""One width, or one for `all` and others for the kinds and the layers' modules that are named beside it:
`{all: 4, stem: 8, features.14.conv.1.0: 6}`. A module goes before its kind; a word that is a kind names no module."""


@dataclass(frozen=True)
class Cifar10Config(Config):
    """The official archive: extra mirrors (folder URLs, tried first, in order) and its md5."""

    mirrors: tuple[str, ...]
    md5: str


@dataclass(frozen=True)
class ImageFolderConfig(Config):
    """A tar, zip or folder of `train/<class>/**`, `test/<class>/**` and perhaps `val/<class>/**`; at least one hash is
    needed.

    `source` is a path, a URL, or a bare file name looked up in the SELECTQ_DATA folders. Images that cannot be read are
    left out with `skip_bad`, and end the download without.
    """

    source: str
    archive_sha256: str | None
    pixels_sha256: str | None
    image_size: Annotated[int, Between(8, 512)]
    skip_bad: bool


@dataclass(frozen=True)
class DigitsConfig(Config):
    """scikit-learn's handwritten digits; it has no test set of its own, so one is split off."""

    test_images: Count


@dataclass(frozen=True)
class DataConfig(Config):
    """Which images, and how many of the training images are held out for every selection.

    `validation_images` is null where the source has validation images of its own, in `val/`.
    """

    name: Literal["cifar10", "imagefolder", "digits"]
    validation_images: Count | None
    split_seed: Seed
    cifar10: Cifar10Config
    imagefolder: ImageFolderConfig
    digits: DigitsConfig


@dataclass(frozen=True)
class NormalizationConfig(Config):
    """What a network was trained with: `mean` is taken from pixels from 0 to 1, and the rest divided by `std`; both of
    red, green and blue."""

    mean: tuple[Annotated[float, Between(-10, 10)], ...]
    std: tuple[Annotated[float, Between(0.001, 10)], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("mean", "std"):
            if len(getattr(self, key)) != 3:
                raise UserError(f"{key}: {list(getattr(self, key))}; allowed: three numbers, of red, green and blue")


NETWORKS = r"\w+|timm:[\w.]+|.+\.py:[A-Za-z_]\w*"
"""How `model.network` names one: torchvision's, timm's, or a function of the user's."""


@dataclass(frozen=True)
class ModelConfig(Config):
    """The FP32 network and where its weights come from.

    `network` is a name of torchvision's, `timm:NAME` or `FILE.py:FUNCTION`; `arguments` are its own. Of its strided
    layers, in order of execution, the first `strides_removed` get stride 1; `relu` stands in for every ReLU6.
    `weights`, from which training starts, is `none`, the name of torchvision's or a checkpoint's path; `trained` is a
    checkpoint that needs no training. With `new_classifier` its last layer is left out, and trained anew. Files need
    their hashes; where that is null, the error that reading the file ends with says what to write.
    """

    network: str
    network_sha256: str | None
    arguments: dict[str, Any]
    strides_removed: Annotated[int, Between(0, 100)]
    activation: Literal["as_is", "relu"]
    normalization: NormalizationConfig
    weights: str
    weights_sha256: str | None
    trained: str | None
    trained_sha256: str | None
    new_classifier: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(NETWORKS, self.network):
            allowed = "a name of torchvision's, timm:NAME or FILE.py:FUNCTION"
            raise UserError(f"network: {self.network!r} names no network; allowed: {allowed}")
        for key in ("network_sha256", "weights_sha256", "trained_sha256"):
            digest = getattr(self, key)
            if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
                raise UserError(f"{key}: {digest!r} is not the sha256 (64 hex digits) of a file")
        if self.trained is not None and self.weights != "none":
            raise UserError(
                f"trained: {self.trained!r} does not go with weights: {self.weights!r}; allowed: one of them"
            )
        if self.new_classifier and self.trained is None and self.weights == "none":
            raise UserError("new_classifier: true has no weights to leave the classifier out of; allowed: false")

    @property
    def is_trained(self) -> bool:
        """Whether the weights are taken as they are, without training."""
        return self.trained is not None and not self.new_classifier

    @property
    def title(self) -> str:
        """The network with its arguments: `mobilenet_v2`, or `mobilenet_v2 (width_mult: 0.5)`."""
        arguments = ", ".join(f"{name}: {value}" for name, value in sorted(self.arguments.items()))
        return f"{self.network} ({arguments})" if arguments else self.network


@dataclass(frozen=True)
class AugmentConfig(Config):
    """Training augmentation: horizontal flip, a random crop after padding by `crop_padding` pixels, and a square of
    `cutout` pixels greyed at a random place (DeVries and Taylor 2017)."""

    flip: bool
    crop_padding: Annotated[int, Between(0, 64)]
    cutout: Annotated[int, Between(0, 512)]


@dataclass(frozen=True)
class FinetuneConfig(Config):
    """The FP32 training: SGD with Nesterov or plain momentum, `multistep` or `cosine`.

    `label_smoothing` is the share of a label that is spread over all classes; `precision` is that of the products.
    """

    epochs: Count
    batch_size: Count
    lr: Rate
    momentum: Share
    nesterov: bool
    weight_decay: Share
    schedule: Literal["multistep", "cosine"]
    milestones: tuple[Count, ...]
    gamma: Share
    warmup_epochs: Annotated[float, Between(0, 1000)]
    label_smoothing: Share
    precision: Literal["float32", "bfloat16"]
    augment: AugmentConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise UserError("momentum: 0.0 leaves nothing to nesterov: true; allowed: above 0, or nesterov: false")


def width_of(bits: BitWidths, kind: str, name: str) -> int:
    """The bits of the layer, or whatever stores, of this kind and name."""
    if isinstance(bits, int):
        return bits
    return bits[name] if name in modules_of(bits) else bits.get(kind, bits["all"])


def modules_of(bits: BitWidths) -> list[str]:
    """The modules that have a width of their own."""
    return [] if isinstance(bits, int) else [key for key in bits if key not in ("all", *KINDS)]


def widths(bits: BitWidths) -> tuple[int, ...]:
    """All that occur: that of `all` first, each once."""
    return (bits,) if isinstance(bits, int) else tuple(dict.fromkeys([bits["all"], *bits.values()]))


def write_bits(bits: BitWidths) -> str:
    """The width of all, and those of single kinds, in the order of the network, and modules: `4 (8: stem, pool)`.

    Widths that differ for some network are different texts: a module of the width of `all` goes before its kind.
    """
    if isinstance(bits, int):
        return str(bits)
    own = {kind: bits[kind] for kind in KINDS if bits.get(kind, bits["all"]) != bits["all"]}
    own |= {name: bits[name] for name in sorted(modules_of(bits)) if own or bits[name] != bits["all"]}
    groups = [
        f"{width}: {', '.join(name for name in own if own[name] == width)}"
        for width in sorted({*own.values()}, reverse=True)
    ]
    return f"{bits['all']} ({'; '.join(groups)})" if groups else str(bits["all"])


def _check_kinds(bits: BitWidths, kinds: tuple[str, ...]) -> None:
    if isinstance(bits, int):
        return
    if "all" not in bits:
        raise UserError(f"bits: {bits!r} has no width for `all`; write one beside those of single kinds")
    for kind in bits:
        if kind in (*KINDS, *LAYER_KINDS) and kind not in kinds:
            raise UserError(f"bits.{kind}: no such kind; allowed: {', '.join(('all', *kinds))}, or a layer's module")


@dataclass(frozen=True)
class WeightScheme(Config):
    """Symmetric integer weights, one scale per tensor or per output channel."""

    bits: BitWidths
    granularity: Literal["tensor", "channel"]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_kinds(self.bits, WEIGHT_KINDS)

    def __hash__(self) -> int:  # a mapping has none of its own
        return hash((write_bits(self.bits), self.granularity))

    def of(self, kind: str, name: str) -> "WeightScheme":
        """The scheme of the layer of this kind and name: a single width."""
        return replace(self, bits=width_of(self.bits, kind, name))


@dataclass(frozen=True)
class ActivationScheme(Config):
    """Unsigned integer activations, one scale per tensor.

    `symmetric` is where 0 lies: True, in the middle of the grid; False, where the range puts it; `unsigned`, at the
    first integer where nothing negative is stored, as behind a ReLU, and in the middle elsewhere.
    """

    bits: BitWidths
    symmetric: Literal[True, False, "unsigned"]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_kinds(self.bits, STORING_KINDS)

    def __hash__(self) -> int:
        return hash((write_bits(self.bits), self.symmetric))

    @property
    def range(self) -> str:
        """`symmetric`, `asymmetric` or `unsigned symmetric`."""
        return {True: "symmetric", False: "asymmetric", "unsigned": "unsigned symmetric"}[self.symmetric]

    def of(self, kind: str, name: str, signed: bool) -> "ActivationScheme":
        """The scheme of what the node of this kind and name stores: a single width, and symmetric or not.

        Without negative values a range from 0 is what an asymmetric one is.
        """
        symmetric = signed if self.symmetric == "unsigned" else self.symmetric
        return replace(self, bits=width_of(self.bits, kind, name), symmetric=symmetric)


@dataclass(frozen=True)
class CalibrationConfig(Config):
    """Which images set the activation ranges, and how a range is estimated from them."""

    split: Literal["train", "validation"]
    images: Count
    estimator: Estimator
    percentile: Annotated[float, Between(50, 100)]
    averaging: Share


class _WithAlgorithms(Config):
    """What applies PTQ algorithms, behind a calibration."""

    calibration: CalibrationConfig
    algorithms: tuple[Entry, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        settings, names = algorithm_settings(self.algorithms), self.algorithm_names
        for index, name in enumerate(names):
            if name not in ALGORITHMS.names():
                allowed = ", ".join(ALGORITHMS.names())
                raise UserError(f"algorithms[{index}]: {name!r} is not allowed; allowed: {allowed}")
        if len(set(names)) != len(names):
            raise UserError(f"algorithms: {list(names)} names one twice")
        for name, each in settings.items():
            if self.calibration.images < each.batch_images:
                needed = f"{name} needs {each.batch_images} or more, a mini-batch"
                raise UserError(f"calibration.images: {self.calibration.images} are too few; {needed}")

    @property
    def algorithm_names(self) -> tuple[str, ...]:
        """The algorithms without their settings."""
        return algorithm_names(self.algorithms)


@dataclass(frozen=True)
class PtqConfig(_WithAlgorithms):
    """One post-training quantization (PTQ): scheme, calibration and algorithms.

    Algorithms always act in their own order, whatever the order here; see `selectq.ptq`.
    """

    weights: WeightScheme
    activations: ActivationScheme
    calibration: CalibrationConfig
    algorithms: tuple[Entry, ...]


@dataclass(frozen=True)
class CalibrationSweepConfig(Config):
    """Configurations of `ptq` quantized again by every range estimator and number of calibration images.

    `evaluation_images` is how many validation and how many test images measure each.
    """

    names: tuple[str, ...]
    estimators: tuple[Estimator, ...]
    images: tuple[Count, ...]
    evaluation_images: Count


@dataclass(frozen=True)
class QatTrainingConfig(_WithAlgorithms):
    """What all QAT configurations share, so that they differ in scope, scheme, epochs and rate alone.

    In-scope activation ranges follow the data, by moving average, for the first `range_epochs`. Where only the
    classifier learns, its inputs are computed once, for `feature_views` augmented views of every image, shown in turns.
    `algorithms` act before the retraining, as those of `PtqConfig`.
    """

    batch_size: Count
    optimizer: Literal["sgd", "adam"]
    momentum: Share
    weight_decay: Share
    warmup_epochs: Annotated[float, Between(0, 1000)]
    range_epochs: Annotated[float, Between(0, 1000)]
    range_averaging: Share
    feature_views: Count
    calibration: CalibrationConfig
    algorithms: tuple[Entry, ...]
    augment: AugmentConfig


@dataclass(frozen=True)
class QatConfig(Config):
    """One QAT configuration: what may learn (`scope`), the scheme, and for how long at which rate.

    `scope` lists layer kinds, module names of the FP32 network, or `all`; see `selectq.quantization.scopes`.
    """

    scope: tuple[str, ...]
    weights: WeightScheme
    activations: ActivationScheme
    epochs: Count
    lr: Rate

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scope:
            raise UserError("scope: [] lets nothing learn; name at least one layer kind")


@dataclass(frozen=True)
class Goal(Config):
    """What a plan is to reach, and what may be retrained for it.

    Attributes:
        max_loss_points: of top-1 below FP32; the whole interval over the validation images must lie above minus this.
        budgets_pct: percent of the `cost` that a retraining may have; the smallest that is enough is found.
        cost: the FP32 network's `parameters`, or `backward_macs`, the multiply-accumulates of its gradients.
        score: of this the layers that are retrained have the largest sum that a budget holds.
        epochs: of a retraining.
        lrs: the learning rates that every set of layers is tried with, for one epoch.
    """

    max_loss_points: Annotated[float, Between(0.01, 100)]
    budgets_pct: tuple[Annotated[float, Between(0.01, 100)], ...]
    cost: Cost
    score: Score
    epochs: Count
    lrs: tuple[Rate, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lrs:
            raise UserError("lrs: [] trains nothing; name at least one learning rate")

    def fewest_images(self, confidence: float) -> int:
        """With fewer validation images no interval is so narrow, not even where no prediction changes."""
        bound = NormalDist().inv_cdf((1 + confidence) / 2)
        return int(bound**2 * (100 / self.max_loss_points - 1)) + 1

    def require_images(self, validation: int, confidence: float) -> None:
        """Refuse too few validation images.

        Raises:
            UserError: says how many would do.
        """
        fewest = self.fewest_images(confidence)
        if validation < fewest:
            raise UserError(
                f"plan.max_loss_points: {self.max_loss_points:g} points cannot be shown on {validation:,} validation"
                f" images; {fewest:,} would do if no prediction changes"
            )


@dataclass(frozen=True)
class PlanConfig(Goal):
    """The cheapest treatment that reaches a goal: `ptq` in this order, then `start` with layers retrained.

    Both name configurations of `ptq`. Layers are scored on `score_images` training images.
    """

    ptq: tuple[str, ...]
    start: str
    score_images: Count


@dataclass(frozen=True)
class RepeatConfig(Config):
    """The configurations of `qat` that are trained again, and from which seeds, beside the pipeline's own."""

    names: tuple[str, ...]
    seeds: tuple[Seed, ...]


@dataclass(frozen=True)
class DriftConfig(Config):
    """The convolutions whose channel ranges and histograms are recorded: module names of the FP32 network, or layer
    kinds, of which the middle one is recorded.

    Drift is measured on `images` test images, evenly spread; histograms on `histogram_images` random ones, the causes
    of every layer's error on `cause_images`.
    """

    images: Count
    inspect: tuple[str, ...]
    histogram_images: Count
    cause_images: Count


@dataclass(frozen=True)
class AuditFlaws(Config):
    """Every flaw of an experiment (`selectq.analysis.flaws` says what it does) with the settings that are tried."""

    dead_channels: tuple[Literal["kept"], ...]
    fusion: tuple[Literal["none"], ...]
    calibration_images: tuple[Count, ...]
    calibration_pixels: tuple[Literal["unit", "byte"], ...]
    inference_pixels: tuple[Literal["unit", "byte"], ...]
    activation_bits: tuple[Bits, ...]
    activation_range: tuple[Literal["symmetric"], ...]
    activation_function: tuple[Literal["relu", "relu6"], ...]
    batch_norm: tuple[Literal["training"], ...]
    statistics_batches: tuple[Annotated[int, Between(0, 10**6)], ...]
    outlier_channel: tuple[Count, ...]
    outlier_weight: tuple[Count, ...]
    range_skew: tuple[Annotated[float, Between(0, 3)], ...]
    products: tuple[Literal["saturating"], ...]


@dataclass(frozen=True)
class AuditConfig(Config):
    """Which flaws are tried on the FP32 network, alone and together (flaw: setting), and on how many test images.

    `weight_bits`, `activations` and `calibration` are those of the experiment without a flaw.
    """

    images: Count
    weight_bits: Bits
    activations: ActivationScheme
    calibration: CalibrationConfig
    flaws: AuditFlaws
    combined: tuple[dict[str, Any], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.activations.bits, int):
            raise UserError(f"activations.bits: {self.activations.bits!r}; allowed here: one width for all, 2 to 8")
        if self.activations.symmetric == "unsigned":
            raise UserError("activations.symmetric: 'unsigned'; allowed here: true, false")
        names = [field.name for field in fields(AuditFlaws)]
        for index, combination in enumerate(self.combined):
            alone = {name: [combination[name]] if name in combination else [] for name in names}
            unknown = {name: setting for name, setting in combination.items() if name not in names}
            AuditFlaws.from_mapping({**alone, **unknown}, f"combined[{index}]")


@dataclass(frozen=True)
class ParityConfig(Config):
    """By how much the backends of a model may differ.

    `flipped_pct` is in percent of `images` test images, for any two backends; `layer_steps` in integer steps at a
    layer's output, given the same inputs, on `layer_images`. Both lots are evenly spread.
    """

    images: Count
    layer_images: Count
    layer_steps: Annotated[int, Between(0, 255)]
    flipped_pct: Annotated[float, Between(0, 100)]


@dataclass(frozen=True)
class ExportConfig(Config):
    """What the program files take.

    `input` is `uint8`, pixels as decoded, or `float32`, pixels normalised as the FP32 network takes them; `layout` is
    channels first, (batch, 3, height, width), or last.
    """

    input: Literal["uint8", "float32"]
    layout: Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class StatisticsConfig(Config):
    """Intervals at `confidence`; a loss below `margin_points` is no loss.

    `contrasts` are the differences between configurations that the study asks for, each as `NAME - NAME`.
    """

    confidence: Annotated[float, Between(0.5, 0.999)]
    margin_points: Annotated[float, Between(0, 100)]
    contrasts: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for contrast in self.contrasts:
            names = contrast.split(" - ")
            if len(names) != 2 or names[0] == names[1]:
                raise UserError(f"contrasts: {contrast!r}; allowed: the names of two configurations, as `dwpw - full`")
        if len(set(self.contrasts)) != len(self.contrasts):
            raise UserError(f"contrasts: {list(self.contrasts)} names a contrast twice")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The contrasts as configuration and reference."""
        return [(contrast.split(" - ")[0], contrast.split(" - ")[1]) for contrast in self.contrasts]


@dataclass(frozen=True)
class Params(Config):
    """The whole of `params.yaml`. `deterministic: false` lets training on a GPU be faster and vary from run to run.

    `setting` names the conditions of the study, for the tables.
    """

    seed: Seed
    deterministic: bool
    setting: str
    data: DataConfig
    model: ModelConfig
    finetune: FinetuneConfig
    range_skew: Annotated[float, Between(0, 3)]
    ptq: dict[str, PtqConfig]
    calibration_sweep: CalibrationSweepConfig
    drift: DriftConfig
    audit: AuditConfig
    qat_training: QatTrainingConfig
    qat: dict[str, QatConfig]
    plan: PlanConfig
    repeat: RepeatConfig
    convert: tuple[str, ...]
    formats: tuple[str, ...]
    export: ExportConfig
    parity: ParityConfig
    statistics: StatisticsConfig
    ship: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch("[a-z0-9_]{1,20}", self.setting):
            raise UserError(f"setting: {self.setting!r} is no short name; allowed: up to 20 of a-z, 0-9, _")
        for index, ending in enumerate(self.formats):
            if ending not in FORMATS.names():
                raise UserError(f"formats[{index}]: {ending!r} is not allowed; allowed: {', '.join(FORMATS.names())}")
        if "onnx" not in self.formats or len(set(self.formats)) != len(self.formats):
            others = ", ".join(FORMATS.names()[1:])
            raise UserError(
                f"formats: {list(self.formats)}; allowed: onnx, whose accuracy is reported, and {others}, each once"
            )
        self._check_configurations()
        self._check_references()
        self._check_plan()

    def _check_configurations(self) -> None:
        both = sorted(set(self.ptq) & set(self.qat))
        if both:
            raise UserError(f"qat.{both[0]}: the name is taken by ptq.{both[0]}; every configuration has its own")
        for name in (*self.ptq, *self.qat):
            if not re.fullmatch("[a-z][a-z0-9_]{0,39}", str(name)) or name in ("fp32", AUTO):
                raise UserError(f"{name!r} cannot name a configuration; allowed: a-z, 0-9, _ (not 'fp32' or {AUTO!r})")
            if name not in self.convert:
                raise UserError(f"convert: {name} is missing; add it, so that it is converted and tabulated")

    def _check_references(self) -> None:
        _require_known("convert", self.convert, (*self.ptq, *self.qat, AUTO), "is no configuration")
        _require_once("convert", self.convert)
        if AUTO in self.ship:
            raise UserError(
                f"ship: {AUTO!r} gets no card; write what `selectq plan` prints under qat or ptq, ship that"
            )
        _require_known("ship", self.ship, self.convert, "is not converted")
        contrasted = (name for pair in self.statistics.pairs for name in pair)
        _require_known("statistics.contrasts", contrasted, self.convert, "is no configuration")
        _require_known("calibration_sweep.names", self.calibration_sweep.names, self.ptq, "is not under ptq")
        _require_known("repeat.names", self.repeat.names, self.qat, "is not under qat")
        _require_once("repeat.names", self.repeat.names)
        if len({self.seed, *self.repeat.seeds}) != 1 + len(self.repeat.seeds):
            raise UserError(f"repeat.seeds: {list(self.repeat.seeds)}; allowed: each once, and not seed ({self.seed})")

    def _check_plan(self) -> None:
        if not self.plan.ptq:
            raise UserError("plan.ptq: [] tries nothing; name configurations of ptq, the cheapest first")
        _require_known("plan.ptq", self.plan.ptq, self.ptq, "is not under ptq")
        _require_once("plan.ptq", self.plan.ptq)
        _require_known("plan.start", [self.plan.start], self.plan.ptq, "is not among plan.ptq")
        if self.data.validation_images is not None:
            self.plan.require_images(self.data.validation_images, self.statistics.confidence)


def _require_known(key: str, names: Iterable[str], known: Collection[str], reason: str) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{key}: {name!r} {reason}; allowed: {', '.join(known)}")


def _require_once(key: str, names: Collection[str]) -> None:
    if len(set(names)) != len(names):
        raise UserError(f"{key}: {list(names)} names a configuration twice")
