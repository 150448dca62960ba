"""Numbers as people read them."""

import math
from typing import Final

_STEP: Final = 1000.0
_FEW: Final = 100.0


def number_text(value: float) -> str:
    """Three significant digits, without an exponent where none is needed."""
    if not math.isfinite(value):
        return "no number" if math.isnan(value) else str(value)
    if abs(value) >= _STEP:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent_text(value: float) -> str:
    """A share as percent, one digit after the point, without the sign."""
    return f"{100 * value:.1f}"


def count_text(value: float) -> str:
    """A whole number with thousands apart."""
    return f"{value:,.0f}"


def bytes_text(value: float) -> str:
    """Bytes in decimal units: 1 kB is 1,000 bytes."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < _STEP:
            break
        value, unit = value / _STEP, larger
    digits = 0 if unit == "B" or value >= _FEW else 1
    return f"{value:.{digits}f} {unit}"
