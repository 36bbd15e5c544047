"""The tests. This module is imported before `tests.kit`, whose assertions shall explain themselves too."""

import pytest

pytest.register_assert_rewrite("tests.kit")
