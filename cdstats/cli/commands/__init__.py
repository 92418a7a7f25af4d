"""The commands: each is one module of this folder, imported when it is called.

A new command is a new module. Its docstring is the first line of the command's help.
Its function of the same name is decorated with `command`.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from importlib import import_module
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

The line is the docstring of its module, which is read without running the module.
"""
_COUNTING: Final = ("audit", "ratio", "weights")
"""Commands that count masks and multiply no matrices."""
_LATER: Final = ("callback", "help", "params")
"""Attributes that only the module of a command defines."""
_functions: dict[str, Callable[..., None]] = {}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a function as the command of its name, with its parameters as options.

    A parameter that is a group of options stands for all options of the group.
    """
    from cdstats.cli.options import spread

    _functions[function.__name__] = spread(function)
    return function


class OnDemand(TyperCommand):
    """A command of which only the name and one line of help are loaded at first.

    When more is needed, its module is imported and this object becomes the command that
    Typer creates from the function in the module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, short_help=COMMANDS[name])
        for attribute in _LATER:
            delattr(self, attribute)

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - of any type
        """An attribute that only the module of the command defines."""
        if attribute not in _LATER:
            raise AttributeError(attribute)
        vars(self).update(vars(_load(str(self.name))))
        return getattr(self, attribute)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as the base class
        """Parse the arguments; refuse several values for an option that takes one."""
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
    """The values of an option in the words of a command; for a flag, its name."""
    flags = (*option.opts, *option.secondary_opts)
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in flags and option.is_flag:
            yield option.opts[0] if name in option.opts else name
        elif name in flags:
            yield value if equals else after


@cache
def _load(name: str) -> Any:  # noqa: ANN401 - a class that Typer keeps to itself
    """The command that Typer creates from the function in a module of this folder."""
    if name in _COUNTING:
        from cdstats.engine.work import keep_freed

        keep_freed()
        # Starting NumPy's threads for matrix products takes as long as loading NumPy.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import_module(f"{__package__}.{name}")
    maker = typer.Typer(add_completion=False)
    maker.command(short_help=COMMANDS[name])(_functions[name])
    return get_command(maker)
