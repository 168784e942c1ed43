"""A Dataset with pairs in every part, warm and cold."""

import numpy as np

from data_loader import Dataset
from tests.helpers.data import dataset_of
from tests.helpers.rankings import distinct_scores, to_csr


def parted_data() -> tuple[np.ndarray, Dataset]:
    """Return scores and a Dataset with pairs in every part.

    Users have 0, 5, 6, 20, 21, 50, 51 or a random number of train rows, the last ten no test row. The last twenty
    titles have no history: five are cold_valid, five cold_test, the others lost what they had to valid and test.
    """
    rng = np.random.default_rng(11)
    n_users, n_items = 60, 120
    train = np.zeros((n_users, n_items))
    sizes = [0, 5, 6, 20, 21, 50, 51] + rng.integers(0, 70, size=n_users - 7).tolist()
    for user, size in enumerate(sizes):
        train[user, rng.permutation(100)[:size]] = 1
    drawn = rng.integers(1, 10, size=(n_users, n_items)) * (train == 0)
    place = np.arange(n_items)
    parts = {
        "cold_valid": (drawn < 3) & (place >= 100) & (place < 105),
        "excluded": drawn == 3,
        "cold_test": (drawn < 3) & (place >= 105) & (place < 110),
    }
    free = (place < 100) | (place >= 110)
    parts |= {"valid": (drawn == 1) & free, "test": (drawn == 2) & free & (np.arange(n_users) < 50)[:, None]}
    dataset = dataset_of(to_csr(train), **{name: to_csr(part * (drawn > 0)) for name, part in parts.items()})
    assert is_cold(dataset).nonzero()[0].tolist() == list(range(100, 120))
    return distinct_scores(rng, n_users, n_items), dataset


def is_cold(dataset: Dataset) -> np.ndarray:
    return dataset.train.toarray().sum(axis=0) == 0


def warm_part(dataset: Dataset, part: str) -> np.ndarray:
    return getattr(dataset, part).toarray() * ~is_cold(dataset)
