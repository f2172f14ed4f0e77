"""The delta view: layers whose backward pass sends a delta through a transpose, a sum or a scatter."""

from .affine import affine as affine
from .affine import affine_unit as affine_unit
from .dropout import dropout as dropout
from .embedding_bag import embedding_bag as embedding_bag
from .embedding_bag import ragged_embedding_bag as ragged_embedding_bag
from .embedding_bag import window as window
from .normalization import batch_norm as batch_norm
from .normalization import batch_norm_running as batch_norm_running
from .normalization import layer_norm as layer_norm
from .normalization import rms_norm as rms_norm
