"""Floor 4: reports and sets of figures, which join masks and scores.

This package can be called: `cdstats.report(...)` is `cdstats.write_report(...)`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Write a report; see `cdstats.write_report`."""
        import cdstats

        return cdstats.write_report(*arguments, **options)


sys.modules[__name__].__class__ = _Package
