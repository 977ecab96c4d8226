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
    # Bytes of the numbers of single rows that are held at a time. Measured on marginal effects, White's test and
    # clusters, 10 to 100 columns: 1 to 64 MiB differ by up to three times, 1/16 MiB takes up to four times as long.
    row_bytes: int = 2**22
    matrix_bytes: int = 2**28
    certificate_bytes: int = 2**23
    direct_products: float = 4.5
    min_sampled_values: int = 2**18
    min_rows_per_parameter: int = 32
    sample_bytes: int = 2**28
    first_rows_bytes: int = 2**22
    # Numbers in the constraints of the linear program that looks for separation. One with 2**22 takes 5 to 20 s for 5
    # to 100 columns and about 3 minutes for 1,000 columns, on one core.
    program_size: int = 2**22
