"""Tags that behave as in Liquid's reference where those of python-liquid do not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, TextIO, cast

from liquid import RenderContext, Tag, TokenStream
from liquid.ast import Node
from liquid.builtin.expressions.logical import (
    BooleanExpression,
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalNotExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.expressions.primitive import Blank
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.case_tag import CaseNode, CaseTag, MultiExpressionBlockNode
from liquid.builtin.tags.echo_tag import EchoNode, EchoTag
from liquid.builtin.tags.if_tag import IfNode, IfTag
from liquid.builtin.tags.unless_tag import UnlessNode, UnlessTag
from liquid.exceptions import LiquidTypeError
from liquid.expression import Expression

from .values import is_blank, is_missing, printed, same, text_of

__all__ = ["TAGS"]

_NOTHING = object()
"""Equals no value of a template."""


class _BlankTest(Expression):
    """`x == blank` or `x != blank`."""

    __slots__ = ("negated", "operand")

    def __init__(self, original: EqExpression | NeExpression) -> None:
        super().__init__(original.token)
        self.operand = original.right if isinstance(original.left, Blank) else original.left
        self.negated = isinstance(original, NeExpression)

    def evaluate(self, context: RenderContext) -> bool:
        value = self.operand.evaluate(context)
        return (isinstance(value, Blank) or is_blank(value)) != self.negated

    def children(self) -> list[Expression]:
        return [self.operand]


class _SelfIfBlank(Expression):
    """The value `blank` of `when`: the value of `case` itself, if it is blank, so that the two are equal."""

    __slots__ = ("operand",)

    def __init__(self, operand: Expression, blank: Blank) -> None:
        super().__init__(blank.token)
        self.operand = operand

    def evaluate(self, context: RenderContext) -> object:
        value = self.operand.evaluate(context)
        return value if is_blank(value) else _NOTHING

    def children(self) -> list[Expression]:
        return [self.operand]


class _Contains(ContainsExpression):
    """`x contains y`, which does not find `true` in `[1]`, and finds it in `"is true"`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if any(is_missing(value) or value is False for value in (left, right)):
            return False
        if isinstance(left, str):
            return text_of(right) in left
        if isinstance(left, list | tuple):
            return any(same(item, right) for item in left)
        hashable = isinstance(right, str | int) and not isinstance(right, bool)
        return isinstance(left, Collection) and hashable and right in left


class _Ordered(Expression):
    """A comparison by `<`, `<=`, `>` or `>=`: false unless both values are numbers or both are texts."""

    __slots__ = ("compare", "left", "right")

    def __init__(self, original: LtExpression | LeExpression | GtExpression | GeExpression) -> None:
        super().__init__(original.token)
        self.left, self.right = original.left, original.right
        self.compare = _COMPARISONS[type(original)]

    def evaluate(self, context: RenderContext) -> bool:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        kinds = _kind(left), _kind(right)
        if None in kinds:
            return False
        if kinds[0] is not kinds[1]:
            raise LiquidTypeError("a text and a number cannot be compared", token=self.token)
        return self.compare(left, right)

    def children(self) -> list[Expression]:
        return [self.left, self.right]


_COMPARISONS: Mapping[type[Expression], Callable[[Any, Any], bool]] = {
    LtExpression: operator.lt,
    LeExpression: operator.le,
    GtExpression: operator.gt,
    GeExpression: operator.ge,
}


def _kind(value: object) -> type | None:
    """Return whether a value is a text or a number; None if it is another value, such as a boolean."""
    if isinstance(value, str):
        return str
    return int if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None


def _corrected(expression: Expression) -> Expression:
    """Return a condition whose comparisons behave as in the reference. It may be the same object, changed."""
    match expression:
        case BooleanExpression():
            expression.expression = _corrected(expression.expression)
        case LogicalAndExpression() | LogicalOrExpression():
            expression.left, expression.right = _corrected(expression.left), _corrected(expression.right)
        case LogicalNotExpression():
            expression.right = _corrected(expression.right)
        case EqExpression() | NeExpression():
            if isinstance(expression.left, Blank) or isinstance(expression.right, Blank):
                return _BlankTest(expression)
        case LtExpression() | LeExpression() | GtExpression() | GeExpression():
            return _Ordered(expression)
        case ContainsExpression():
            return _Contains(expression.token, expression.left, expression.right)
    return expression


class _If(IfTag):
    def parse(self, stream: TokenStream) -> Node:
        """Parse the tag and correct its conditions."""
        node = super().parse(stream)
        if isinstance(node, IfNode):
            for condition in (node.condition, *(branch.expression for branch in node.alternatives)):
                _corrected(condition)
        return node


class _Unless(UnlessTag):
    def parse(self, stream: TokenStream) -> Node:
        """Parse the tag and correct its conditions."""
        node = super().parse(stream)
        if isinstance(node, UnlessNode):
            for condition in (node.condition, *(branch.expression for branch in node.alternatives)):
                _corrected(condition)
        return node


class _Case(CaseTag):
    """The tag `case`, in which `blank` is a value, and `when` accepts nothing after its values."""

    def parse(self, stream: TokenStream) -> Node:
        """Parse the tag and correct its comparisons."""
        node = cast("CaseNode", super().parse(stream))
        for block in node.blocks:
            if isinstance(block, MultiExpressionBlockNode):
                block.expression.expressions = [
                    _SelfIfBlank(node.expression, value) if isinstance(value, Blank) else value
                    for value in block.expression.expressions
                ]
        return node

    def _parse_when_expression(self, stream: TokenStream) -> list[Expression]:
        values = super()._parse_when_expression(stream)
        stream.expect_eos()
        return values


class _PrintedOutput(OutputNode):
    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Print the value of the expression."""
        return buffer.write(printed(self.expression.evaluate(context), html=context.autoescape))


class _PrintedEcho(EchoNode):
    __slots__ = ()
    render_to_output = _PrintedOutput.render_to_output


class _Output(Output):
    node_class = _PrintedOutput


class _Echo(EchoTag):
    node_class = _PrintedEcho


TAGS: tuple[type[Tag], ...] = (_Case, _Echo, _If, _Output, _Unless)
