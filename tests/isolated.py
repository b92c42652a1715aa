"""For tests that run programs which must never run without isolation."""

import os

import pytest

from parrotlet.errors import UserError
from parrotlet.tools import sandbox

REQUIRED = "PARROTLET_TESTS_REQUIRE_ISOLATION"
"""If it is 1, a machine that can't isolate fails these tests instead of skipping them."""


def isolation_or_skip(patch: pytest.MonkeyPatch) -> None:
    patch.delenv(sandbox.UNISOLATED, raising=False)
    try:
        sandbox.check_isolation()
    except UserError as error:
        if os.environ.get(REQUIRED) == "1":
            raise
        pytest.skip(str(error))
