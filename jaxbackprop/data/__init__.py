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
from .lines import Texts as Texts
from .lines import read_lines as read_lines
from .lines import read_text_csv as read_text_csv
from .lines import read_tokens as read_tokens
from .sources import BUILT_IN as BUILT_IN
from .sources import DataSet as DataSet
from .sources import load as load
from .tokens import Tokens as Tokens
from .tokens import tokenise as tokenise
from .vocabulary import Vocabulary as Vocabulary
