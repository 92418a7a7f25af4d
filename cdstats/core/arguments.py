"""Options declared once, for Python arguments and for commands.

A field made by `option` has a default, a help text, its valid values, and the inputs
that it needs. These determine the checks of a value, the keyword arguments of a
function (`takes`) and the options of a command (`cdstats.cli.options`).
"""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from enum import Enum
from functools import partial, wraps
from inspect import Parameter, Signature, cleandoc, get_annotations, signature
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    NamedTuple,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    dataclass_transform,
)

from cdstats.core.errors import (
    CdstatsError,
    DataError,
    Level,
    Message,
    UsageError,
    counted,
)
from cdstats.core.secrets import START, arguments_of_a_call, hidden

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

P = ParamSpec("P")
Group = TypeVar("Group", bound="Options")
Result = TypeVar("Result", bound="HasMessages")


class Indexed(Protocol):
    """A dataset with items by index."""

    def __getitem__(self, index: Any, /) -> Any:  # noqa: ANN401 - as it holds
        """Item at an index."""


StrPath = str | PathLike[str]
Paths = StrPath | Iterable[Any] | Mapping[str, Any] | Indexed
"""Paths, or images in memory for functions that accept them."""
RuleText = str | float

MASKS: Final = frozenset({"masks"})
PREDICTIONS: Final = frozenset({"predictions"})
PIXELS: Final = MASKS | PREDICTIONS

_SAME: Final = object()
_BITS: Final = 63
"""Bits of the largest integer that files and libraries support."""

KEEP: Final = "keep"
"""Value of `errors` to return results that contain errors."""


class HasMessages(Protocol):
    """A result: a dataclass with messages."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """Notes, warnings and errors."""


class Option(NamedTuple):
    """Properties of an option."""

    default: Any
    help: str
    typed: type = str
    """A plain type, ``Path``, an enum, ``PathLike`` for paths and addresses as text, or
    ``FunctionType`` for callables."""
    many: bool = False
    choices: tuple[str, ...] = ()
    numbers: bool = False
    """Whether Python may pass a number instead of text."""
    least: float | None = None
    most: float | None = None
    flags: tuple[str, ...] = ()
    """Names on the command line; by default from the field name."""
    metavar: str | None = None
    panel: str | None = None
    shown: str | None = None
    """Default as shown in the help; by default the value, unless None."""
    needs: frozenset[str] = frozenset()
    """Inputs that the option needs: ``masks``, ``predictions``, either of them, or
    none."""
    on_command_line: bool = True
    argument: bool = False
    """Whether it is a positional argument of a command."""
    command_default: Any = _SAME
    none_is_value: bool = False
    """Whether None is a value that differs from the default."""

    @property
    def has_command_default(self) -> bool:
        """Whether commands have a different default."""
        return self.command_default is not _SAME

    def names(self, name: str) -> tuple[str, ...]:
        """The names on the command line, given the field name."""
        return self.flags or (f"--{name.replace('_', '-')}",)

    def typed_name(self, name: str) -> str:
        """The name used in messages."""
        if self.argument:
            return (self.metavar or "PATH").rpartition("]")[2]
        return self.names(name)[0].partition("/")[0]

    def taken(self, name: str, value: object) -> object:
        """Convert and check a value.

        Raises:
            TypeError: If it has the wrong type; the message names the argument.
            UsageError: If it is out of range or not among the choices.
        """
        if self.many:
            each = _each(name, value, numbers=self.numbers)
            return tuple(self._one(name, one) for one in each)
        return self._one(name, value)

    def _one(self, name: str, value: object) -> object:
        value = value.value if self.choices and isinstance(value, Enum) else value
        if isinstance(value, (str, PathLike)):
            text = os.fspath(value)
            value = hidden(text) if isinstance(text, str) else value
        known, expected = self._converted(value), _WORDS.get(self.typed, "a choice")
        if self.typed is str and self.numbers:
            expected = "a text or a number"
        if known is None:
            kind = type(value).__name__
            raise TypeError(f"{name} is {kind} {_shown(value)}; expected {expected}")
        wrong = f"{self.typed_name(name)} {value}: expected"
        if not str(known).strip():
            raise UsageError(f"{self.typed_name(name)} is empty; expected {expected}")
        if self.choices and known not in self.choices:
            *first, last = self.choices
            known_ones = f"{', '.join(first)} or {last}" if first else last
            raise UsageError(f"{wrong} {known_ones}")
        if isinstance(known, int) and known.bit_length() > _BITS:
            raise UsageError(f"{wrong} a number below 2**{_BITS}")
        if isinstance(known, (int, float)) and self.least is not None:
            most = math.inf if self.most is None else self.most
            if not self.least <= known <= most:
                within = f"from {self.least:g} to {most:g}"
                if self.most is None:
                    within = f"of at least {self.least:g}"
                raise UsageError(f"{wrong} {expected} {within}")
        return known

    def _converted(self, value: Any) -> object:  # noqa: ANN401 - as given
        """Convert a value to the type of the option; None if that is not possible.

        Integers may be given as text, and text as numbers if the option allows it. True
        and False are not numbers.
        """
        kind: Any = self.typed
        whole = isinstance(value, Integral)
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if kind is int and isinstance(value, str) and value.strip().isdecimal():
            return int(value)
        if kind in (int, float):
            return kind(value) if is_number and (whole or kind is float) else None
        if kind is str and self.numbers and is_number:
            return str(int(value) if whole else float(value))
        if kind is FunctionType:
            return value if callable(value) else None
        if kind in (Path, PathLike) and isinstance(value, (str, PathLike)):
            place = os.fspath(value)
            if kind is Path and place:
                return Path(place)
            return place if isinstance(place, str) else None
        return value if isinstance(value, kind) else None


_WORDS: Final[Mapping[Any, str]] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    FunctionType: "a function",
    Path: "a path",
    PathLike: "a path",
}
"""Expected values, by type, for messages."""
_TYPES: Final = {
    "Callable": FunctionType,
    "Paths": PathLike,
    "StrPath": Path,
    "Path": Path,
    "RuleText": str,
    "str": str,
    "bool": bool,
    "int": int,
    "float": float,
}
"""Types of options by a word in their annotation; the first match counts."""


def _by_annotation(text: str) -> dict[str, Any]:
    """Derive the settings of an option from the annotation of its field.

    Example:
        >>> _by_annotation("RuleText | Sequence[RuleText] | None")
        {'typed': <class 'str'>, 'many': True, 'numbers': True}
    """
    words = {*re.findall(r"\w+", text)}
    typed = next((kind for word, kind in _TYPES.items() if word in words), str)
    if typed is FunctionType:
        return {"typed": typed, "on_command_line": False}
    numbers = "RuleText" in words or ("str" in words and bool(words & {"int", "float"}))
    many = bool(words & {"Sequence", "Paths"})
    return {"typed": typed, "many": many, "numbers": numbers}


def _shown(value: object) -> str:
    """A value of the wrong type, for a message; addresses may contain secrets."""
    text = repr(value)
    return "with an address" if START.search(text) else f"{text:.60}"


def _each(name: str, value: object, *, numbers: bool = False) -> Iterator[object]:
    """The values of an option that may be repeated.

    A single value counts as one, and a mapping gives names to paths or numbers.
    """
    single = (str, PathLike, Real) if numbers else (str, PathLike)
    if isinstance(value, single):
        yield value
        return
    if isinstance(value, Mapping):
        for key, path in value.items():
            if not isinstance(key, str) or not isinstance(path, single):
                raise TypeError(
                    f"{name} maps {_shown(key)} to {_shown(path)}; expected a name "
                    "and a text or path"
                )
            if not key.strip() or set("=/") & set(key):
                raise UsageError(
                    f"{name} has the name {_shown(key)}; expected a name without '=' "
                    "and '/', and not empty"
                )
            yield f"{key}={path if isinstance(path, Real) else os.fspath(path)}"
        return
    try:
        if isinstance(value, (bytes, bytearray)):
            raise TypeError
        each = iter(value)  # type: ignore[call-overload]
    except TypeError:
        kind = type(value).__name__
        raise TypeError(
            f"{name} is {kind} {_shown(value)}; expected one or several"
        ) from None
    yield from each


def option(default: Any, text: str, **settings: Any) -> Any:  # noqa: ANN401 - any type
    """Declare an option as a field of a group, with default, help and settings.

    Its type and whether it may be repeated or given as a number follow from the
    annotation; other settings may come from the group.
    """
    return partial(Option, default, text, **settings)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Options:
    """A frozen group of options; values are checked and converted.

    Fields are made by `option`. With ``kw_only=False`` they are positional too. Further
    settings of a class are defaults for its own fields; ``hidden`` fields are not
    options of commands. It is not a dataclass, because generating twenty of these takes
    longer than counting a mask.
    """

    declared: ClassVar[dict[str, Option]] = {}
    by_place: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls,
        *,
        kw_only: bool = True,
        hidden: Sequence[str] = (),
        **settings: Any,  # noqa: ANN401 - of `Option`
    ) -> None:
        own = {}
        for name, text in get_annotations(cls).items():
            if isinstance(made := vars(cls).get(name), partial):
                known = _by_annotation(str(text)) | settings | made.keywords
                own[name] = Option(*made.args, **known)
        bases = [b for b in cls.__mro__[:0:-1] if issubclass(b, Options)]
        every = {n: v for b in bases for n, v in b.declared.items()} | own
        unseen = {n: every[n]._replace(on_command_line=False) for n in hidden}
        cls.declared = every | unseen
        if not kw_only:
            cls.by_place = tuple(cls.declared)

    def __init__(self, *values: Any, **named: Any) -> None:  # noqa: ANN401 - as declared
        given = type(self).signature().bind(*values, **named).arguments
        for name, known in self.declared.items():
            value = given.get(name, known.default)
            if value is None and not known.none_is_value:
                value = known.default
            if value is not None and value is not known.default:
                value = self.taken(name, value)
            vars(self)[name] = value

    def __setattr__(self, name: str, _: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def taken(self, name: str, value: object) -> object:
        """Convert and check the value of an option."""
        return self.declared[name].taken(name, value)

    @classmethod
    def signature(cls) -> Signature:
        """The call signature of the group."""
        types: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            types |= get_annotations(base)
        parameters = [
            Parameter(
                name,
                Parameter.POSITIONAL_OR_KEYWORD
                if name in cls.by_place
                else Parameter.KEYWORD_ONLY,
                default=known.default,
                annotation=types[name],
            )
            for name, known in cls.declared.items()
        ]
        return Signature(sorted(parameters, key=lambda one: one.kind))

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - of its fields
        """A copy with some values changed."""
        return type(self)(**(vars(self) | changes))

    @classmethod
    def of(cls, other: Options, **changes: Any) -> Self:  # noqa: ANN401 - of its fields
        """A group with the values of another group, except for changes."""
        own = {n: v for n, v in vars(other).items() if n in cls.declared}
        return cls(**(own | changes))

    def reads(self) -> frozenset[str]:
        """Inputs that are read: ``masks``, ``predictions``, or none with --from."""
        return frozenset() if getattr(self, "from_file", None) else PIXELS

    def missing(self) -> str | None:
        """The message on a missing input; None if all are given."""
        return None

    def refuse_unfit(self, given: Collection[str]) -> None:
        """Refuse options that do not fit the inputs, and missing inputs.

        Args:
            given: Names of the fields that the user set.

        Raises:
            UsageError: If an option does not fit or an input is missing.
        """
        read = self.reads()
        unfit = {
            known.typed_name(name): known.needs
            for name, known in self.declared.items()
            if name in given and known.needs and not known.needs & read
        }
        if unfit:
            nouns = sorted(set().union(*unfit.values()))
            why = f"no {' or '.join(nouns)} are read here"
            if nouns == ["masks"] and read >= PREDICTIONS:
                # The masks of predictions are read, but not counted.
                why = "no masks are given with --masks"
            if not read and {"from_file", "from_files"} & set(given):
                why = "--from reads rows of an earlier run, not pixels"
            raise UsageError(f"{why}; omit {', '.join(unfit)}")
        if text := self.missing():
            raise UsageError(text)


def texts(value: Paths | None) -> list[str]:
    """Convert paths to texts, which may be ``NAME=PATH``.

    Example:
        >>> texts({"mine": "masks"})
        ['mine=masks']
    """
    return [] if value is None else [str(one) for one in _each("paths", value)]


def are_lists(value: Paths) -> bool:
    """Whether all paths are lists, which may be sheets that name masks too."""
    return all(one.rpartition("=")[2].startswith("@") for one in texts(value))


def takes(
    group: Callable[P, Group],
    held: Callable[[Mapping[str, Any]], AbstractContextManager[dict[str, Any]]]
    | None = None,
) -> Callable[[Callable[[Group], Result]], Callable[P, Result]]:
    """Turn a function of a group into a function of the group's fields.

    It gets the signature of the group, and its docstring lists all arguments. Errors
    and messages name arguments instead of command-line options. If the group has the
    field ``errors``, a result with an error raises by default.
    """
    made: Any = group
    shape, known = made.signature(), made.declared

    def decorate(function: Callable[[Group], Result]) -> Callable[P, Result]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Result:
            given = shape.bind(*args, **kwargs).arguments
            try:
                with (
                    arguments_of_a_call(),
                    held(given) if held else nullcontext(given) as read,
                ):
                    options = made(**read)
                    options.refuse_unfit([n for n, v in read.items() if v is not None])
                    result = function(options)
            except CdstatsError as error:
                error.args = (in_python(str(error), known),)
                raise
            if getattr(options, "errors", KEEP) != KEEP:
                _refuse_nothing(result, known)
            return _reworded(result, known)

        returned = signature(function).return_annotation
        call.__signature__ = shape.replace(return_annotation=returned)  # type: ignore[attr-defined]
        call.__doc__ = _documented(function.__doc__ or "", known.items())
        return call

    return decorate


def _refuse_nothing(result: HasMessages, options: Mapping[str, Option]) -> None:
    texts = [one.text for one in result.messages if one.level is Level.ERROR]
    if not texts and not len(getattr(result, "images", ())):
        texts = ["no files found in the given paths"]
    if texts:
        more = f" (and {counted(len(texts) - 1, 'more error')})" if texts[1:] else ""
        first = in_python(texts[0], options)
        raise DataError(f"{first}{more}; errors='keep' returns the readable part")


def _reworded(result: Result, options: Mapping[str, Option]) -> Result:
    changed: dict[str, Any] = {}
    for one in fields(result):  # type: ignore[arg-type]
        held = getattr(result, one.name)
        if isinstance(held, tuple):
            changed[one.name] = tuple(_named(row, options) for row in held)
        elif hasattr(held, "reword"):  # rows that are read lazily
            held.reword = lambda text: in_python(text, options)
    new: Result = replace(result, **changed)  # type: ignore[type-var]
    return new


def _named(row: Any, options: Mapping[str, Option]) -> Any:  # noqa: ANN401 - any record
    """A record whose texts name Python arguments."""
    if isinstance(row, tuple):  # a file and its reason
        return (row[0], in_python(row[1], options))
    texts = {n: v for n in ("text", "reason") if (v := getattr(row, n, ""))}
    changed: dict[str, Any] = {n: in_python(v, options) for n, v in texts.items()}
    if ways := getattr(row, "ways", ()):
        changed["ways"] = tuple(in_python(way, options) for way in ways)
    return replace(row, **changed) if changed else row


_OPTION: Final = re.compile(
    r"(?<![\w/.-])(?:PATH\b(?![/.]\w)"
    r"|--([a-z][a-z-]*)(?:[ =](?!--)('[^']*'|[^\s;()`]*[^\s;,()`]))?)"
)
"""An option in a message, and the word behind it."""
PROSE: Final = frozenset(
    (
        *("a", "alone", "and", "are", "as", "at", "for", "from", "goes", "if", "is"),
        *("makes", "must", "needs", "of", "or", "reads", "takes", "the", "to", "where"),
        "with",
    )
)
"""Words that follow an option in messages and are not its value."""


def in_python(text: str, options: Mapping[str, Option]) -> str:
    """Replace command-line options in a message by Python arguments.

    Example:
        >>> in_python("--kind logit? Use --kind to choose", {"kind": Option(None, "")})
        'kind="logit"? Use kind to choose'
        >>> in_python("name them with --changed '>=128' --unchanged rest.", {})
        'name them with changed=">=128", unchanged="rest".'
    """
    names = {
        flag: name
        for name, one in options.items()
        for part in one.names(name)
        for flag in part.split("/")
    }

    def argument(match: re.Match[str]) -> str:
        if match[0] == "PATH":
            return "paths" if "paths" in options else match[0]
        name = names.get(f"--{match[1]}", match[1].replace("-", "_"))
        word = match[2] or ""
        value = word.rstrip(".:?")  # end of a sentence
        rest = word[len(value) :]
        known = options.get(name, Option(None, ""))
        if known.typed is bool:
            return f"{name}=True {word}".rstrip()
        # The word before a colon is a quoted value.
        if not value or (value in PROSE and not rest.startswith(":")):
            return f"{name} {word}".rstrip()
        counts = (known.metavar or "").endswith("N") and "=" not in value
        is_number = known.many and known.numbers and counts
        if known.typed in (int, float) or is_number:
            return f"{name}={value}{rest}"
        return f'{name}="{value.strip(chr(39))}"{rest}'

    # Consecutive arguments are separated by commas.
    return re.sub(
        r'(=(?:"[^"]*"|\d+)) (?=[a-z_]+=)', r"\1, ", _OPTION.sub(argument, text)
    )


def _documented(text: str, options: Iterable[tuple[str, Option]]) -> str:
    """A docstring with a section of arguments, inserted before that of results."""
    lines = ["Args:"]
    for name, known in options:
        lines += textwrap.wrap(
            f"{name}: {known.help}",
            width=84,
            initial_indent="    ",
            subsequent_indent="        ",
        )
    parts = cleandoc(text).split("\n\n")
    sections = ("Returns:", "Raises:", "Example:", "References:")
    starts = (n for n, part in enumerate(parts) if part.startswith(sections))
    place = next(starts, len(parts))
    return "\n\n".join([*parts[:place], "\n".join(lines), *parts[place:]])
