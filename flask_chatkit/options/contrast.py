"""Which of black and white can be read on a colour, as WCAG 2 measures contrast."""

from __future__ import annotations

#: The contrast ratio that WCAG 2 asks of text at level AA.
AA = 4.5


def on_colour(value: str) -> str | None:
    """Black or white, whichever has more contrast; None unless the colour is in hexadecimal."""
    luminance = _luminance(value)
    if luminance is None:
        return None
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"


def ink_on(accent: str) -> str | None:
    """White where it can be read, as buttons have it, else black; None as for on_colour."""
    luminance = _luminance(accent)
    if luminance is None:
        return None
    return "#ffffff" if 1.05 / (luminance + 0.05) >= AA else "#000000"


def _luminance(value: str) -> float | None:
    """The relative luminance of a hexadecimal colour without transparency, from 0 to 1."""
    digits = value.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    if not value.startswith("#") or len(digits) != 6:
        return None
    channels = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
