"""How many cases hypothesis tries: some hundred, with HYPOTHESIS_PROFILE=long 20,000 a reader; see CONTRIBUTING.md."""

import os
from typing import Any

from hypothesis import HealthCheck, settings

# no database of failures: what is found becomes a test of its own; no deadline: a busy machine is no fault of a reader
_COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "print_blob": False,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


def load_profile() -> None:
    """Make that of the environment the one of all property tests."""
    settings.register_profile("short", max_examples=120, derandomize=True, **_COMMON)
    settings.register_profile("long", max_examples=20_000, **_COMMON)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
