"""Fixtures for tests of the Admin API."""

import pytest
from admin_api import AdminApi


@pytest.fixture
def api() -> AdminApi:
    """An Admin API with nothing in it."""
    return AdminApi()
