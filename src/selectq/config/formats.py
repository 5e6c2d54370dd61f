"""The formats of program files, by their endings; each is a `selectq.programs.format.Format`."""

from typing import Any

from selectq.config.plugins import Plugins

FORMATS = Plugins[Any](
    "formats", "format", "selectq.formats", {ending: f"selectq.export.{ending}" for ending in ("onnx", "pt2", "pte")}
)
