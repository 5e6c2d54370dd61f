"""Convert a quantized network to an integer ONNX program; measure that program on the test images."""

import argparse
from pathlib import Path

import torch

import _src  # noqa: F401
from selectq.data.packed import read_dataset
from selectq.export.onnx_program import write_onnx
from selectq.export.reference import to_reference
from selectq.export.runtime import open_session, operator_counts, program_logits
from selectq.files import only_writer, write_json, write_tensors
from selectq.params.load import choose, load_params
from selectq.quantization.quantized import describe, read_quantized
from selectq.stage import run
from selectq.training.evaluate import predict_logits, top1

IMAGES = Path("data/images.safetensors")


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="a configuration listed under convert in params.yaml")
    name: str = parser.parse_args().name
    params = load_params()
    choose(dict.fromkeys(params.convert), name, "convert")
    program = Path(f"models/int8/{name}.onnx")
    with only_writer(program):
        test = read_dataset(IMAGES).test
        checkpoint = read_quantized(Path(f"models/quantized/{name}.safetensors"))
        reference = to_reference(checkpoint.network)
        write_onnx(program, reference, test.images.shape[-1], describe(checkpoint))

        logits = torch.from_numpy(program_logits(open_session(program), test.images.numpy(), f"{name} program"))
        simulated = predict_logits(checkpoint.network, test.images, f"{name} simulation")
        flipped = (logits.argmax(1) != simulated.argmax(1)).double().mean().item()
        write_tensors(Path(f"models/logits/{name}.safetensors"), {"logits": logits}, {"config": name, "split": "test"})
        accuracy = top1(logits, test.labels)
        write_json(
            Path(f"metrics/int8/{name}.json"),
            {
                "test_top1": round(accuracy, 4),
                "size_bytes": program.stat().st_size,
                "simulation_test_top1": round(top1(simulated, test.labels), 4),
                "flipped_pct": round(100 * flipped, 4),
                "operators": operator_counts(program),
            },
        )
        print(f"{name}: INT8 program, {program.stat().st_size / 1e6:.2f} MB, top-1 {accuracy:.2f} % on the test images")


if __name__ == "__main__":
    run(main)
