"""Convert a quantized network to integer programs, measure them, and hold all backends to the same predictions."""

from _src import stage

from pathlib import Path

import torch

from selectq.config.configs import Params
from selectq.confusion import Confusion, count_confusion
from selectq.data.counts import load_checked_params
from selectq.data.device import choose_device
from selectq.data.evenly import evenly
from selectq.data.packed import read_dataset
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.files import only_writer, write_csv, write_json, write_tensors
from selectq.parity.backends import program_backends, reference_backend, simulation_backend
from selectq.parity.compare import all_logits, compare_layers, compare_pairs
from selectq.parity.evidence import SHIPPED, confusion_metrics, parity_metrics, program_metrics
from selectq.parity.gate import hold_to_tolerance
from selectq.quantization.quantized import read_quantized

IMAGES = Path("data/images.safetensors")


@stage(load_checked_params, names="convert")
def main(params: Params, name: str) -> None:
    folder, metrics = Path(f"models/int8/{name}"), Path(f"metrics/int8/{name}.json")
    choose_device()  # for its side effect: freed memory is kept, and passes over the images are faster
    with only_writer(metrics):
        dataset = read_dataset(IMAGES)
        test, classes = dataset.test, dataset.classes
        checkpoint = read_quantized(Path(f"models/quantized/{name}.safetensors"))
        reference = to_reference(checkpoint.network)
        manifest = describe_program(checkpoint, test.images.shape[-1], params.export.input, params.export.layout)
        for ending in params.formats:
            write_program(folder / f"{name}.{ending}", reference, manifest)
        programs = program_backends(folder, name, params.formats, reference)
        backends = [simulation_backend(checkpoint.network), reference_backend(reference), *programs]

        pixels, labels = test.images.numpy(), test.labels.numpy()
        shipped = all_logits(next(each for each in backends if each.name == SHIPPED), pixels, name)
        counts = count_confusion(labels, shipped.argmax(1), len(classes))
        compared = evenly(len(test), params.parity.images)
        others = {each.name: all_logits(each, pixels[compared], name) for each in backends if each.name != SHIPPED}
        pairs = compare_pairs(name, others | {SHIPPED: shipped[compared]}, labels[compared])
        layers = compare_layers(name, reference, backends, pixels[evenly(len(test), params.parity.layer_images)])

        predictions = {"logits": torch.from_numpy(shipped)}
        write_tensors(Path(f"models/logits/{name}.safetensors"), predictions, {"config": name, "split": "test"})
        write_csv(Path(f"metrics/parity/{name}.csv"), pairs)
        write_csv(Path(f"metrics/parity/{name}.layers.csv"), layers)
        write_json(Path(f"metrics/parity/{name}.json"), parity_metrics(pairs, layers))
        write_csv(Path(f"metrics/int8/{name}.confusion.csv"), confusion_metrics(name, Confusion(classes, counts)))
        write_json(metrics, program_metrics(folder, checkpoint.scheme, shipped, labels))
        hold_to_tolerance(name, pairs, layers, params.parity)
        flipped, steps = pairs["flipped_pct"].max(), layers["steps"].max()
        print(f"{name}: {len(backends)} backends, at most {flipped:.2f} % of predictions flipped, {steps} steps")
