"""Which rule to apply: given, of a preset, or to be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdstats.core.errors import UsageError
from cdstats.core.labels import LabelRule

if TYPE_CHECKING:
    from cdstats.core.presets import Preset


@dataclass(frozen=True)
class RuleChoice:
    """How values become labels in one run.

    Attributes:
        rule: The rule to apply; None when it is to be found.
        ignore: The values ignored while a rule is looked for.
        preset: The preset that the rule comes from, if any.
    """

    rule: LabelRule | None
    ignore: LabelRule
    preset: Preset | None = None

    @property
    def edges(self) -> tuple[float, ...] | None:
        """Every number that a count between edges must tell apart."""
        return tuple(sorted({*self.rule.edges, 0, 128, 255})) if self.rule else None


def choose_rule(
    changed: str | None = None,
    unchanged: str | None = None,
    ignore: str | None = None,
    preset_name: str | None = None,
) -> RuleChoice:
    """Read the rule options.

    Raises:
        UsageError: If they do not make a rule.

    Example:
        >>> str(choose_rule(changed="2", unchanged="1").rule)
        'changed 2, unchanged 1'
        >>> choose_rule(ignore="170").rule is None
        True
    """
    if preset_name is not None:
        if (changed, unchanged, ignore) != (None, None, None):
            raise UsageError(
                f"--preset {preset_name} names all values; leave out --changed, "
                "--unchanged and --ignore, or the preset"
            )
        from cdstats.core.presets import preset

        found = preset(preset_name)
        return RuleChoice(found.rule, LabelRule(), found)
    if (changed is None) != (unchanged is None) and ignore is None:
        missing, given = ("--unchanged", "--changed")
        if changed is None:
            missing, given = given, missing
        raise UsageError(
            f"{given} alone does not say what the other values are: add {missing}, "
            f"for example {missing} rest"
        )
    rule = LabelRule.parse(
        changed=changed or "", unchanged=unchanged or "", ignored=ignore or ""
    )
    if changed is None and unchanged is None:
        return RuleChoice(None, rule)
    for option, text, terms in (
        ("--changed", changed, rule.changed),
        ("--unchanged", unchanged, rule.unchanged),
    ):
        if text is not None and not terms:
            raise UsageError(f"{option} {text!r} must name a value")
    return RuleChoice(rule, LabelRule())
