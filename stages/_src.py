"""Comes first in every stage script: the package beside the script is what runs, and starting takes half the time."""

import gc
import importlib
import sys
import types
from pathlib import Path
from typing import Any


class _LoadedWhenAsked(types.ModuleType):
    """Stands for a module until more is asked of it than is known."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        return getattr(importlib.import_module(self.__name__), name)


# All that torchvision asks of torch's compiler is this, for operators that no stage uses; loading it takes seconds.
compiler = _LoadedWhenAsked("torch._dynamo.utils")
compiler.is_compile_supported = lambda _: False  # type: ignore[attr-defined]
sys.modules[compiler.__name__] = compiler

gc.disable()  # nothing that importing makes is garbage; `selectq.stage.run` has the collector back
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from selectq.stage import refuse_unless_it_may_run, stage  # noqa: E402

refuse_unless_it_may_run()  # before torch is loaded

__all__ = ["stage"]
