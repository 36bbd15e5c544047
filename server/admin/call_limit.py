"""Limits the concurrent calls: of all callers together, and of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from ..errors import Overloaded

__all__ = ["CallLimit"]


class CallLimit:
    """Limits the concurrent calls, so that one caller cannot block the others.

    Args:
        most: The maximum number of all callers together.
        own: The maximum number of one caller.
    """

    def __init__(self, most: int, own: int) -> None:
        self._most = most
        self._own = own
        self._current: Counter[Hashable] = Counter()

    @contextmanager
    def counted(self, owner: Hashable) -> Iterator[None]:
        """Count a call during the block.

        Args:
            owner: The caller, such as an admin key or an address.

        Raises:
            Overloaded: The maximum number of calls is being served, of all callers or of this one.
        """
        if self._current.total() >= self._most:
            raise Overloaded
        if self._current[owner] >= self._own:
            raise Overloaded("Too many of your calls are in progress; nothing was done. Try again shortly.")
        self._current[owner] += 1
        try:
            yield
        finally:
            self._current[owner] -= 1
            if not self._current[owner]:
                del self._current[owner]
