"""Files become arrays: what is trained and tested on, read, checked, numbered.

Nothing here knows a model. The one public door for a name or a path is `load`.
"""

from .arrays import Examples as Examples
from .arrays import examples as examples
from .bags import Bags as Bags
from .bags import pad as pad
from .downloads import DOWNLOADS as DOWNLOADS
from .downloads import get as get
from .errors import DataError as DataError
from .labelled_text import Texts as Texts
from .labelled_text import read_lines as read_lines
from .labelled_text import read_text_csv as read_text_csv
from .labelled_text import read_tokens as read_tokens
from .sources import BUILT_IN as BUILT_IN
from .sources import DataSet as DataSet
from .sources import load as load
from .tokens import Tokens as Tokens
from .tokens import tokenise as tokenise
