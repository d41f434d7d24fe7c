from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_kong.model import layered
from twisted_kong.model.layered import Layered, copy_of


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """Mappings count as large from three entries on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layered, "LARGE", 3)
        patch.setattr(layered, "LATE", 4)
        yield


changes = st.lists(st.tuples(st.integers(0, 6), st.none() | st.text(max_size=1)), max_size=5)


def apply(mapping: MutableMapping[int, str], steps: list[tuple[int, str | None]]) -> None:
    for key, value in steps:
        if value is not None:
            mapping[key] = value
        elif key in mapping:
            del mapping[key]


@given(st.lists(changes, max_size=8))
def test_copies_are_dictionaries(history: list[list[tuple[int, str | None]]]) -> None:
    """Copy after copy has the entries that a dictionary would have, in its order, and no copy changes another."""
    now: MutableMapping[int, str] = {}
    plain: dict[int, str] = {}
    past: list[tuple[MutableMapping[int, str], dict[int, str]]] = []
    for steps in history:
        now, plain = copy_of(now), plain.copy()
        apply(now, steps)
        apply(plain, steps)
        past.append((now, plain))
    for found, expected in past:
        assert list(found) == list(expected)
        assert list(found.items()) == list(expected.items())
        assert list(found.values()) == list(expected.values())
        assert len(found) == len(expected)
        assert found == expected
        assert all(found.get(key) == expected.get(key) for key in range(7))


def test_large_ones_share() -> None:
    """A copy of a large mapping shares what was there, until much has changed."""
    base = dict.fromkeys(range(5), "a")
    first = copy_of(base)
    assert isinstance(first, Layered)
    first[9] = "b"
    second = copy_of(first)
    assert isinstance(second, Layered)
    assert second.base is base
    apply(second, [(number, "c") for number in range(4)])
    third = copy_of(second)
    assert isinstance(third, Layered)
    assert third.base is not base
    assert not third.late


def test_missing() -> None:
    """What is not there, or no more, cannot be read or deleted."""
    mapping = copy_of(dict.fromkeys(range(5), "a"))
    del mapping[1]
    for key in (1, 7):
        assert key not in mapping
        with pytest.raises(KeyError):
            mapping[key]
        with pytest.raises(KeyError):
            del mapping[key]
    assert len(mapping) == 4
