"""A dataset with cold items."""

from typing import Any

import pytest

from data_loader import Dataset, load_dataset


@pytest.fixture
def cold(config: dict[str, Any]) -> tuple[dict[str, Any], Dataset]:
    """A config and its dataset in which nearly a third of the items have no train pair."""
    config = {**config, "cold_item_ratio": 0.3, "fusion_mode": "sum", "num_layers": 2, "batch_size": 16}
    return config, load_dataset(config)
