"""How a model was made, in words: data, FP32 model, scheme, and what was retrained."""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from selectq.config.algorithms import Entry, RoundingSettings, algorithm_names, algorithm_settings, in_order
from selectq.config.configs import (
    CalibrationConfig,
    DataConfig,
    FinetuneConfig,
    ModelConfig,
    PtqConfig,
    QatConfig,
    QatTrainingConfig,
    widths,
    write_bits,
)
from selectq.config.configurations import write_scope
from selectq.report.evidence import Fp32Metrics, SimulatedMetrics
from selectq.report.formatting import percent
from selectq.report.wording import shorten_bits

ACTIVATIONS = {"relu": "ReLU in place of any ReLU6", "as_is": "its own activation functions"}
ALGORITHMS: dict[str, str] = {
    "relu6_as_relu": "ReLU in place of ReLU6",
    "zero_dead_channels": "the weights of channels that put out a constant set to 0",
    "equalize": "channel ranges equalized across the layers that they pass through",
    "reestimate_batchnorm": "batch-norm statistics measured again with rounded weights",
    "clip_weights": "weight ranges with the smallest squared error of rounding",
    "adaptive_rounding": "each weight rounded up or down as its layer's output asks for",
    "reconstruct_blocks": "each weight rounded up or down as its block's output asks for",
    "correct_bias": "biases corrected by the mean error of each channel",
}
OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}


@dataclass(frozen=True)
class Recipe:
    """The parameters that a model is made with; from `further_seeds` its configuration was trained again."""

    seed: int
    further_seeds: tuple[int, ...]
    range_skew: float
    data: DataConfig
    model: ModelConfig
    finetune: FinetuneConfig
    config: PtqConfig | QatConfig
    qat_training: QatTrainingConfig

    @property
    def activation_scheme(self) -> str:
        """`symmetric`, `asymmetric` or `unsigned symmetric`."""
        return self.config.activations.range

    @property
    def scheme(self) -> str:
        """The short name of the scheme, such as W8A8, or W4/8A4 where some layers have other widths."""
        of_weights, of_activations = (
            "/".join(map(str, widths(scheme.bits))) for scheme in (self.config.weights, self.config.activations)
        )
        return f"W{of_weights}A{of_activations}"


def write_recipe(recipe: Recipe, fp32: Fp32Metrics, simulated: SimulatedMetrics) -> dict[str, str]:
    """A sentence for each step, under its heading."""
    return {
        "Data": f"{fp32.data}; {_validation(recipe.data.validation_images)}, and every choice uses those, none the test"
        " images",
        "FP32 model": f"{_fp32(recipe.model, recipe.finetune)}; {_range_skew(recipe.range_skew)}",
        "Scheme": f"{_weights(recipe)}; {_activations(recipe)}",
        **_quantization(recipe, simulated),
        "Seed": _seeds(recipe),
    }


def _seeds(recipe: Recipe) -> str:
    if not recipe.further_seeds:
        return f"{recipe.seed}, one run"
    further = ", ".join(map(str, recipe.further_seeds))
    return (
        f"{recipe.seed}. The configuration was trained from the seeds {further} too: `results/table2.md` has the mean"
        " of all, and how far they differ"
    )


def _validation(held_out: int | None) -> str:
    return "it has validation images of its own" if held_out is None else f"{held_out:,} training images are held out"


def _fp32(model: ModelConfig, finetune: FinetuneConfig) -> str:
    network = f"`{model.title}`, {_strides(model.strides_removed)}, {ACTIVATIONS[model.activation]}"
    if model.is_trained:
        return f"{network}; taken as trained from {model.trained} (sha256 {model.trained_sha256})"
    source = model.trained or model.weights
    origin = "from scratch" if source == "none" else f"from the weights {source}"
    return (
        f"{network}; trained {origin} for {_epochs(finetune.epochs)} of SGD, batch {finetune.batch_size}, learning rate"
        f" {finetune.lr:g}, {finetune.schedule}"
    )


def _strides(removed: int) -> str:
    return f"the first {removed} strides 1" if removed > 1 else "the first stride 1" if removed else "all strides kept"


def _range_skew(sigma: float) -> str:
    rescaled = "its channels rescaled, its function unchanged" if sigma else "no channel rescaled"
    return f"`range_skew` {sigma:g}: {rescaled}"


def _weights(recipe: Recipe) -> str:
    scales = {"tensor": "one scale per tensor", "channel": "one scale per output channel"}
    weights = recipe.config.weights
    return f"weights signed {shorten_bits(write_bits(weights.bits))} bit, symmetric, {scales[weights.granularity]}"


def _activations(recipe: Recipe) -> str:
    bits = shorten_bits(write_bits(recipe.config.activations.bits))
    return f"activations unsigned {bits} bit, {recipe.activation_scheme}, one scale per tensor"


def _quantization(recipe: Recipe, simulated: SimulatedMetrics) -> dict[str, str]:
    config = recipe.config
    if isinstance(config, PtqConfig):
        return {
            "Calibration": _calibration(config.calibration),
            **_algorithms(config.algorithms),
            "Retrained": f"nothing of {simulated.parameters:,} parameters (0.00 %): quantized after training",
        }
    training = recipe.qat_training
    share = percent(100 * simulated.params_retrained / simulated.parameters, 2)
    return {
        "Calibration": _calibration(training.calibration),
        **_algorithms(training.algorithms),
        "Retrained": f"{write_scope(config.scope)}: {simulated.params_retrained:,} of {simulated.parameters:,}"
        f" parameters ({share}), by quantization-aware training for {_epochs(config.epochs)} of"
        f" {OPTIMIZERS[training.optimizer]}, batch {training.batch_size}, learning rate {config.lr:g}",
    }


def _algorithms(entries: Collection[Entry]) -> dict[str, str]:
    settings = algorithm_settings(entries)
    applied = [
        ALGORITHMS.get(name, name.replace("_", " ")) + (_changed(settings[name]) if name in settings else "")
        for name in in_order(algorithm_names(entries))
    ]
    return {"PTQ algorithms": "; ".join(applied)} if applied else {}


def _changed(settings: RoundingSettings) -> str:
    """The settings that are no defaults, in brackets."""
    defaults = asdict(type(settings)())
    changed = [f"{name} {value:g}" for name, value in asdict(settings).items() if value != defaults[name]]
    return f" ({', '.join(changed)})" if changed else ""


def _calibration(calibration: CalibrationConfig) -> str:
    return f"{calibration.images:,} {calibration.split} images, {calibration.estimator}"


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"
