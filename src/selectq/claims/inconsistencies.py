"""Figures of the paper that contradict each other or its method, and the definition that gives each."""

from selectq.claims.settings import Measured
from selectq.tables.cells import Column, Sheet
from selectq.tables.paper import read_paper


def inconsistencies_sheet(controls: Measured) -> Sheet:
    """Counts are those of a run with these sets of layers; differences are the paper's own accuracies, subtracted."""
    counts = controls.table1.set_index("config")["params_retrained"]
    printed = {figures.method: figures for figures in read_paper().quantized.values()}
    minus = {method: f"{figures.fp32_top1} - {figures.int8_top1}" for method, figures in printed.items()}
    loss = {method: -figures.gap_points for method, figures in printed.items() if figures.gap_points is not None}

    def share(config: str) -> str:
        return f"{counts[config]:,} of {counts['full']:,} parameters, {100 * counts[config] / counts['full']:.2f} %"

    rows = (
        (
            "43.6 % retrained (section 1)",
            f"{share('proj')}: projections and classifier, no depthwise layers",
        ),
        (
            "46.5 % retrained (Table 1)",
            f"{share('dwpw')}: convolutions' weights and classifier, no batch norms",
        ),
        ('3.4 % retrained, "depthwise layers alone"', f"{share('dw')}: with the classifier"),
        ("0.6 % retrained, the classifier", share("clf")),
        (
            'depthwise and "pointwise expansion" (section 1)',
            f"depthwise and projection (section 4); with expansions {share('dwexp')}",
        ),
        ("92.55 % for depthwise and 1x1 (section 1)", "92.29 % in Table 2 and section 4"),
        (
            "-2.46 to FP32, asymmetric configuration (Table 2)",
            f"{minus['Asymmetric DW + 1×1 Down QAT']} is {loss['Asymmetric DW + 1×1 Down QAT']:.2f}",
        ),
        (
            "-2.82 to FP32 for depthwise and 1x1 (Table 2)",
            f"{minus['Depthwise + 1×1 Down QAT']} is {loss['Depthwise + 1×1 Down QAT']:.2f}",
        ),
        (
            '-27.62 "per tensor" in the text',
            f"{minus['PTQ (Per-Channel)']}, the one per channel; per tensor it is {loss['PTQ (Per-Tensor)']:.2f}",
        ),
        (
            "19 inverted residual blocks (Figure 2)",
            f"{controls.block_drift['index'].nunique() - 2}: 19 parts, the stem and the last convolution among them",
        ),
        ("ReLU6 (section 1) and ReLU (appendix B)", "torchvision's quantizable network, which is used, has ReLU"),
    )
    columns = (Column("The paper", "text"), Column("What it comes to", "text"))
    return Sheet("Figures that do not agree", columns, rows, ())
