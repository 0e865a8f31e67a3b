"""The operations that are verified, a row each, on the pages of this folder. Public API only."""

from lab.prove.operations.activations import ACTIVATIONS
from lab.prove.operations.binary import BINARY
from lab.prove.operations.convolution import CONVOLUTION
from lab.prove.operations.elementwise import ELEMENTWISE
from lab.prove.operations.indexing import INDEXING, RANDOM
from lab.prove.operations.linear_algebra import LINEAR_ALGEBRA
from lab.prove.operations.losses import LOSSES
from lab.prove.operations.normalisation import NORMALISATION
from lab.prove.operations.products import PRODUCTS
from lab.prove.operations.recurrent import RECURRENT
from lab.prove.operations.reductions import REDUCTIONS

OPERATIONS = (
    *ELEMENTWISE,
    *ACTIVATIONS,
    *BINARY,
    *REDUCTIONS,
    *PRODUCTS,
    *CONVOLUTION,
    *NORMALISATION,
    *LOSSES,
    *INDEXING,
    *RANDOM,
    *LINEAR_ALGEBRA,
    *RECURRENT,
)
