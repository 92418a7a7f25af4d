"""The signature of a score: one line that states how it was made and on which labels.

A line is ``cdstats:VERSION`` and fields ``NAME:VALUE`` separated by bars. Quotes, bars,
backslashes and spaces in values are percent-encoded, so that a line in single quotes is
one shell word.
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
"""Fields in order, with their content."""
_SHORT: Final = ("cdstats", "thr", "kind", "rule", "images", "labels")
_SHORT_HASH: Final = 8
_FLAWS: Final = ("failed", "uncovered")
"""Fields that are absent if zero."""
_SAFE: Final = "/,.+-_<>=#@;:()~*"
_ANY: Final = {"errors": "surrogateescape"}
"""File names may not be valid Unicode."""
_KINDS: Final = {"probabilities": "prob", "logits": "logit", "hard labels": "hard"}
_TYPES: Final = {"bfloat": "bf", "float": "f", "uint": "u", "int": "i", "bool": "b"}
_TYPE: Final = re.compile(r"\b(bfloat|float|uint|int)(?=\d)")
_PART: Final = re.compile(rf"({'|'.join(_KINDS)}) \(([^()]*)\)(?:; )?")
_CODES: Final = re.compile(r"0 and \d+")
"""Label codes that need no rule."""
_USUAL: Final = {"u8/255", "u16/65535"}
_MOVED: Final = ("overlap", "warp", "ignore")
_SPLITTING: Final = re.compile(r"(?:^|, )(changed|unchanged|ignored) ")
NOT_RECORDED: Final = "not recorded"
"""Text for unknown values."""
_UNKNOWN: Final = (None, "", NOT_RECORDED)
_CLOSE: Final = 1e-7
"""Tolerance for sums of soft targets, which have nine digits."""


@dataclass(frozen=True)
class Signature:
    """A parsed signature; unknown fields are absent.

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
        """The signature of a model's row over some masks.

        Empty if its version is unknown. A mask scored in crops counts as one image.
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
        """Parse a line; fields may be absent, and the hash may be shortened.

        Line breaks, quotes and backslashes from copying are skipped.

        Raises:
            UsageError: If it is not a signature.
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
        """The fields that distinguish scores, with a short hash, for tables."""
        cut = {name: self.fields[name] for name in _SHORT if name in self.fields}
        if "labels" in cut:
            cut["labels"] = cut["labels"][:_SHORT_HASH]
        return str(Signature(cut))

    def beyond(self, other: Signature) -> list[str]:
        """Counts that another signature has and this one lacks."""
        lacking = [n for n in _FLAWS if n in other.fields and n not in self.fields]
        return lacking if "px" in self.fields else []

    def agrees(self, name: str, other: Signature) -> bool | None:
        """Whether a field agrees with another signature; None if not compared."""
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
        """The options of `cdstats.loss` that reproduce the score.

        Detected rules are not included, because other files may have other values.
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
    """A field of a signature compared with the files.

    ``agrees`` is ``yes`` or ``no``; empty for fields that are not compared.
    """

    model: str
    field: str
    stated: str
    found: str
    agrees: str


class SignatureOptions(Options, kw_only=False):
    """A line that states how a score was made."""

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
    """The threshold, with the images on which it was chosen."""
    at = f"@{row.threshold_from}" if row.threshold_from else ""
    return None if row.threshold is None else f"{row.threshold}{at}"


def _kind_text(text: str) -> str:
    """Kind of predictions, such as ``prob.f32``, ``prob.u8/255``, ``hard.2/1``."""
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
    """Options for a kind of predictions, unless it is detected."""
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
    """The changed and unchanged values of a rule, and the ignored values.

    The origin follows unless the rule was detected.
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
    """The values outside a bound such as ``>=128``."""
    return ",".join(str(one) for one in complement(parse_terms(bound)[0]) or ())


def signature_notes(rows: Iterable[Any], *, short: bool = False) -> list[str]:
    """Signatures of models' rows as footnotes; models may share a signature."""
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
