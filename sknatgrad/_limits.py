"""Sizes and costs at which a computation is divided into parts, or another method is chosen."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Budgets of one fit or one inference, handed down to the code that respects them.

    It has more fields than other records, because each is one number with a default, and code that hands them down
    need not know which of them its callees use.
    """

    # Bytes of a block of rows and its temporaries: twice a core's own cache. Smaller blocks cost more to schedule than
    # they gain. 20,000 x 1,000, a product F v: 10.3 ms in blocks of 2 MiB, 5.8 in 4, 6.5 in 8 (1/8 to 32 MiB measured).
    block_bytes: int = 2**22
    # Rows of a block at least: each block also costs calls of Python and a merge of its (d, d) sums. 4,000 x 4,000 in
    # blocks of 125, 250, 500 rows: a gradient 16, 17, 17 ms, a matrix 5.8, 3.7, 2.8 s.
    min_block_rows: int = 256
    # Bytes of the numbers of single rows that exist at a time. Measured on marginal effects, White's test and clusters,
    # 10 to 100 columns: 1 to 64 MiB differ by up to three times, 1/16 MiB takes up to four times as long.
    row_bytes: int = 2**22
    # Bytes of one (qd, qd) matrix of float64: 256 MiB, qd of 5,792. A direct solve holds four of them at a time.
    matrix_bytes: int = 2**28
    # The same for the Newton decrement of a metric that asks for no such matrix: qd of 1,024.
    decrement_bytes: int = 2**23
    # Products F v that F as a matrix may cost for it to be computed at every point: reached at d of about 60.
    direct_products: float = 4.5
    # Values of X, times q, from which a fit starts at the optimum of a subsample. 10,000 x 20 takes 4.7 ms with one and
    # 3.7 without, 20,000 x 10 4.9 and 3.8; 20,000 x 20 6.9 and 6.2 of normal columns, 7.5 and 9.8 with strong effects.
    min_sampled_values: int = 2**18
    # Rows for each parameter that a subsample has at least; 16 and 64 take as long as 32 at 25,000 x 10.
    min_rows_per_parameter: int = 32
    # Bytes of a subsample of rows that are read in batches or from a memory map: 256 MiB.
    sample_bytes: int = 2**28
    # Bytes of the first rows of `partial_fit` that are stored and fitted together. A quadratic approximation is only as
    # accurate as the point at which it is computed: from batches of 100 alone, 20,000 rows and strong effects, the
    # squared error of the coefficients was 1.5 times that of a fit to all rows.
    first_rows_bytes: int = 2**22
    # The first rows are solved for again once there are this many times as many: the rows of all solves then add up to
    # at most 11 times those of the last one, a geometric series, however small the batches are.
    first_rows_growth: float = 1.1
    # Numbers in the constraints of the linear program that looks for separation. One with 2**22 takes 5 to 20 s for 5
    # to 100 columns and about 3 minutes for 1,000 columns, on one core.
    program_size: int = 2**22
    # The same at the end of a fit without a penalty: a program with 2**19 takes up to 2 s, with 256 coefficients.
    fit_program_size: int = 2**19
    # Bytes of a matrix that only preconditions: qd of 2,048. Correlated 4,000 x 1,000 takes 0.5 s with it, 1.1
    # without; 5,000 x 2,500, which is above, would take 25 s with it and takes 16 without.
    preconditioner_bytes: int = 2**25
    # Bytes of the sample that Dask workers send to the client. A pass over a sample that stays in 16 chunks takes 40
    # ms, and there are a dozen: 10⁶ x 20 takes 1.5 s then, and 0.7 with the sample sent.
    sent_sample_bytes: int = 2**23
    # Accuracy to which a batch of a stream is solved, as a share of the statistical error of the coefficients from the
    # whole stream. With a share of the error from the batch alone, the final squared error is 9 % larger.
    batch_error_share: float = 0.005
    # Ratio of a column's median to its typical deviation above which the column is centred. Standard errors of 2,000 x
    # 5, uncentred: relative errors of 6e-11 at a ratio of 345, 2e-9 at 3,450 and 7e-8 at 34,500. Centring 300,000 x 20
    # adds 5 % to a pass.
    far_ratio: float = 100.0
