"""Write the model card of one shipped model."""

from _src import stage

from pathlib import Path

from selectq.config.configs import Params
from selectq.config.load import load_params
from selectq.files import only_writer, write_bytes
from selectq.programs.program import open_program
from selectq.report.card import Card, render_card
from selectq.report.evidence import read_program_evidence
from selectq.report.latency import Workload, read_latencies
from selectq.report.model_files import find_files
from selectq.report.recipe import Recipe

METRICS = Path("metrics")
PROGRAMS = Path("models/int8")
LATENCIES = Path("benchmarks/results")


@stage(load_params, names="ship")
def main(params: Params, name: str) -> None:
    path = Path(f"results/cards/{name}.md")
    with only_writer(path):
        recipe = Recipe(
            seed=params.seed,
            further_seeds=params.repeat.seeds if name in params.repeat.names else (),
            range_skew=params.range_skew,
            data=params.data,
            model=params.model,
            finetune=params.finetune,
            config={**params.ptq, **params.qat}[name],
            qat_training=params.qat_training,
        )
        evidence = read_program_evidence(METRICS, name)
        files = find_files(PROGRAMS / name, name, evidence.int8.sizes)
        manifest = open_program(PROGRAMS / name / f"{name}.onnx").manifest
        workload = Workload.of(params.model, manifest.image_size, recipe.activation_scheme)
        latencies = read_latencies(LATENCIES, workload)
        compared = min(params.parity.images, evidence.int8.test_images)
        card = Card(manifest, files, recipe, evidence, compared, tuple(latencies))
        write_bytes(path, render_card(card).encode())
        print(f"wrote {path}")
