"""The signature of a score: one line that says how it was made, and of which labels.

A line is ``cdstats:VERSION`` and fields ``NAME:VALUE`` after bars. Values hold no
quote, bar, backslash or space (these are written as in addresses, ``%20``), so that a
line in single quotes is one word of a shell.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from cdstats.core.arguments import Options, option
from cdstats.core.errors import UsageError
from cdstats.core.labels import complement, parse_terms
from cdstats.core.options import MaskOptions, PairOptions, ScoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_NUMBER: Final = r"\d+(\.\d+)?(e[+-]?\d+)?"
_VALUES: Final = {
    "cdstats": r"\d[\w.+,-]*",
    "f1": r"pooled\.changed",
    "thr": rf"{_NUMBER}(@.+)?",
    "kind": ".+",
    "rule": ".+",
    "ignore": ".+",
    "grid": ".+",
    "images": r"\d+",
    "failed": r"\d+",
    "px": r"\d+",
    "uncovered": r"\d+",
    "changed": _NUMBER,
    "labels": "[0-9a-f]{8,16}",
}
"""The fields in their order, and what they hold."""
_SHORT: Final = ("cdstats", "thr", "kind", "rule", "images", "labels")
_SHORT_HASH: Final = 8
_FLAWS: Final = ("failed", "uncovered")
"""Fields of a line that are absent for none."""
_SAFE: Final = "/,.+-_<>=#@;:()~*"
_ANY: Final = {"errors": "surrogateescape"}
"""Names of files may be no text."""
_KINDS: Final = {"probabilities": "prob", "logits": "logit", "hard labels": "hard"}
_TYPES: Final = {"bfloat": "bf", "float": "f", "uint": "u", "int": "i", "bool": "b"}
_TYPE: Final = re.compile(r"\b(bfloat|float|uint|int)(?=\d)")
_PART: Final = re.compile(rf"({'|'.join(_KINDS)}) \(([^()]*)\)(?:; )?")
_CODES: Final = re.compile(r"0 and \d+")
"""Codes of labels that need no rule."""
_USUAL: Final = {"u8/255", "u16/65535"}
_MOVED: Final = ("overlap", "warp", "ignore")
_SPLITTING: Final = re.compile(r"(?:^|, )(changed|unchanged|ignored) ")
NOT_RECORDED: Final = "not recorded"
"""What stands for a text that is not known."""
_UNKNOWN: Final = (None, "", NOT_RECORDED)
_CLOSE: Final = 1e-7
"""Sums of soft targets are written with nine digits."""


@dataclass(frozen=True)
class Signature:
    """A signature as its fields; those that are not known are absent.

    Example:
        >>> line = "cdstats:0.1.0|thr:0.5|kind:prob.f32|labels:0123456789abcdef"
        >>> Signature.parse(line).fields["kind"]
        'prob.f32'
        >>> str(Signature.parse(line)) == line
        True
    """

    fields: Mapping[str, str]

    @classmethod
    def of(cls, row: Any, masks: int) -> Signature:  # noqa: ANN401 - of any record
        """The signature of a row of a model, of some masks.

        It is empty where its version is not known. A mask that is scored in crops is
        one image.
        """
        soft = isinstance(row.changed, float)
        rule, left_out = ("soft", "") if soft else _rule_texts(row.rule)
        moved = [word for word in row.grid.split(", ") if word in _MOVED]
        known = {
            "cdstats": row.version.replace(", ", ","),
            "f1": "pooled.changed",
            "thr": _threshold_text(row),
            "kind": _kind_text(row.kind),
            "rule": rule,
            "ignore": left_out or ("none" if rule and not soft else ""),
            "grid": ",".join(moved) or ("same" if row.grid != NOT_RECORDED else ""),
            "images": masks,
            "failed": getattr(row, "failed", 0) or None,
            "px": round(row.changed + row.unchanged),
            "uncovered": getattr(row, "uncovered", 0) or None,
            "changed": f"{row.changed:.9g}" if soft else row.changed,
            "labels": row.labels,
        }
        told = {name: str(v) for name, v in known.items() if v not in _UNKNOWN}
        return cls(told if "cdstats" in told else {})

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read a line, of which fields may be absent; the hash may be cut.

        Line breaks, quotes and backslashes, which come with a copy, are skipped.

        Raises:
            UsageError: If it is no signature.
        """
        found: dict[str, str] = {}
        for part in re.sub(r"[\s\\'\"`]", "", text).split("|"):
            name, _, value = part.partition(":")
            plain = unquote(value, **_ANY)
            if name in found or not re.fullmatch(
                _VALUES.get(name, "(?!)"), plain, re.S
            ):
                raise UsageError(
                    f"not a signature: {part!r} of {text!r}; expected a line like "
                    "'cdstats:0.1.0|thr:0.5|kind:prob.f32|rule:255/0|...|labels:9f3c...'"
                )
            found[name] = plain
        if next(iter(found)) != "cdstats":
            raise UsageError(f"not a signature: {text!r}; expected 'cdstats:' first")
        return cls(found)

    def __str__(self) -> str:
        texts = (
            (name, quote(text, _SAFE, **_ANY)) for name, text in self.fields.items()
        )
        return "|".join(f"{name}:{text}" for name, text in texts)

    @property
    def short(self) -> str:
        """The fields that tell scores apart, the hash cut: for a line of a table."""
        cut = {name: self.fields[name] for name in _SHORT if name in self.fields}
        if "labels" in cut:
            cut["labels"] = cut["labels"][:_SHORT_HASH]
        return str(Signature(cut))

    def beyond(self, other: Signature) -> list[str]:
        """What counts against another signature that this one lacks, if it has all."""
        lacking = [n for n in _FLAWS if n in other.fields and n not in self.fields]
        return lacking if "px" in self.fields else []

    def agrees(self, name: str, other: Signature) -> bool | None:
        """Whether a field is the same in another; None where it is not compared."""
        none = "0" if name in _FLAWS else None
        one, two = self.fields.get(name, none), other.fields.get(name, none)
        if name == "cdstats" or one is None or two is None:
            return None
        if name == "labels":
            return one.startswith(two) or two.startswith(one)
        if name in ("thr", "changed"):
            numbers = (float(text.partition("@")[0]) for text in (one, two))
            return math.isclose(*numbers, rel_tol=_CLOSE)
        return one == two

    @property
    def options(self) -> dict[str, Any]:
        """The options that score by it, as those of `cdstats.loss`.

        A rule that was found is found again: other files may hold other values.
        """
        found: dict[str, Any] = _kind_options(self.fields.get("kind", ""))
        if "thr" in self.fields:
            found["threshold"] = float(self.fields["thr"].partition("@")[0])
        if self.fields.get("grid") in _MOVED:
            found["grid"] = self.fields["grid"]
        rule, _, origin = self.fields.get("rule", "").partition("@")
        if origin and origin != "given":
            found["preset"] = origin
        else:
            left_out = self.fields.get("ignore", "none")
            if left_out != "none" and ";" not in left_out:
                found["ignore"] = left_out
            if origin:
                changed, _, unchanged = rule.partition("/")
                found |= {"changed": changed or None, "unchanged": unchanged or None}
        return found


@dataclass(frozen=True, slots=True)
class CheckedField:
    """A field of a signature beside what the files give.

    ``agrees`` is ``yes`` or ``no``; empty for what is told and not compared.
    """

    model: str
    field: str
    stated: str
    found: str
    agrees: str


class SignatureOptions(Options, kw_only=False):
    """The line that says how a score was made."""

    line: str | None = option(
        None,
        "Signature of a score, in single quotes; the short form is sufficient.",
        argument=True,
        metavar="SIGNATURE",
    )


class VerifyOptions(
    MaskOptions,
    ScoreOptions,
    PairOptions,
    SignatureOptions,
    hidden=("beta", "losses", "batch_size"),
):
    """What `cdstats.verify` takes."""

    by_place = ("line", *PairOptions.by_place)
    progress: Callable[[int, int], None] | None = option(
        None, "Called with the number of finished images and of pixels so far."
    )

    def missing(self) -> str | None:
        """What to say of a signature, predictions or masks that are not named."""
        if self.line is None:
            return "no signature given: write the line in single quotes"
        return super().missing()


def _threshold_text(row: Any) -> str | None:  # noqa: ANN401 - of any record
    """A threshold, and behind it the images on which it was chosen, if it was."""
    at = f"@{row.threshold_from}" if row.threshold_from else ""
    return None if row.threshold is None else f"{row.threshold}{at}"


def _kind_text(text: str) -> str:
    """What predictions are, such as ``prob.f32``, ``prob.u8/255``, ``hard.2/1``."""
    parts = []
    for word, detail in _PART.findall(text):
        told = _TYPE.sub(lambda one: _TYPES[one[0]], detail).replace(" ", "")
        if word == "hard labels" and _CODES.fullmatch(detail):
            told = ""
        elif word == "hard labels" and told == detail.replace(" ", ""):
            told = _rule_texts(detail)[0].removesuffix("@given")
        parts.append(f"{_KINDS[word]}.{told}".removesuffix("."))
    rest = _PART.sub("", text).replace(", ", ";").replace(" ", "-")
    return "+".join(dict.fromkeys(parts)) + rest


def _kind_options(text: str) -> dict[str, Any]:
    """The options that make predictions what a text says, where that is not found."""
    found: dict[str, Any] = {}
    kinds, *rest = text.split(";")
    for part in kinds.split("+"):
        word, _, detail = part.partition(".")
        number = detail.partition("/")[2]
        if word == "hard" and number:
            changed, _, unchanged = detail.partition("/")
            found |= {"pred_changed": changed or None, "pred_unchanged": unchanged}
        elif word == "logit" or (word == "hard" and detail):
            found["kind"] = word
        if word != "hard" and number and detail not in _USUAL:
            found["scale"] = number
    for one in rest:
        if re.fullmatch(r"band-\d+", one):
            found["pred_band"] = int(one.removeprefix("band-"))
        elif one in ("nodata-kept", "nodata-ignored"):
            found["pred_nodata"] = "keep" if one == "nodata-kept" else "ignore"
    return found


def _rule_texts(text: str) -> tuple[str, str]:
    """What a rule says: changed and unchanged values, and those that are ignored.

    Where it was given and not found, or of a preset, its origin follows.
    """
    rules, ignored = [], []
    for one in text.split("; "):
        splits, _, rule = one.rpartition(": ")
        if rule in _UNKNOWN:
            return "", ""
        rule, _, origin = rule.removesuffix(")").partition(" (")
        origin = origin.removeprefix("preset ") or "given"
        bound, *named = _SPLITTING.split(rule)
        terms = dict(zip(named[::2], named[1::2], strict=True))
        if bound:
            terms |= {"changed": bound, "unchanged": _complement_text(bound)}
        values = f"{terms.get('changed', '')}/{terms.get('unchanged', '')}"
        at = "" if origin == "detected" else f"@{origin}"
        rules.append(f"{splits.replace(', ', ',')}:{values}{at}".removeprefix(":"))
        ignored.append(terms.get("ignored", "none"))
    return ";".join(rules), ";".join(dict.fromkeys(ignored))


def _complement_text(bound: str) -> str:
    """The values that a bound such as ``>=128`` leaves out."""
    return ",".join(str(one) for one in complement(parse_terms(bound)[0]) or ())


def signature_notes(rows: Iterable[Any], *, short: bool = False) -> list[str]:
    """The signatures of rows of models as footnotes; models may share one."""
    models: dict[str, list[str]] = {}
    for row in rows:
        if row.signature:
            models.setdefault(row.signature, []).append(row.model)
    found = []
    for text, names in models.items():
        whose = f" of {', '.join(names)}" if len(models) > 1 else ""
        line = f"\n{Signature.parse(text).short}" if short else f" {text}"
        found.append(f"signature{whose}:{line}")
    return found
