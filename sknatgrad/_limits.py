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
    # Bytes of numbers of single rows that inference and predictions hold at a time: about a core's own cache, as
    # `block_bytes`.
    row_bytes: int = 2**22
    matrix_bytes: int = 2**28
    certificate_bytes: int = 2**23
    direct_products: float = 4.5
    min_sampled_values: int = 2**18
    min_rows_per_parameter: int = 32
    sample_bytes: int = 2**28
    first_rows_bytes: int = 2**22
    program_size: int = 2**22
