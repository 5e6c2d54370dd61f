"""Small faults that somebody could write into `src/` or `stages/`, and the tests that should notice each."""

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """One edit of one file.

    Attributes:
        kind: what it is about.
        name: what the code does wrong then.
        file: in the checkout.
        old: stands in the file once.
        new: what replaces it.
        tests: files or tests that run until one fails.
    """

    kind: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def harmed(self, text: str) -> str:
        """The file's text with the edit."""
        assert text.count(self.old) == 1, (
            f"{self.name}: {self.old!r} stands {text.count(self.old)} times in {self.file}"
        )
        return text.replace(self.old, self.new)

    @property
    def edit(self) -> str:
        """Old and new text in one line."""
        return " ".join(f"{self.old} => {self.new or 'nothing'}".split())


def _of(kind: str, file: str, tests: str, *edits: tuple[str, str, str]) -> list[Mutant]:
    """Edits of one file as (name, old, new), noticed by the same tests (below `tests/`, divided by blanks)."""
    paths = tuple(f"tests/{test}" for test in tests.split())
    return [Mutant(kind, name, file, old, new, paths) for name, old, new in edits]


_LOOP = " ".join(
    f"training/test_loop.py::test_{name}"
    for name in (
        "order_and_dropout_are_the_seed_s_and_each_epoch_s_own",
        "every_step_has_the_rate_of_its_fractional_epoch",
        "reported_loss_and_accuracy_are_those_of_the_epoch",
        "smoothed_labels_are_those_of_training_alone",
        "network_ruined_by_the_last_step_is_not_passed_on",
        "fp32_overfits_one_batch",
    )
)

_SELECTION = [
    *_of(
        "selection",
        "src/selectq/quantization/post_training.py",
        "stages/test_selection.py",
        ("calibrates on test images", "split: Split = getattr(dataset, config.split)", "split: Split = dataset.test"),
    ),
    *_of(
        "selection",
        "stages/ptq.py",
        "stages/test_selection.py",
        ("PTQ's validation accuracy is of test images", "device), dataset.validation,", "device), dataset.test,"),
    ),
    *_of(
        "selection",
        "stages/plan.py",
        "stages/test_selection.py",
        (
            "the plan's FP32 network is measured on test images",
            "device), dataset.validation,",
            "device), dataset.test,",
        ),
    ),
    *_of(
        "selection",
        "stages/auto.py",
        "stages/test_selection.py",
        ("auto's validation accuracy is of test images", "device), dataset.validation,", "device), dataset.test,"),
    ),
    *_of(
        "selection",
        "stages/sensitivity.py",
        "stages/test_selection.py",
        ("layers are scored on test images", "normalization).train", "normalization).test"),
    ),
    *_of(
        "selection",
        "stages/calibration.py",
        "stages/test_selection.py stages/test_sweep.py",
        ("sweep chooses by test images", "in (dataset.validation, dataset.test)]", "in (dataset.test, dataset.test)]"),
        (
            "sweep measures on validation images",
            "in (dataset.validation, dataset.test)]",
            "in (dataset.validation, dataset.validation)]",
        ),
        ("sweep ignores the estimator", "estimator=estimator, images=images", "images=images"),
        ("sweep ignores the number of images", "estimator=estimator, images=images", "estimator=estimator"),
    ),
    *_of(
        "selection",
        "src/selectq/training/qat.py",
        "stages/test_selection.py",
        (
            "QAT learns from validation images",
            "batches_and_forward(network, dataset.train, config",
            "batches_and_forward(network, dataset.validation, config",
        ),
    ),
    *_of(
        "selection",
        "src/selectq/training/finetune.py",
        "stages/test_selection.py",
        (
            "FP32 training learns from validation images",
            "AugmentedImages(dataset.train,",
            "AugmentedImages(dataset.validation,",
        ),
    ),
    *_of(
        "selection",
        "stages/finetune_fp32.py",
        "stages/test_selection.py",
        (
            "FP32 logits are of validation images",
            'predict_logits(model, dataset.test, "test")',
            'predict_logits(model, dataset.validation, "test")',
        ),
    ),
    *_of(
        "selection",
        "src/selectq/training/loop.py",
        "stages/test_selection.py",
        (
            "training is followed on test images",
            "evaluate(plan.predict, dataset.validation,",
            "evaluate(plan.predict, dataset.test,",
        ),
    ),
    *_of(
        "selection",
        "stages/repeat.py",
        "stages/test_stage_scripts.py::test_repeated_training_differs_by_its_seed_alone",
        (
            "a repeat's logits are of validation images",
            'device), dataset.test, "test")',
            'device), dataset.validation, "test")',
        ),
        (
            "a repeat uses the pipeline's own seed",
            "params.qat_training, seed)",
            "params.qat_training, params.seed)",
        ),
    ),
    *_of(
        "selection",
        "src/selectq/search.py",
        "test_search.py",
        (
            "a search shows the wrong network's accuracy",
            '"validation_top1": _top1(workspace / "metrics" / "simulated" / f"{name}.json"),',
            '"validation_top1": _top1(workspace / "metrics" / "fp32.json"),',
        ),
    ),
]

_AUGMENTATION = [
    *_of(
        "augmentation",
        "src/selectq/data/augment.py",
        "data/test_augment.py",
        ("crops are padded with black", "value=PIXEL_ZERO_POINT)", "value=0)"),
        ("every image is mirrored", "< 0.5 if config.flip", "< 1.0 if config.flip"),
        ("images are turned upside down", "images.flip(3)", "images.flip(2)"),
        (
            "crops never reach the last offset",
            "places = 2 * config.crop_padding + 1",
            "places = 2 * config.crop_padding",
        ),
        ("crops move along the diagonal alone", "columns = offsets[1]", "columns = offsets[0]"),
        ("holes are off their centre", ".floor() - size // 2", ".floor() - size"),
        (
            "the last batch is incomplete",
            "range(0, len(split) - batch_size + 1, batch_size)",
            "range(0, len(split), batch_size)",
        ),
        ("labels stand in another order", "split.labels[chosen]", "split.labels[chosen.sort().values]"),
        ("processes that train together augment alike", "generator).of(share)", "generator).of(slice(0, len(chosen)))"),
    ),
    *_of(
        "cached augmentations",
        "src/selectq/training/batches.py",
        "training/test_batches.py",
        ("cached augmentations ignore the seed", "self._seed * 100_003 + index % self.count", "index % self.count"),
        (
            "one seed's cached augmentations are another's",
            "self._seed * 100_003 + index % self.count",
            "self._seed + index % self.count",
        ),
        (
            "cached augmentations never repeat",
            "self._seed * 100_003 + index % self.count",
            "self._seed * 100_003 + index",
        ),
        (
            "cached images keep the labels of others",
            "return self._split.labels[chosen]",
            "return self._split.labels[: len(chosen)]",
        ),
    ),
    *_of(
        "cached augmentations",
        "src/selectq/training/qat.py",
        "training/test_batches.py",
        (
            "QAT's cached augmentations are those of seed 0",
            "training.feature_views, seed, workers=workers)",
            "training.feature_views, 0, workers=workers)",
        ),
        (
            "QAT caches one augmentation alone",
            "training.augment, training.feature_views, seed",
            "training.augment, 1, seed",
        ),
    ),
    *_of(
        "cached augmentations",
        "src/selectq/training/features.py",
        "training/test_batches.py",
        ("features of the first view serve all epochs", "view = index % self._views.count", "view = 0"),
    ),
]

_TRAINING = [
    *_of(
        "training",
        "src/selectq/training/loop.py",
        f"{_LOOP} training/test_resume.py::test_resumed_run_repeats_no_epoch"
        " training/test_resume.py::test_killed_after_the_last_epoch_nothing_is_trained_again",
        (
            "every epoch has the same order",
            "plan.seed * 100_003 + epoch, plan.workers",
            "plan.seed * 100_003, plan.workers",
        ),
        ("training ignores the seed", "plan.seed * 100_003 + epoch, plan.workers", "epoch, plan.workers"),
        (
            "dropout is the same in every step's epoch",
            "torch.manual_seed(epoch_seed * workers.count + workers.rank)",
            "torch.manual_seed(0)",
        ),
        ("validation is in training mode", "        network.eval()\n        validation", "        validation"),
        (
            "the trained network is left in training mode",
            "    network.eval()\n    return history",
            "    return history",
        ),
        ("the rate changes once an epoch", "plan.schedule(now)", "plan.schedule(epoch)"),
        ("labels are not smoothed", "label_smoothing=plan.label_smoothing)", "label_smoothing=0.0)"),
        ("the loss of a batch counts once", "loss.detach() * len(labels)", "loss.detach()"),
        (
            "a network ruined by the last step is kept",
            'math.isfinite(training["loss"] + validation["loss"])',
            'math.isfinite(training["loss"])',
        ),
        ("a resumed run begins anew", "range(len(history) // 2, plan.epochs)", "range(plan.epochs)"),
        ("hooks never hear of a step's end", "        plan.hooks.after_step(now)\n", ""),
        ("no state is kept", "            state.save(network, optimizer, history)\n", "            pass\n"),
    ),
    *_of(
        "training",
        "src/selectq/data/evaluate.py",
        "data/test_evaluate.py",
        ("the loss is that of a batch", 'reduction="sum"', 'reduction="mean"'),
    ),
    *_of(
        "training",
        "src/selectq/training/finetune.py",
        "training/test_finetune.py",
        ("Nesterov's momentum is never used", "nesterov=config.nesterov", "nesterov=False"),
        ("FP32 training has no weight decay", "weight_decay=config.weight_decay", "weight_decay=0.0"),
        ("bfloat16 is never used", 'if config.precision == "bfloat16":', "if False:"),
    ),
    *_of(
        "training",
        "src/selectq/training/qat.py",
        "training/test_qat.py",
        (
            "QAT has no weight decay under Adam",
            "torch.optim.Adam(parameters, lr=config.lr, weight_decay=training.weight_decay",
            "torch.optim.Adam(parameters, lr=config.lr, weight_decay=0.0",
        ),
        (
            "ranges follow the data for a step too long",
            "= epoch < self._training.range_epochs",
            "= epoch <= self._training.range_epochs",
        ),
        (
            "ranges of frozen layers follow the data",
            "RangeFollower(quantizers_in_scope(network), training",
            "RangeFollower([each for each in network.modules() if isinstance(each, ActivationQuantizer)], training",
        ),
        (
            "QAT begins at another seed's PTQ",
            "ptq_pipeline(fp32, dataset, retraining.start, retraining.seed)",
            "ptq_pipeline(fp32, dataset, retraining.start, retraining.seed + 1)",
        ),
        (
            "features are cached for other scopes",
            "return learning <= {id(parameter)",
            "return learning >= {id(parameter)",
        ),
    ),
    *_of(
        "training",
        "src/selectq/training/oscillation.py",
        "training/test_oscillation.py",
        (
            "a rise after a rise oscillates",
            "(rises & self._fell) | (falls & self._rose)",
            "(rises & self._rose) | (falls & self._fell)",
        ),
        ("oscillation is counted from the first epoch", "self._last_epoch = epochs - 1", "self._last_epoch = 0"),
        ("frozen layers are counted", "if layer.weight.requires_grad]", "]"),
    ),
    *_of(
        "schedules",
        "src/selectq/training/schedules.py",
        "training/test_schedules.py",
        ("the warm-up never ends", "min(1.0, epoch / epochs) if epochs", "epoch / epochs if epochs"),
        ("the cosine rises", "0.5 * (1 + math.cos", "0.5 * (1 - math.cos"),
        (
            "a milestone acts an epoch late",
            "bisect_right(sorted(milestones), epoch)",
            "bisect_right(sorted(milestones), epoch - 1)",
        ),
        (
            "QAT has no warm-up",
            "warmup(cosine(config.lr, config.epochs), training.warmup_epochs)",
            "cosine(config.lr, config.epochs)",
        ),
    ),
    *_of(
        "resume",
        "src/selectq/training/resume.py",
        "training/test_resume.py::test_key_is_of_the_code_and_of_torch"
        " training/test_resume.py::test_key_is_of_parameters_and_inputs"
        " training/test_resume.py::test_states_of_other_parameters_are_left_alone_until_the_run_is_done"
        " training/test_resume.py::test_resumed_run_equals_an_uninterrupted_one",
        (
            "the optimiser's state is forgotten",
            'if name.startswith("optimizer."):',
            'if name.startswith("optimiser."):',
        ),
        ("a state is taken for other images", "files = [*inputs, *sorted(code)]", "files = [*sorted(code)]"),
        ("a state is taken for other code", "files = [*inputs, *sorted(code)]", "files = [*inputs]"),
        ("a state is taken for another torch", "repr(parameters), torch.__version__,", "repr(parameters),"),
        ("states of other runs are thrown away", 'f"{self._stem}-*.safetensors"', 'f"{self._stem}*.safetensors"'),
        ("a finished run leaves its state", "            path.unlink()\n", "            pass\n"),
    ),
    *_of(
        "several processes",
        "src/selectq/training/parallel.py",
        "training/test_parallel.py",
        ("all processes take the same images", "slice(self.rank, None, self.count)", "slice(0, None, self.count)"),
        ("gradients are added up", "gradient in gradients])) / self.count", "gradient in gradients]))"),
        ("the narrowest range wins", "dist.ReduceOp.MAX", "dist.ReduceOp.MIN"),
        ("running variances are biased", "variance * (count / (count - 1))", "variance"),
        ("uneven shares pass", "if batch_size % self.count:", "if False:"),
    ),
]

_QUANTIZATION = [
    *_of(
        "scales",
        "src/selectq/quantization/fake_quantize.py",
        "quantization/test_fake_quantize.py quantization/test_scales.py quantization/test_quantizers.py",
        (
            "weights have a level too many",
            "largest = 2 ** (_width(scheme) - 1) - 1",
            "largest = 2 ** (_width(scheme) - 1)",
        ),
        (
            "biases use all of int32",
            "BIAS_INTEGERS = IntegerRange(-(2**30), 2**30)",
            "BIAS_INTEGERS = IntegerRange(-(2**31), 2**31 - 1)",
        ),
        (
            "codes are rounded down",
            "torch.mul(x, scale.reciprocal()).round_()",
            "torch.mul(x, scale.reciprocal()).floor_()",
        ),
        ("saturated values keep their gradient", "ctx.integers.quant_max + 0.5)", "ctx.integers.quant_max * 2.0)"),
    ),
    *_of(
        "scales",
        "src/selectq/quantization/scales.py",
        "quantization/test_scales.py quantization/test_quantizers.py",
        ("a range without 0 stays without", "low, high = low.clamp(max=0), high.clamp(min=0)", "low, high = low, high"),
        (
            "a symmetric range covers one side",
            "width, steps = torch.maximum(-low, high), ",
            "width, steps = high.abs(), ",
        ),
        (
            "a zero point is rounded down",
            ".round().clamp(integers.quant_min, integers.quant_max)",
            ".floor().clamp(integers.quant_min, integers.quant_max)",
        ),
        (
            "a bias overflows its codes",
            "bias_magnitude / (input_scale * BIAS_INTEGERS.quant_max)",
            "bias_magnitude * 0",
        ),
        ("of biases of one tensor, the first alone fits", "reshape(scales, -1).amax(1)", "reshape(scales, -1)[:, 0]"),
        ("of biases of one tensor the mean fits", "reshape(scales, -1).amax(1)", "reshape(scales, -1).mean(1)"),
        ("sums meet rounding ties", "(2 * ((scale / unit - 1) / 2).ceil() + 1) * unit", "(scale / unit).ceil() * unit"),
        (
            "a dead channel's scale is 0",
            ".clamp(min=SMALLEST_SCALE)\n\n\ndef activation_scale",
            "\n\n\ndef activation_scale",
        ),
    ),
    *_of(
        "scales",
        "src/selectq/quantization/scale_assignment.py",
        "quantization/test_scale_assignment.py::test_scales_make_room_for_unequal_biases"
        " quantization/test_scale_assignment.py::test_no_weight_saturates_where_widths_differ",
        (
            "all at once, one scheme serves all layers",
            "mask in self._schemes[1:]:\n            chosen = torch.where(mask, covering_scale",
            "mask in self._schemes[:0]:\n            chosen = torch.where(mask, covering_scale",
        ),
    ),
    *_of(
        "ranges",
        "src/selectq/quantization/range_estimation.py",
        "quantization/test_range_estimation.py",
        (
            "ranges are those of the last batch",
            "torch.maximum(self.high, high)\n\n    def estimate",
            "high\n\n    def estimate",
        ),
        (
            "a percentile is cut at each end",
            "tail = (1 - self.config.percentile / 100) / 2",
            "tail = 1 - self.config.percentile / 100",
        ),
        ("histograms are of the last batch", "else self.counts + counts", "else counts"),
        ("the largest error wins", "if error < smallest:", "if error > smallest or smallest == float('inf'):"),
        ("errors are not weighed by their values' number", "- centres) ** 2 * shares)", "- centres) ** 2)"),
        (
            "mixed widths are estimated as one",
            "own = scheme.of(place.kind, place.name,",
            "own = scheme.of('all', 'all',",
        ),
    ),
    *_of(
        "quantization",
        "src/selectq/quantization/quantizers.py",
        "quantization/test_quantizers.py",
        (
            "a moving range leaves the activation's bounds",
            "torch.stack([*lows, *highs]).clamp(bounds.low, bounds.high)",
            "torch.stack([*lows, *highs])",
        ),
        ("ranges are watched in evaluation", "if self.training and self.observing:", "if self.observing:"),
        (
            "codes behind a ReLU lie below zero",
            "return IntegerRange(middle_code(self.scheme) if self.scheme.symmetric else 0, integers.quant_max)",
            "return integers",
        ),
    ),
    *_of(
        "quantization",
        "src/selectq/quantization/quantized.py",
        "quantization/test_quantized.py quantization/test_quantizers.py",
        ("mixed weight widths are one", "of(layer.kind, layer.name), layer", 'of("all", "all"), layer'),
        (
            "mixed activation widths are one",
            "= scheme.activations.of(site.kind, site.name,",
            '= scheme.activations.of("all", "all",',
        ),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/allocation.py",
        "selection/test_allocation.py",
        ("budgets are a little larger", "-np.inf, budget / unit)", "-np.inf, 1.1 * budget / unit)"),
        ("groups choose apart", "self._join(options, first, other)", "self._join(options, first, first)"),
        ("losses of pairs are never had", "self.variables[two]: -1.0}, -1, 1)", "self.variables[two]: -1.0}, -2, 1)"),
        ("gains are losses", "Option(RETRAINED, -row[score],", "Option(RETRAINED, row[score],"),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/sensitivity.py",
        "selection/test_sensitivity.py",
        ("output Fisher is without the gradient", "_squares(error * gradient)", "_squares(error)"),
        ("the Fisher information is not damped", "(fisher + damping)", "(fisher + 1e-12)"),
        ("a float layer changes nothing behind it", "if name not in behind[layer.name]}", "if name in outputs}"),
        ("a float layer rounds its output", "FloatActivation(layer.bounds)(layer.raw(", "layer.activation(layer.raw("),
        (
            "labels are those of the images",
            "torch.multinomial(logits.detach().softmax(1).cpu(), 1, generator=generator)",
            "logits.detach().argmax(1)",
        ),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/layers.py",
        "selection/test_sensitivity.py",
        ("gradients stop at the layer itself", "+ sum(macs[name] for name in behind[layer.name] if name in macs)", ""),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/retraining.py",
        "selection/test_retraining.py",
        (
            "a layer called as a kind is stands for the kind",
            'if module in (*LAYER_KINDS, "all") else [module]',
            "if not module else [module]",
        ),
        (
            "budgets are of the layers' weights alone",
            "for parameter in model.parameters())",
            "for parameter in model.parameters() if parameter.dim() > 1)",
        ),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/ladder.py",
        "deploy/test_ladder.py",
        (
            "a goal is met where it is not refuted",
            'goal.max_loss_points) == "holds"',
            'goal.max_loss_points) != "fails"',
        ),
        ("sets are trained one upon the other", "copy.deepcopy(start.network)", "start.network"),
        ("the worst learning rate is taken", "return min(losses,", "return max(losses,"),
        ("the largest budget comes first", "sorted(self.goal.budgets_pct)", "sorted(self.goal.budgets_pct)[::-1]"),
        (
            "more than the scope is retrained",
            "fp32.model, retraining.config.scope, fp32.graph)",
            'fp32.model, ["all"], fp32.graph)',
        ),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/trial.py",
        "deploy/test_ladder.py deploy/test_candidates.py",
        ("the ladder climbs by test images", "validation = self.dataset.validation", "validation = self.dataset.test"),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/plan.py",
        "deploy/test_ladder.py",
        (
            "images that are missing grow with the error",
            "(chosen.gap.points + asked)) ** 2",
            "(chosen.gap.points + asked)) ** 1",
        ),
    ),
    *_of(
        "layers chosen",
        "src/selectq/selection/widths.py",
        "selection/test_widths.py",
        ("weights of five bits are packed", "if bits <= PACKED_BITS", "if bits <= PACKED_BITS + 1"),
        (
            "the curve chooses by test images",
            "validation, test = self._dataset.validation",
            "validation, test = self._dataset.test",
        ),
        (
            "random choices save too much",
            "saved + savings[name] <= wanted * (1 + TOLERANCE)",
            "savings[name] <= wanted",
        ),
        (
            "written bits leave out a layer",
            "for name, width in bits.items() if width",
            "for name, width in list(bits.items())[1:] if width",
        ),
    ),
    *_of(
        "layers chosen",
        "src/selectq/config/configs.py",
        "config/test_configs.py",
        ("a kind goes before a module", "return bits[name] if name in modules_of(bits) else", "return"),
    ),
    *_of(
        "layers chosen",
        "src/selectq/quantization/scopes.py",
        "quantization/test_scopes.py",
        ("what shares a scale may have two widths", "if len(own) > 1:", "if len(own) > 2:"),
    ),
    *_of(
        "networks",
        "src/selectq/networks/layers.py",
        "quantization/test_folding.py",
        (
            "folding forgets epsilon",
            "/ torch.sqrt(variance.double() + norm.eps)",
            "/ torch.sqrt(variance.double())",
        ),
    ),
    *_of(
        "quantization",
        "src/selectq/quantization/folding.py",
        "quantization/test_folding.py",
        (
            "folding forgets the running mean",
            "norm.bias.double() - mean * factor",
            "norm.bias.double()",
        ),
    ),
    *_of(
        "quantization",
        "src/selectq/quantization/scopes.py",
        "quantization/test_scopes.py",
        ("features.1 takes in features.18", 'f"{name}.".startswith(f"{entry}.")', "name.startswith(entry)"),
        (
            "nothing is frozen",
            "parameter.requires_grad_(not names.isdisjoint(layer.sources[part]))",
            "parameter.requires_grad_(True)",
        ),
        (
            "a sum's range is frozen",
            "sources[-1] if isinstance(module.node.operation, Add) else module.node.inputs[0]",
            "module.node.inputs[0]",
        ),
    ),
    *_of(
        "quantization",
        "src/selectq/quantization/controls.py",
        "quantization/test_controls.py",
        ("a control may be the scope itself", ' and {f"{name}.weight" for name in chosen} != own', ""),
        ("controls ignore their seed", "random.Random(seed)", "random.Random(0)"),
    ),
    *_of(
        "range skew",
        "src/selectq/networks/layers.py",
        "networks/test_range_skew.py",
        ("a skew changes the function", "            self.norm.bias.mul_(factors)\n", ""),
    ),
    *_of(
        "range skew",
        "src/selectq/networks/range_skew.py",
        "networks/test_range_skew.py",
        ("skews ignore their seed", "torch.Generator().manual_seed(seed)", "torch.Generator().manual_seed(0)"),
    ),
]

_ALGORITHMS = [
    *_of(
        "PTQ algorithms",
        "src/selectq/ptq/batch_norm.py",
        "ptq/test_batch_norm.py",
        ("re-estimated variances are biased", "correction=min(1, values - 1))", "correction=0)"),
        (
            "a small last batch weighs as much as a full one",
            "self._sizes.append(len(inputs[0]))",
            "self._sizes.append(1)",
        ),
        ("constant channels take the new statistics", "torch.where(constant, running, new)", "new"),
        ("per tensor, variances are re-estimated too", 'scheme.granularity == "channel")', "True)"),
    ),
    *_of(
        "PTQ algorithms",
        "src/selectq/ptq/bias_correction.py",
        "ptq/test_bias_correction.py",
        ("biases are corrected the wrong way", "(wanted - mean.value())", "(mean.value() - wanted)"),
        ("a bias is corrected before it is rounded", "layer.bias.copy_(rounded + (", "layer.bias.copy_(layer.bias + ("),
        (
            "a mean is of batches, not of values",
            "values.mean(0, dtype=torch.double) * len(values)",
            "values.mean(0, dtype=torch.double)",
        ),
    ),
    *_of(
        "PTQ algorithms",
        "src/selectq/ptq/equalization.py",
        "ptq/test_equalization.py",
        ("no factor has a limit", "limited = (free > limits).any(0)", "limited = (free > 1e30).any(0)"),
        ("ranges are made equal to the first layer's", "common = ranges.log().mean(0).exp()", "common = ranges[0]"),
        (
            "a limited channel keeps its ranges",
            "torch.where(limited, _within(limits, free, ranges), free)",
            "torch.where(limited, 1.0, free)",
        ),
    ),
    *_of(
        "PTQ algorithms",
        "src/selectq/ptq/dead_channels.py",
        "ptq/test_dead_channels.py",
        ("a dead channel keeps its running mean", "        mean[dead] = 0\n", ""),
        ("channels that put out a constant are alive", " | (NORMAL_WIDTH * output_spread(norm) < one_step)", ""),
        ("nearly all channels are dead", "SMALLEST_SPREAD = 2.0**-8", "SMALLEST_SPREAD = 1.0"),
    ),
    *_of(
        "PTQ algorithms",
        "src/selectq/ptq/pipeline.py",
        "ptq/test_ptq_pipeline.py",
        (
            "images of the algorithms are another seed's",
            "images = calibration_images(dataset, config.calibration, seed)",
            "images = calibration_images(dataset, config.calibration, seed + 1)",
        ),
        (
            "biases are corrected towards the network of the re-estimated statistics",
            "state.model = copy.deepcopy(state.reference)",
            "state.model = state.reference",
        ),
    ),
]

_MODELS = [
    *_of(
        "networks",
        "src/selectq/networks/build.py",
        "networks/test_build_network.py",
        (
            "torchvision's arguments are its own",
            "weights=None, num_classes=classes, **arguments)",
            "weights=None, num_classes=classes)",
        ),
        ("ReLU6 stays", 'if config.activation == "relu":', "if False:"),
    ),
    *_of(
        "networks",
        "src/selectq/networks/strides.py",
        "networks/test_strides.py",
        ("a shortcut counts as a layer of its own", "setdefault(output.shape[-2], [])", "setdefault(len(found), [])"),
        ("the last strides go first", "layers[:count]", "layers[-count:]"),
    ),
    *_of(
        "networks",
        "src/selectq/networks/weights.py",
        "networks/test_trained_checkpoints.py",
        (
            "another network is taken for another number of classes",
            "if differences and differences.keys() <= set(of_classes):",
            "if differences:",
        ),
    ),
    *_of(
        "stages",
        "src/selectq/stage.py",
        "test_stage.py",
        ("all processes of a training write", 'os.environ.get("RANK", "0") == "0"', "True"),
        ("no stage keeps others from its output", "if writes and first else", "if not writes else"),
        ("any name is taken", "    if names:\n", "    if not names:\n"),
    ),
    *_of(
        "networks",
        "src/selectq/networks/own_files.py",
        "networks/test_weights.py",
        ("own weights are of any hash", 'Checksum("sha256", digest)', 'Checksum("sha256", "")'),
    ),
]

_MEASUREMENTS = [
    *_of(
        "parity",
        "src/selectq/parity/compare.py",
        "parity/test_compare.py",
        (
            "only larger logits differ",
            "np.abs(logits[one] - logits[other]).max(1)",
            "(logits[one] - logits[other]).max(1)",
        ),
        (
            "only differences in all logits count",
            "np.abs(logits[one] - logits[other]).max(1)",
            "np.abs(logits[one] - logits[other]).min(1)",
        ),
        ("only steps upwards count", "site.activation.scale).abs().round()", "site.activation.scale).round()"),
        (
            "only the last batch's steps count",
            "self.largest = max(self.largest, int(steps.max()))",
            "self.largest = int(steps.max())",
        ),
        (
            "only the last batch's differing values count",
            "self.differing += int((steps > 0).sum())",
            "self.differing = int((steps > 0).sum())",
        ),
        (
            "an incomplete batch is left out",
            "for start in range(0, len(pixels), BATCH)]",
            "for start in range(0, len(pixels) - BATCH + 1, BATCH)]",
        ),
    ),
    *_of(
        "parity",
        "src/selectq/parity/gate.py",
        "parity/test_gate.py",
        (
            "the best layer is held to the tolerance",
            'layers.sort_values("steps").to_dict("records")[-1]',
            'layers.sort_values("steps").to_dict("records")[0]',
        ),
        (
            "the best pair is held to the tolerance",
            'pairs.sort_values("flipped_pct").to_dict("records")[-1]',
            'pairs.sort_values("flipped_pct").to_dict("records")[0]',
        ),
        (
            "a step that is allowed is refused",
            'if layer["steps"] > tolerance.layer_steps:',
            'if layer["steps"] >= tolerance.layer_steps:',
        ),
    ),
    *_of(
        "confusion",
        "src/selectq/confusion.py",
        "cli/test_confusion.py parity/test_confusion_metrics.py",
        (
            "true and predicted classes change places",
            "np.bincount(classes * true + predicted",
            "np.bincount(classes * predicted + true",
        ),
    ),
    *_of(
        "drift",
        "src/selectq/analysis/drift.py",
        "analysis/test_drift.py",
        (
            "drift is a share of squares",
            "(self.difference / self.reference) ** 0.5",
            "(self.difference / self.reference)",
        ),
        (
            "drift leaves out what does not fill 64 values",
            "(sums + torch.linalg.vector_norm(values[whole:]).double().square()).item()",
            "sums.item()",
        ),
    ),
    *_of(
        "drift",
        "src/selectq/analysis/error_decomposition.py",
        "analysis/test_error_decomposition.py",
        (
            "where only a bias changed, nothing did",
            "return all(torch.equal(*pair) for pair in pairs)",
            "return any(torch.equal(*pair) for pair in pairs)",
        ),
        (
            "clipping ends at level 0",
            "((code - quantizer.zero_point) * quantizer.scale for code",
            "(code * quantizer.scale for code",
        ),
    ),
    *_of(
        "audit",
        "src/selectq/analysis/audit.py",
        "analysis/test_audit_measure.py",
        (
            "the audit calibrates on test images",
            "flawed(sound_setup(model, graph, dataset.train,",
            "flawed(sound_setup(model, graph, dataset.test,",
        ),
        (
            "the audit's images are of few classes",
            "spread = torch.arange(count) * len(split) // count",
            "spread = torch.arange(count)",
        ),
    ),
]

_STATISTICS = [
    *_of(
        "statistics",
        "src/selectq/statistics/paired.py",
        "statistics/test_paired.py",
        ("Holm's correction is Bonferroni's", "np.arange(len(given), 0, -1)", "len(given)"),
        (
            "Holm's corrected values cross",
            "np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))",
            "(given[order] * np.arange(len(given), 0, -1))",
        ),
        ("Holm's correction exceeds 1", ".clip(max=1)", ""),
        (
            "McNemar's test is one-sided",
            "binomtest(pair.only_config_right, differing, 0.5)",
            'binomtest(pair.only_config_right, differing, 0.5, "less")',
        ),
        (
            "the score's interval is one-sided",
            "bound = float(norm.isf((1 - confidence) / 2))",
            "bound = float(norm.isf(1 - confidence))",
        ),
        (
            "the score's variance is that of other counts",
            "variance = images * (2 * share + difference * (1 - difference))",
            "variance = images * (2 * share + difference)",
        ),
    ),
    *_of(
        "statistics",
        "src/selectq/statistics/seeds.py",
        "statistics/test_seeds.py",
        ("the spread over seeds is biased", "ddof=1", "ddof=0"),
        ("Student's degrees of freedom are the seeds", "len(values) - 1) * spread", "len(values)) * spread"),
    ),
    *_of(
        "statistics",
        "src/selectq/intervals.py",
        "test_intervals.py",
        ("Wilson's interval is the exact one", 'method="wilson"', 'method="exact"'),
    ),
    *_of(
        "verdicts",
        "src/selectq/statistics/verdicts.py",
        "statistics/test_verdicts.py",
        (
            "a lead needs no margin",
            'return margin if relation == "is ahead" else -margin',
            'return 0.0 if relation == "is ahead" else -margin',
        ),
        (
            "keeping up forgives nothing",
            'return margin if relation == "is ahead" else -margin',
            'return margin if relation == "is ahead" else 0.0',
        ),
        (
            "a verdict is the point's, not the interval's",
            "above, below = gap.low > bound, gap.high < bound",
            "above, below = gap.points > bound, gap.points < bound",
        ),
        ("falling short is keeping up", "        above, below = below, above\n", "        pass\n"),
        ("the dearest configuration is recommended", "return min(kept, key=", "return max(kept, key="),
        (
            "what does not keep up is recommended",
            'if judge(one.gap, "keeps up", margin) == "holds"]',
            'if judge(one.gap, "keeps up", margin) != "fails"]',
        ),
        (
            "training is as cheap as none",
            "return self.retrained_pct > 0, self.algorithms,",
            "return False, self.algorithms,",
        ),
        (
            "of several verdicts the best counts",
            "return min(verdicts, key=worst_first.index)",
            "return max(verdicts, key=worst_first.index)",
        ),
    ),
    *_of(
        "verdicts",
        "src/selectq/statistics/gaps.py",
        "statistics/test_gaps.py",
        (
            "an interval over seeds leaves out the images",
            "return math.hypot(float(norm.isf(doubt / 2)) * image_error, of_seeds)",
            "return of_seeds or float(norm.isf(doubt / 2)) * image_error",
        ),
        ("two seeds are enough", "ENOUGH_SEEDS = 3", "ENOUGH_SEEDS = 2"),
        (
            "a gap over seeds is that of one",
            'points, reach = seeds[f"{prefix}gap_points"], _reach(',
            'points, reach = images["gap_points"], _reach(',
        ),
        ("intervals over images are read as standard errors", " / 2 / float(norm.isf(doubt / 2))", " / 2"),
    ),
    *_of(
        "statistics",
        "src/selectq/statistics/comparisons.py",
        "statistics/test_comparisons.py",
        (
            "Holm's family is all rows",
            'table.groupby("reference")["mcnemar_p"].transform(lambda family: holm(family.to_list()))',
            'holm(table["mcnemar_p"].to_list())',
        ),
        (
            "pairs over seeds are of different seeds",
            "{each: further[seed] for each, further in learned.items()}",
            "{each: next(iter(further.values())) for each, further in learned.items()}",
        ),
    ),
    *_of(
        "statistics",
        "stages/compare.py",
        "statistics/test_compare_stage.py",
        (
            "predictions are held to the validation labels",
            "read_dataset(IMAGES).test.labels",
            "read_dataset(IMAGES).validation.labels",
        ),
    ),
]

_DATA = [
    *_of(
        "data",
        "src/selectq/data/split.py",
        "data/test_split.py data/test_sources.py",
        ("the split ignores its seed", 'f"{seed}:".encode()', 'b"0:"'),
        (
            "a class may have no validation image",
            "min(max(count * size // total, 1), size - 1)",
            "min(count * size // total, size - 1)",
        ),
        ("validation images stay among the training images", "kept += shuffled[quota:]", "kept += shuffled"),
    ),
    *_of(
        "data",
        "src/selectq/data/packed.py",
        "data/test_packed.py",
        (
            "samples ignore their seed",
            "torch.Generator().manual_seed(seed))[:count]",
            "torch.Generator().manual_seed(0))[:count]",
        ),
        (
            "a sample repeats images",
            "chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count]",
            "chosen = torch.randint(len(self), (count,), generator=torch.Generator().manual_seed(seed))",
        ),
    ),
    *_of(
        "data",
        "src/selectq/data/evenly.py",
        "data/test_evenly.py",
        ("more images are taken than asked for", "max(1, -(-total // count))", "max(1, total // count)"),
    ),
    *_of(
        "data",
        "src/selectq/data/fetch.py",
        "data/test_fetch.py",
        ("a hash is not compared", "if not found.startswith(checksum.hexdigest.lower()):", "if False:"),
        (
            "downloads are used without a hash",
            "for folder in [*folders, DOWNLOADS] if checksum else folders:",
            "for folder in [*folders, DOWNLOADS]:",
        ),
    ),
    *_of(
        "data",
        "src/selectq/data/archives.py",
        "data/test_archives.py",
        ("paths may lead upwards", ' or ".." in path.parts', ""),
        ("a cut tar passes", "if length < tarfile.BLOCKSIZE:", "if False:"),
        ("an archive unpacks without limit", "if self._total_bytes > self.limits.total_bytes:", "if False:"),
    ),
    *_of(
        "data",
        "src/selectq/data/decoding.py",
        "data/test_decoding.py",
        ("images lie as they were stored", "        ImageOps.exif_transpose(image, in_place=True)\n", ""),
        (
            "deep channels are cut off",
            """        if image.mode.startswith(("I", "F")) or ";16" in str(image.tile):\n            return None\n""",
            "",
        ),
        ("damaged JPEGs pass", "    if damage:\n", "    if False:\n"),
    ),
    *_of(
        "data",
        "src/selectq/data/cifar10.py",
        "data/test_cifar10.py",
        (
            "a batch may build any object",
            'raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None',
            "return super().find_class(module, name)",
        ),
    ),
]

_PARAMETERS = [
    *_of(
        "parameters",
        "src/selectq/config/fields.py",
        "config/test_fields.py config/test_configs.py",
        (
            "the ends of a range are refused",
            "if not bounds.low <= value <= bounds.high:",
            "if not bounds.low < value < bounds.high:",
        ),
        ("unknown keys pass", "            if name not in _names(cls):\n", "            if False:\n"),
    ),
    *_of(
        "parameters",
        "src/selectq/config/load.py",
        "config/test_load.py",
        ("a key may be written twice", "                if key in seen:\n", "                if False:\n"),
        ("null removes nothing", "            merged[key] = _REMOVED\n", "            merged[key] = merged[key]\n"),
    ),
    *_of(
        "parameters",
        "src/selectq/config/configs.py",
        "config/test_configs.py",
        ("a study without ONNX passes", 'if "onnx" not in self.formats or ', "if "),
        (
            "the pipeline's own seed is repeated",
            "if len({self.seed, *self.repeat.seeds}) != 1 + len(",
            "if len({*self.repeat.seeds}) != len(",
        ),
        (
            "a configuration that is not converted passes",
            '            if name not in self.convert:\n                raise UserError(f"convert: {name} is missing',
            '            if False:\n                raise UserError(f"convert: {name} is missing',
        ),
    ),
]

_FILES = [
    *_of(
        "files",
        "src/selectq/files.py",
        "test_files.py",
        ("a failed write leaves its rest", "        partial.unlink(missing_ok=True)\n", "        pass\n"),
        ("two may write at once", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"),
        ("nan is written as JSON", "sort_keys=True, allow_nan=False)", "sort_keys=True)"),
    ),
    *_of(
        "files",
        "src/selectq/stage.py",
        "test_stage.py",
        (
            "a user's mistake ends with status 1",
            "file=sys.stderr)\n    sys.exit(2)",
            "file=sys.stderr)\n    sys.exit(1)",
        ),
        ("a full disk is a traceback", "(errno.ENOSPC, errno.EACCES", "(errno.EACCES"),
    ),
]

_GRAPH = [
    *_of(
        "graph",
        "src/selectq/graph/kinds.py",
        "graph/test_capture.py::test_kinds_are_told_from_the_graph"
        " graph/test_capture.py::test_a_users_network_is_captured",
        (
            "what feeds no sum is no projection",
            '"projection" if meets_sum or (linear and _reads_depthwise(graph, node)) else',
            '"projection" if meets_sum else',
        ),
        (
            "one of several readers makes an expansion",
            "readers and all(isinstance(each.operation, Conv)",
            "readers and any(isinstance(each.operation, Conv)",
        ),
        (
            "behind an activation that is looked up, nothing is expanded",
            "readers = graph.real_readers(_activated(graph, node))\n    if readers",
            "readers = graph.real_readers(node.name)\n    if readers",
        ),
        (
            "every layer behind the pooled average is a gate",
            "    return _leads_to_product(graph, node)\n",
            "    return True\n",
        ),
    ),
    *_of(
        "graph",
        "src/selectq/graph/capture.py",
        "graph/test_capture.py",
        ("a network's halves are exchanged", "= self._splits[split][index]", "= self._splits[split][-1 - index]"),
        (
            "a channel is lost between two slices",
            "[(start, start + width) for",
            "[(start, start + width - (start > 0)) for",
        ),
        ("a clamp changes what others read, too", "        return self._count[read] == 1\n", "        return True\n"),
        (
            "a second batch norm takes the place of the first",
            "            or source.operation.norm\n",
            "",
        ),
    ),
    *_of(
        "graph",
        "src/selectq/graph/nodes.py",
        "graph/test_capture.py quantization/test_scale_assignment.py::test_concatenated_tensors_share_a_scale",
        (
            "a concatenation is of its first tensor alone",
            "for source in node.inputs for origin in self.origins(source)",
            "for source in node.inputs[:1] for origin in self.origins(source)",
        ),
        (
            "what reads a moved value reads nothing",
            "self.real_readers(reader.name) if isinstance(reader.operation, MOVES) else [reader]",
            "[] if isinstance(reader.operation, MOVES) else [reader]",
        ),
    ),
    *_of(
        "graph",
        "src/selectq/graph/chains.py",
        "graph/test_chains.py",
        ("a chain goes through ReLU6", "if not layer.bounds.keeps_scaling or layer", "if layer"),
        (
            "what others read is rescaled",
            "while len(graph.readers[node.name]) == 1:",
            "while graph.readers[node.name]:",
        ),
        ("a layer that is called twice is rescaled", " and calls[_module(layer)] == 1 == calls[_module(after)]", ""),
    ),
]

_SCALES = [
    *_of(
        "scales of a graph",
        "src/selectq/quantization/scale_groups.py",
        "quantization/test_scale_assignment.py",
        (
            "a sum's second summand is in no group",
            "*(origin for source in node.inputs for origin in graph.origins(source))])",
            "*(origin for source in node.inputs[:1] for origin in graph.origins(source))])",
        ),
        ("concatenated tensors have scales of their own", "joined.join(graph.origins(node.name))", "pass"),
        ("what is concatenated with a summand is in no group", "joined.join_if_joined(group)", "pass"),
        (
            "functions that meet are read at scales of their own",
            "        _join_inputs_of_lookups(graph, joined, group)\n",
            "        pass\n",
        ),
    ),
    *_of(
        "scales of a graph",
        "src/selectq/quantization/scale_assignment.py",
        "quantization/test_scale_assignment.py quantization/test_lookup_scales.py",
        (
            "a shared scale is of one tensor's range",
            '"amax", include_self=False)[group_of]',
            '"amin", include_self=False)[group_of]',
        ),
        (
            "3 is no whole number of a hard-swish's steps",
            "return whole_share(scale, -HARD_SWISH_INPUT.low, self._steps_below_zero(site))",
            "return scale",
        ),
        (
            "a hard-swish's zero point is of the range that was seen",
            "torch.where(self._below_zero, HARD_SWISH_INPUT.low, self._lows)",
            "self._lows",
        ),
        ("an average's step is that of its input", "return read[0] / site.area", "return read[0]"),
        ("a product's step is that of its input", "return read[0] * site.gate.scale", "return read[0]"),
        ("a sum with a product has any unit", "return step * 2.0 ** round(math.log2(unit / step))", "return unit"),
        (
            "a sum's scale may be an even multiple",
            "any(isinstance(self._network[name], AddNode) for",
            "any(False for",
        ),
        (
            "a stored sigmoid may meet ties",
            "if is_near_tie(FUNCTIONS[site.function](CODES * read) / scale):",
            "if False:",
        ),
        (
            "a gate may meet ties",
            "return any(is_near_tie(FUNCTIONS[gate](codes * scale)",
            "return any(False and is_near_tie(FUNCTIONS[gate](codes * scale)",
        ),
    ),
    *_of(
        "scales of a graph",
        "src/selectq/quantization/scales.py",
        "quantization/test_scale_assignment.py::test_whole_share_is_prime_to_the_gate",
        ("a hard-swish's gate meets ties", "while math.gcd(steps, 255) > 1:", "while False:"),
    ),
    *_of(
        "scales of a graph",
        "src/selectq/quantization/folding.py",
        "graph/test_capture.py",
        (
            "a hard-sigmoid forgets its 1/2",
            "layer.bias.mul_(GATE_SLOPE).add_(GATE_SHIFT)",
            "layer.bias.mul_(GATE_SLOPE)",
        ),
    ),
]

_PROGRAMS = [
    *_of(
        "export",
        "src/selectq/export/reference.py",
        "export/test_reference.py",
        ("codes below a ReLU are exported", "if self.integers != UINT8:", "if False:"),
        (
            "exported biases have the weights' scale",
            "self.bias = _dequantize(bias_scale)",
            "self.bias = _dequantize(weight_scale)",
        ),
    ),
    *_of(
        "export",
        "src/selectq/export/onnx_graph.py",
        "export/test_onnx_program.py",
        ("4-bit weights are stored as 8", "> INT4_BITS:", ">= INT4_BITS:"),
        (
            "weights share their zero points",
            'self._tensor(f"{weight}.zero_point", np.zeros_like(scales, np.int8))',
            "self._constant(np.zeros_like(scales), np.int8)",
        ),
    ),
    *_of(
        "export",
        "src/selectq/export/onnx_graph.py",
        "export/test_networks.py export/test_onnx_program.py",
        ("codes are never clipped", "if stored.integers == UINT8:\n", "if True:\n"),
        ("maxima end where whole windows do", '"ceil_mode": int(ceil_mode)}', '"ceil_mode": 0}'),
        ("weights stay in the order that is read", "codes = codes[:, list(order)]", "codes = codes[:]"),
        (
            "a hard-sigmoid is read without its 1/2",
            "zero_point = stored.zero_point - round(shift)",
            "zero_point = stored.zero_point",
        ),
        ("a hard-sigmoid's 1/2 is rounded", "abs(shift - round(shift)) > 1e-4 or not", "not"),
        ("averages overlap", "kernel_shape=pool.kernel, strides=pool.stride)", "kernel_shape=pool.kernel)"),
    ),
    *_of(
        "export",
        "src/selectq/export/channels.py",
        "export/test_channels.py",
        (
            "every slice begins at the first channel",
            "return self._of[node.inputs[0]][start:stop]",
            "return self._of[node.inputs[0]][: stop - start]",
        ),
        (
            "channels are shuffled backwards",
            "read[place % groups * (count // groups) + place // groups]",
            "read[place % (count // groups) * groups + place // (count // groups)]",
        ),
    ),
    *_of(
        "export",
        "src/selectq/export/reference.py",
        "export/test_networks.py",
        (
            "a gate has a zero point",
            "QuantizeDequantize(site.gate.scale, 0, UINT8)",
            "QuantizeDequantize(site.gate.scale, 1, UINT8)",
        ),
    ),
    *_of(
        "export",
        "src/selectq/export/describe.py",
        "export/test_formats.py::test_description_is_complete",
        ("a description counts one scale", "weight_scales=len(quantizer.scale)", "weight_scales=1"),
    ),
    *_of(
        "programs",
        "src/selectq/export/pt2_archive.py",
        "programs/test_torch_archive.py",
        ("a pickled weight passes", 'payload["use_pickle"] is not False or not', "not"),
        ("any operator passes", 'if key == "target" and value not in OPERATORS:', "if False:"),
    ),
    *_of(
        "programs",
        "src/selectq/export/onnx.py",
        "programs/test_sizes.py",
        (
            "4-bit weights are counted as graph",
            "codes.add(stored_as.get(node.input[0], node.input[0]))",
            "codes.add(node.input[0])",
        ),
    ),
    *_of(
        "kernels",
        "src/selectq/kernels/quantized_step.py",
        "kernels/test_quantized_step.py",
        (
            "kernels keep old parameters",
            "if any(written) or self._may_have_learnt(layer):",
            "if any(written):",
        ),
        (
            "kernels keep the weights' scales",
            "self._was_written(layer), self._was_written(weight_quantizer_of(layer))",
            "(self._was_written(layer),)",
        ),
        (
            "kernels keep the scales of what is stored",
            "if self._was_written(quantizer_of(site))}",
            "if not self._stored}",
        ),
        (
            "kernels keep old tables of functions",
            "if lookup in moved or read in moved)",
            "if lookup not in self._tables)",
        ),
        ("values without codes are looked up", "self._tables if given.keys() == {PIXELS} else {}", "self._tables"),
    ),
    *_of(
        "team",
        "src/selectq/team/merge_lock.py",
        "team/test_merge_lock.py",
        ("a merge keeps our side of a dispute", "if left != right and before not in (left, right):", "if False:"),
    ),
    *_of(
        "team",
        "src/selectq/team/servable_lock.py",
        "team/test_servable_lock.py",
        ("a lock keeps stages half of whose outputs are lost", "if all(map(can_be_had,", "if any(map(can_be_had,"),
    ),
]

MUTANTS = [
    *_SELECTION,
    *_AUGMENTATION,
    *_TRAINING,
    *_QUANTIZATION,
    *_ALGORITHMS,
    *_MODELS,
    *_GRAPH,
    *_SCALES,
    *_MEASUREMENTS,
    *_STATISTICS,
    *_DATA,
    *_PARAMETERS,
    *_FILES,
    *_PROGRAMS,
]
