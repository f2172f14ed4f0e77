"""A program over finite fields: no rounding, so that two formulas are one function or they are not."""

from .evaluate import Unknown as Unknown
from .evaluate import has_exponentials as has_exponentials
from .evaluate import in_finite_field as in_finite_field
from .field import Draw as Draw
from .field import Field as Field
from .field import Numbers as Numbers
from .field import OtherDraw as OtherDraw
from .primitives import Refused as Refused
