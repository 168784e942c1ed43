"""The tests, by the rooms of what they test; what several need is in helpers/."""

import pytest

pytest.register_assert_rewrite("tests.helpers")
