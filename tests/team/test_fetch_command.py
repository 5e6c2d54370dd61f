"""What `selectq fetch` refuses, before it asks anybody; see test_share.py for what it brings."""

from pathlib import Path

from people import message
from small_checkout import write_checkout
from trivial_pipeline import Repository


def test_bad_parameters_are_refused_before_anything_is_looked_for(tmp_path: Path) -> None:
    write_checkout(tmp_path, {"dvc.yaml": "stages: {}\n", "profiles/some.yaml": ""})
    checkout = Repository(tmp_path)
    checkout.write("params.yaml", checkout.read("params.yaml") + "drfit: {images: 5}\n")
    assert message(checkout, "fetch").startswith("error: params.yaml: drfit: unknown key; allowed: ")
