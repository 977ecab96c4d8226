"""Sizes and costs at which a computation is cut in parts, or another method is taken."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Budgets of one fit or one inference, handed down to whatever keeps within them.

    More fields than other records have: each is one number, all have defaults, and whoever hands them down need not
    know which of them matter below.
    """

    block_bytes: int = 2**22
    min_block_rows: int = 256
    row_bytes: int = 2**22
    # bytes of one (qd)² matrix of float64, that is 5,793 parameters; a direct solve holds four at a time
    matrix_bytes: int = 2**28
    # the same for the Newton decrement of a metric that asks for no such matrix, that is 1,024 parameters
    certificate_bytes: int = 2**23
    # F is computed as a matrix at every point if that costs at most so many products (about 60 columns of two classes)
    direct_products: float = 4.5
    # values of X below which no subsample is solved first: with 2^16 a fit takes longer (5,000 x 10: 2.1 ms, 1.7
    # without), with 2^18 about as long (25,000 x 10: 5.0 ms, 6.8 without; 12,000 x 20: 4.9, 3.7)
    min_sampled_values: int = 2**18
    # rows for each parameter that a subsample has at least; 16 and 64 take as long as 32 at 25,000 x 10
    min_rows_per_parameter: int = 32
    # bytes of a subsample of rows that are read in batches or from a memory map
    sample_bytes: int = 2**28
    first_rows_bytes: int = 2**22
    program_size: int = 2**22
    # bytes of a matrix that only preconditions, that is 2,048 parameters: correlated 4,000 x 1,000 takes 0.5 s with it,
    # 1.1 without; 5,000 x 2,500, which is above, would take 25 s with it and takes 16 without
    preconditioner_bytes: int = 2**25
    # bytes of the sample that workers send to the client: a pass over a sample that stays in 16 chunks takes 40 ms, and
    # there are a dozen (10⁶ x 20 takes 1.5 s so, 0.7 with the sample sent)
    sent_sample_bytes: int = 2**23
    # Share of the statistical error of the coefficients to which a batch of a stream is solved, the error of the whole
    # stream being meant: solved to a share of the batch's own error, the squared error at the end is 9 % larger.
    batch_error_share: float = 0.005
