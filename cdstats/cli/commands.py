"""The commands by name; the module of each is imported when it is called."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand
from typer.main import get_command

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS: Final = {
    "audit": "Look for what is wrong with masks before a network is trained on them.",
    "compare": "Compare models on the same masks: differences with intervals, and "
    "where.",
    "explain": "Explain a loss: formula, parameters, source and pitfalls; or list all.",
    "loss": "Score saved predictions: balanced cross-entropy beside plain BCE.",
    "plot": "Draw figures for papers: PDF, SVG and PNG, with the data of each as CSV.",
    "presets": "List the encodings of public datasets that --preset knows.",
    "published": "List published pixel counts with their sources.",
    "ratio": "Count the changed and unchanged pixels of change masks.",
    "report": "Write one HTML file about masks, predictions, or both.",
    "weights": "Tell which class weights to put into a loss.",
}
"""Every command in the order of the help, with the first line of its own help."""
_COUNTING: Final = ("audit", "ratio", "weights")
"""Commands that count masks, and multiply no matrices."""
_LATER: Final = ("callback", "help", "params")
"""What only the module of a command knows."""
_functions: dict[str, Callable[..., None]] = {}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function the command of its name; its parameters are the options.

    A parameter that is a group of options stands for each option of the group.
    """
    from cdstats.cli.options import spread

    _functions[function.__name__] = spread(function)
    return function


class OnDemand(TyperCommand):
    """A command that is known by its name and one line, until more of it is asked for.

    Then its module is imported, and it becomes what Typer makes of the function there.

    Args:
        name: One of `COMMANDS`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, short_help=COMMANDS[name])
        for attribute in _LATER:
            delattr(self, attribute)

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - of any type
        """What only the module of the command knows."""
        if attribute not in _LATER:
            raise AttributeError(attribute)
        vars(self).update(vars(_load(str(self.name))))
        return getattr(self, attribute)


def _load(name: str) -> Any:  # noqa: ANN401 - a class that Typer keeps to itself
    """The command that Typer makes of the function in a module of this folder."""
    if name in _COUNTING:
        from cdstats.engine.memory import keep_freed

        keep_freed()
        # Starting NumPy's threads for products would take as long as loading NumPy.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import_module(f"{__package__}.{name}")
    maker = typer.Typer(add_completion=False)
    maker.command(short_help=COMMANDS[name])(_functions[name])
    return get_command(maker)
