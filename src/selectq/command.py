"""A function as a command: its parameters are the arguments, and its docstring says what each is.

A parameter that is given by keyword alone is an option. In the docstring's `Args`, brackets hold what the usage calls a
value: `top (K): name the K most probable classes`.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

CHECKOUT = "checkout"
"""The parameter that is no argument: the checkout is looked for."""

DESCRIBED = re.compile(r"^ {8}(\w+)(?: \((.+?)\))?: (.+(?:\n {12}.+)*)", re.MULTILINE)
"""An entry of a docstring's `Args`: name, value, and what it is."""


def add_arguments(parser: argparse.ArgumentParser, function: Callable[..., None]) -> None:
    """Give a parser the parameters of a function.

    Annotations say how an argument is read: `Annotated[TYPE, function]` by a function of its text, `Literal` as one of
    these, `Sequence` as one or more, `bool` as a switch.
    """
    described = {name: rest for name, *rest in DESCRIBED.findall(function.__doc__ or "")}
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if name == CHECKOUT:
            continue
        metavar, text = described[name]
        settings = {
            **_reading(hints[name]),
            "help": " ".join(text.split()),
            **({"metavar": metavar} if metavar else {}),
        }
        if parameter.kind is not parameter.KEYWORD_ONLY:
            parser.add_argument(name, **settings)
            continue
        required = parameter.default is parameter.empty
        given = {"required": True} if required else {"default": parameter.default}
        parser.add_argument(f"--{name.rstrip('_').replace('_', '-')}", dest=name, **given, **settings)


def _reading(hint: Any) -> dict[str, Any]:
    """How `argparse` reads what is annotated so."""
    kind, within = get_origin(hint), get_args(hint)
    if hint is bool:
        return {"action": "store_true"}
    if kind is Literal:
        return {"choices": within, "type": type(within[0])}
    if kind is Annotated:
        return {"type": within[1]}
    if kind is Sequence:
        return {**_reading(within[0]), "nargs": "+"}
    return _reading(within[0]) if kind in (Union, UnionType) else {"type": hint}


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


Positive = Annotated[int, positive]
