"""The SVG as PDF or PNG, for slides and papers; by cairosvg, an optional package."""

from typing import Any


def to_pdf(svg: str) -> bytes:
    """A PDF of one page, of the drawing's size."""
    return _cairosvg().svg2pdf(bytestring=svg.encode())


def to_png(svg: str, scale: float) -> bytes:
    """A PNG, `scale` pixels for each unit of the drawing."""
    return _cairosvg().svg2png(bytestring=svg.encode(), scale=scale)


def _cairosvg() -> Any:
    try:
        import cairosvg
    except (ImportError, OSError) as error:  # OSError: the package without the library cairo
        raise ImportError(f"PDF and PNG need cairosvg: pip install 'jaxbackprop[pictures]' ({error}).") from None
    return cairosvg
