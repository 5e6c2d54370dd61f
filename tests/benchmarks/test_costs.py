"""The stages whose memory is measured run on as many images as there are."""

from pathlib import Path

import pytest
from costs import IMAGES, prepare

from selectq.config.load import load_params
from selectq.data.counts import check_counts
from selectq.data.packed import SPLITS


@pytest.mark.parametrize("images", [32, IMAGES])
def test_no_parameter_asks_for_more_images_than_a_split_holds(
    images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, images)
    monkeypatch.chdir(tmp_path)
    check_counts(load_params(), dict.fromkeys(SPLITS, images))
