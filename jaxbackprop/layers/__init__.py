"""The delta view: layers that turn the error signal at their output into the one at their input."""

from .affine import affine as affine
from .affine import affine_unit as affine_unit
from .attention import attention as attention
from .batch_norm_unit import batch_norm_unit as batch_norm_unit
from .dropout import dropout as dropout
from .embedding_bag import embedding_bag as embedding_bag
from .embedding_bag import ragged_embedding_bag as ragged_embedding_bag
from .embedding_bag import window as window
from .hashed_dropout import affine_unit_dropout as affine_unit_dropout
from .hashed_dropout import hashed_dropout as hashed_dropout
from .normalization import batch_norm as batch_norm
from .normalization import batch_norm_running as batch_norm_running
from .normalization import layer_norm as layer_norm
from .normalization import rms_norm as rms_norm
from .normalization import rms_norm_residual as rms_norm_residual
from .recurrent import gru as gru
from .recurrent import lstm as lstm
from .recurrent import rnn as rnn
from .residual import residual_block as residual_block
from .rotary import rotary as rotary
