"""A sparse matrix times a dense one: the product is scipy's."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from runtime import sparse_products
from runtime.sparse_products import times_dense


@pytest.mark.parametrize("columns", [1, 4, 128])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("share", [0.4, 0.05])
def test_it_is_the_product_of_scipy(columns: int, dtype: type, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_products, "COLUMNS", columns)
    rng = np.random.default_rng(0)
    filled = rng.integers(-3, 4, (9, 7)) * (rng.random((9, 7)) < share)
    filled[[0, 4]] = 0  # users without a title
    rows = sp.csr_matrix(filled, dtype=dtype)
    dense = torch.from_numpy(rng.normal(size=(10, 7)).astype(np.float32)).T  # not contiguous
    assert (rows.nnz < 7) == (share < 0.4)  # few values are multiplied by scipy itself
    found = times_dense(rows, dense)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, rows.toarray() @ dense.numpy(), rtol=1e-5, atol=1e-6)
    assert not found[[0, 4]].any()


def test_of_nothing_it_is_nothing() -> None:
    assert times_dense(sp.csr_matrix((0, 3), dtype=np.float32), torch.ones(3, 2)).shape == (0, 2)
    assert times_dense(sp.csr_matrix((2, 3), dtype=np.float32), torch.ones(3, 2)).tolist() == [[0, 0], [0, 0]]
