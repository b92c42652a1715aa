"""The calculator: exact arithmetic, and counting in a text, on expressions that a model wrote.

Nothing is ever evaluated by Python. A text passes three gates: known tokens only, of a bounded number;
Python's parser, which makes a tree of them; our walk over that tree, which knows a few nodes and bounds every
value. So a call takes milliseconds, in whatever thread, and needs no time-out.
"""

from __future__ import annotations

import ast
import decimal
import operator
import re
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction

from .errors import ToolError

MAX_LENGTH = 10_000
"""Characters of an expression."""
MAX_TOKENS = 400
"""Numbers, operators, parentheses and texts of an expression."""
MAX_DEPTH = 50
"""Parentheses open at a time."""
MAX_DIGITS = 100
"""Digits before the point, of a number that is read or written; zeros after it, too."""
MAX_EXPONENT = 1_000
"""Of ten, in a value on the way to the result."""
MAX_BITS = 4_096
"""Of the numerator and the denominator of an exact value on the way to the result."""
DECIMALS = 10
"""Digits after the point to which a result is rounded; zeros that a small one starts with don't count."""

UNKNOWN = "not an expression that the calculator knows"

_PARSER = threading.Lock()
"""Python's parser counts its depth in one place for all threads and fails if two of them take turns in it."""

_TOKEN = re.compile(
    r"""
    (?P<token>
        (?P<number> [1-9][0-9]{0,2} (?:,[0-9]{3})+ (?![0-9,]) (?:\.[0-9]*)?    # 1,234.5
                  | [0-9]+ (?:\.[0-9]*)? | \.[0-9]+ )
      | \*\* | // | [-+*/%()]
      | \.count (?= \( )
      | (?: ' (?: [^'\\\x00-\x1f] | \\[\\'"] )* '
          | " (?: [^"\\\x00-\x1f] | \\[\\'"] )* " ) (?! [ ]* ['"] )      # Python would join two
    )
    [ ]*
    """,
    re.VERBOSE,
)

_EXACT: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def calculate(expression: str) -> str:
    """The value of `expression`, written as the training text writes it: `10/2` is `5`, `0.1+0.2` is `0.3`.

    Knows `+ - * / // % **`, signs, parentheses, decimals, `1,000` and `'text'.count('x')`. The arithmetic is
    exact; the result is rounded, half away from zero, to ten decimals (`1/3` is `0.3333333333`).

    Raises `ToolError` for everything else, and for what is too large, too small, too long or has no value.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolError("too long")
    source = " ".join(_tokens(expression.strip()))
    try:
        with _PARSER:
            tree = ast.parse(source, mode="eval")
        return _written(_value(tree.body, source.encode()))
    except (SyntaxError, ValueError) as error:
        raise ToolError(UNKNOWN) from error
    except ZeroDivisionError as error:
        raise ToolError("division by zero") from error
    except (RecursionError, MemoryError) as error:  # the caller left little of the stack
        raise ToolError("nested too deeply") from error


def _tokens(expression: str) -> Iterator[str]:
    """The tokens, numbers without separators and leading zeros; raises `ToolError` at anything else."""
    position = depth = count = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise ToolError(UNKNOWN)
        position, token = match.end(), match["token"]
        count += 1
        depth += (token == "(") - (token == ")")
        if count > MAX_TOKENS:
            raise ToolError("too long")
        if depth > MAX_DEPTH:
            raise ToolError("nested too deeply")
        yield _plain_number(token) if match["number"] else token


def _plain_number(token: str) -> str:
    if len(token) > MAX_DIGITS:
        raise ToolError("too large")
    plain = token.replace(",", "").lstrip("0")
    return plain if plain[:1].isdigit() else f"0{plain}"


def _value(node: ast.expr, source: bytes) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            # From the text, since Python has made a float of a decimal. Offsets count bytes.
            return Fraction(source[node.col_offset : node.end_col_offset].decode())
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, source)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, source)
        case ast.BinOp(left=left, op=op, right=right):
            return _applied(op, _value(left, source), _value(right, source))
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str() as text), attr="count"),
            args=[ast.Constant(value=str() as part)],
        ):
            return Fraction(text.count(part))
    raise ToolError(UNKNOWN)


def _applied(op: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    value = _power(left, right) if isinstance(op, ast.Pow) else Fraction(_EXACT[type(op)](left, right))
    if _bits(value) > MAX_BITS:
        raise ToolError("too large")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    least_bits = (_bits(base) - 1) * abs(exponent)
    if exponent.denominator == 1 and least_bits <= MAX_BITS:
        return Fraction(base**exponent.numerator)
    if exponent.denominator != 1 and base < 0:
        raise ToolError("not a real number")
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    return _rounded_power(base, exponent)


def _rounded_power(base: Fraction, exponent: Fraction) -> Fraction:
    """For a result that is irrational or has too many digits: to more of them than are ever written."""
    traps = [decimal.Overflow, decimal.Underflow]
    context = decimal.Context(prec=2 * MAX_DIGITS, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT, traps=traps)
    try:
        return Fraction(context.power(_decimal(base, context), _decimal(exponent, context)))
    except decimal.Overflow as error:
        raise ToolError("too large") from error
    except decimal.Underflow as error:
        raise ToolError("too small") from error


def _decimal(value: Fraction, context: decimal.Context) -> decimal.Decimal:
    return context.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator))


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _written(value: Fraction) -> str:
    size = abs(value)
    zeros = len(str(int(1 / size))) - 1 if 0 < size < 1 else 0
    if size >= 10**MAX_DIGITS:
        raise ToolError("too large")
    if zeros > MAX_DIGITS:
        raise ToolError("too small")
    decimals = DECIMALS + zeros
    scaled = int(size * 10**decimals + Fraction(1, 2))
    whole, rest = divmod(scaled, 10**decimals)
    text = f"{whole}.{rest:0{decimals}d}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text
