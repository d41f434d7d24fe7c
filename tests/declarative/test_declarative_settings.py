"""The settings that name a document."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_kong.errors import SettingsError
from twisted_kong.settings import Settings, load

OFF = {"database": "off"}


def refusal(**given: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(None, {}, given)
    return str(caught.value)


def test_file() -> None:
    """A file is meant from the working directory."""
    assert load(None, {}, OFF | {"declarative_config": "a/kong.yml"}).declarative_config == Path.cwd() / "a/kong.yml"
    assert load(None, {"KONG_DECLARATIVE_CONFIG": "/kong.yml"}, OFF).declarative_config == Path("/kong.yml")


def test_text() -> None:
    """A document may stand in the environment, in as many lines as it takes."""
    text = "_format_version: '3.0'\nservices:\n- host: a # b"
    assert load(None, {"KONG_DECLARATIVE_CONFIG_STRING": text + "\n"}, OFF).declarative_config_string == text


def test_none() -> None:
    """There need be none, and an empty one is none."""
    assert (Settings().declarative_config, Settings().declarative_config_string) == (None, None)
    assert load(None, {}, {"declarative_config": "", "declarative_config_string": ""}) == Settings()


def test_no_database_beside_it() -> None:
    """A document is all there is: no database beside it, and no other document."""
    beside = "expected database = off beside it, got 'sqlite'"
    assert refusal(declarative_config="a.yml") == f"--declarative-config: {beside}"
    assert refusal(declarative_config_string="{}", database="sqlite") == f"--declarative-config-string: {beside}"
    both = refusal(declarative_config="a.yml", declarative_config_string="{}", **OFF)
    assert both == "--declarative-config-string: expected no value beside that of declarative_config, got one"
