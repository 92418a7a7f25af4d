"""`cdstats.verify`: whether files give the score that a signature tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdstats.core.arguments import takes
from cdstats.core.options import LossOptions
from cdstats.core.signature import CheckedField, Signature, VerifyOptions
from cdstats.io.held import as_files
from cdstats.render.table import Displayed, Table
from cdstats.score.loss import score_predictions

if TYPE_CHECKING:
    from cdstats.core.errors import Message
    from cdstats.score.results import LossRun


@dataclass(frozen=True, repr=False)
class Verification(Displayed):
    """What `verify` found.

    Attributes:
        fields: Every field of the signature, for each model.
        run: The scores of the files, with the threshold and rule of the signature.
        messages: Notes, warnings and errors.
    """

    fields: tuple[CheckedField, ...]
    run: LossRun
    messages: tuple[Message, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether every field that is compared agrees, for every model."""
        return bool(self.fields) and all(one.agrees != "no" for one in self.fields)

    def table(self) -> Table:
        """The fields, as the command shows them."""
        return Table.of(CheckedField, self.fields)


@takes(VerifyOptions, as_files)
def verify(options: VerifyOptions) -> Verification:
    """Check whether predictions and masks give the signature of a score.

    They are scored as by `cdstats.loss` with the threshold, rule, kind and grid of the
    signature, except for arguments that are given. A rule that was found from the masks
    is found again. The version is told and not compared; fields that the line lacks are
    not compared.

    Returns:
        The fields of the signature beside those of the files.

    Raises:
        UsageError: If the line is no signature, or an option is not understood.
        DataError: If nothing pairs, or what the predictions are is refused.
    """
    return verify_signature(options)


def verify_signature(options: VerifyOptions) -> Verification:
    """What `verify` gives, from its options."""
    stated = Signature.parse(options.line or "")
    run = score_predictions(LossOptions.of(options, **_of_line(stated, options)))
    fields = []
    for row in (one.dataset for one in run.models):
        found = Signature.parse(row.signature)
        for name in (*stated.fields, *stated.beyond(found)):
            agrees = stated.agrees(name, found)
            fields.append(
                CheckedField(
                    row.model,
                    name,
                    stated.fields.get(name, ""),
                    found.fields.get(name, ""),
                    "" if agrees is None else "yes" if agrees else "no",
                )
            )
    return Verification(tuple(fields), run, run.messages)


def _of_line(stated: Signature, options: VerifyOptions) -> dict[str, Any]:
    """The options of a signature, but for those that were given."""
    given = {n for n, v in vars(options).items() if v != options.declared[n].default}
    rule = {"changed", "unchanged", "ignore", "preset"}
    if given & rule:
        given |= rule
    return {n: v for n, v in stated.options.items() if n not in given}
