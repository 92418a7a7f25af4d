"""Which failure is the first, though results come in any order."""

from __future__ import annotations


class FirstFailure:
    """Tells of the first failure by place, once nothing before it is still to come.

    So a run that stops at a failure names the same one however many work on it.

    Args:
        number: Places in all.

    Example:
        >>> first = FirstFailure(4)
        >>> first.see(2, "c fails"), first.see(0), first.see(3, "d fails")
        (None, None, None)
        >>> first.see(1)
        'c fails'
    """

    def __init__(self, number: int) -> None:
        self._seen = bytearray(number)
        self._place = number
        self._failure: str | None = None

    def see(self, place: int, failure: str | None = None) -> str | None:
        """Note what became of a place.

        Args:
            place: The place.
            failure: How it failed; None if it did not.

        Returns:
            The first failure, if every place before it is noted.
        """
        self._seen[place] = 1
        if failure is not None and place < self._place:
            self._place, self._failure = place, failure
        if self._failure is None or self._seen.find(0, 0, self._place) >= 0:
            return None
        return self._failure
