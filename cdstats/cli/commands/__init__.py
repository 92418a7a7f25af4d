"""The commands, one module each, imported only when the command is called.

A new command is a new module. The docstring of the module is the first line of the
command's help, and its function of the same name is decorated with `command`.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from importlib import import_module
from inspect import cleandoc
from pkgutil import get_data, iter_modules
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand
from typer.main import get_command

from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMANDS: Final = {
    name: (get_data(__name__, f"{name}.py") or b"").decode().split('"""')[1]
    for _, name, _ in iter_modules(__path__)
}
"""Every command in the order of the help, with the first line of its help.

The line is the docstring of its module, which is read without importing the module.
"""
_COUNTING: Final = ("audit", "ratio", "weights")
"""Commands that count masks and need no matrix products."""
_LATER: Final = ("callback", "help", "params")
"""Attributes that need the module of the command."""
_functions: dict[str, Callable[..., None]] = {}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a function as the command of its name.

    Its parameters are the options; an option group stands for each of its options.
    """
    from cdstats.cli.options import spread

    _functions[function.__name__] = spread(function)
    return function


class OnDemand(TyperCommand):
    """A command that imports its module on first use.

    Until then only its name and the first line of its help are known.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, short_help=COMMANDS[name])
        for attribute in _LATER:
            delattr(self, attribute)

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - of any type
        """An attribute from the module of the command."""
        if attribute not in _LATER:
            raise AttributeError(attribute)
        vars(self).update(vars(_load(str(self.name))))
        return getattr(self, attribute)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as the base class
        """Parse the arguments; refuse different values of a single-value option."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for one, times in Counter(order).items():
            several = one.multiple or one.param_type_name != "option"
            if times == 1 or several or ctx.resilient_parsing:
                continue
            values = list(_values(one, args))
            if len(values) < times or len(set(values)) > 1:
                raise UsageError(
                    f"{one.opts[0]} is given {times} times; it takes one value"
                )
        return super().parse_args(ctx, args)


def _values(option: Any, words: list[str]) -> Iterator[str]:  # noqa: ANN401 - Typer's own type
    """The values of an option among the arguments; for a flag, its name."""
    flags = (*option.opts, *option.secondary_opts)
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in flags and option.is_flag:
            yield option.opts[0] if name in option.opts else name
        elif name in flags:
            yield value if equals else after


@cache
def _load(name: str) -> Any:  # noqa: ANN401 - a class that Typer keeps to itself
    """The Typer command of the function in a module of this folder."""
    if name in _COUNTING:
        from cdstats.engine.work import keep_freed

        keep_freed()
        # Starting the threads for matrix products takes as long as importing NumPy.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import_module(f"{__package__}.{name}")
    maker = typer.Typer(add_completion=False)
    # Typer keeps the line ends of a docstring, which would not fit other widths.
    paragraphs = cleandoc(_functions[name].__doc__ or "").split("\n\n")
    text = "\n\n".join(one.replace("\n", " ") for one in paragraphs)
    maker.command(help=text, short_help=COMMANDS[name])(_functions[name])
    return get_command(maker)
