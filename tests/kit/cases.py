"""Many quick cases in one test: every case that fails is named, and none hides another.

A separate test costs 6 ms of CPU before it does anything: each worker collects it, and it is reported three
times. Tables with dozens of cases that take less than that are therefore one test.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeAlias

import pytest

__all__ = ["each_case"]

_Test: TypeAlias = Callable[..., Any]
_Ids: TypeAlias = Callable[[Any], str] | Iterable[object] | None
_LONGEST_NAME = 100  # characters


def each_case(
    names: str | Iterable[str],
    rows: Iterable[Any],
    *,
    ids: _Ids = None,
) -> Callable[[_Test], _Test]:
    """Run a test for each row of a table, with the arguments of `pytest.mark.parametrize`, as one test.

    Fixtures are set up once for all rows, so those with a function's scope must not matter to the test.

    Args:
        names: The test's arguments that a row gives values to.
        rows: One value for each name, or the value itself if there is one name.
        ids: The names of the rows, or a function that returns the name of a row's only value.
    """
    fields = [one.strip() for one in names.split(",")] if isinstance(names, str) else list(names)
    cases = dict(_named(fields, list(rows), ids))

    def decorate(test: _Test) -> _Test:
        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name not in fields]

        @wraps(test)
        async def run_async(**fixtures: Any) -> None:
            failures = _Failures(len(cases))
            for name, case in cases.items():
                with failures.collected(name):
                    await test(**fixtures, **case)
            failures.report()

        @wraps(test)
        def run(**fixtures: Any) -> None:
            failures = _Failures(len(cases))
            for name, case in cases.items():
                with failures.collected(name):
                    test(**fixtures, **case)
            failures.report()

        made = run_async if inspect.iscoroutinefunction(test) else run
        vars(made)["__signature__"] = signature.replace(parameters=others)
        return made

    return decorate


class _Failures:
    """The cases of a test that failed."""

    def __init__(self, cases: int) -> None:
        self._cases = cases
        self._texts: list[str] = []

    @contextmanager
    def collected(self, name: str) -> Iterator[None]:
        """Note the failure of the block under a name."""
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            trace = error.__traceback__
            while trace and trace.tb_frame.f_code.co_filename == __file__:
                trace = trace.tb_next  # the test itself comes next
            text = "".join(traceback.format_exception(type(error), error, trace))
            self._texts.append(f"---- {name} ----\n{text}")

    def report(self) -> None:
        """Fail if a case has failed."""
        __tracebackhide__ = True
        if self._texts:
            whole = "\n".join(self._texts)
            raise AssertionError(f"{len(self._texts)} of {self._cases} cases failed\n{whole}")


def _named(fields: list[str], rows: list[Any], ids: _Ids) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name the rows, each differently."""
    assert rows, "a test without cases shows nothing"
    given = iter(()) if ids is None or callable(ids) else iter(ids)
    for number, row in enumerate(rows):
        name = next(given, None)
        values = (row,) if len(fields) == 1 else tuple(row)
        assert len(values) == len(fields), f"{fields} have other values than {row!r}"
        if name is None:
            name = ids(row) if callable(ids) else "-".join(map(_shown, values))
        yield f"{number}: {name}", dict(zip(fields, values, strict=True))


def _shown(value: object) -> str:
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
