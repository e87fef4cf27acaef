"""The pages that are made from the tests: what is read from a test, and that no cell of a promised flow is empty."""

from __future__ import annotations

import pytest
from support import flow_pages
from support.flow_table import CALLERS, FLOWS, NO_SENSE, WAYS

SOURCE = '''
pytestmark = [pytest.mark.field, pytest.mark.real("video", "sipp")]

@flow("t38", ways="AC", callers=["outside"], basic=True)
@pytest.mark.parametrize("n", [1, 2])
def test_one(stage):
    """T16, 3-#8: held."""

@pytest.mark.real("hold-zero", "hold-inactive", "baresip")
async def test_two():
    """No rule of its own: just so."""

def helper():
    """T1: no test."""
'''


def test_what_is_read_from_a_file() -> None:
    one, two = flow_pages.told_by(SOURCE, "field/test_x.py")
    assert (one.name, one.ids, one.real) == ("test_one", ("T16", "3-#8"), ("video",))
    assert one.cells == (("t38", "A", "outside"), ("t38", "C", "outside"))
    assert (two.name, two.ids, two.cells) == ("test_two", (), ())
    assert two.real == ("video", "hold-zero", "hold-inactive")
    assert (one.clients, two.clients) == (("sipp",), ("sipp", "baresip"))


@pytest.mark.parametrize(
    ("docstring", "ids"),
    [
        ("J, K, S4-22, DEC3, 3-#13, T4, A10: x", ("J", "K", "S4-22", "DEC3", "3-#13", "T4", "A10")),
        ("E: y", ("E",)),
        ("A call that ends: z", ()),
        ("T4 is shown", ()),
        ("RFC 3261: section", ()),
        ("", ()),
    ],
)
def test_ids_at_the_start_of_a_docstring(docstring: str, ids: tuple[str, ...]) -> None:
    assert flow_pages.ids_of(docstring) == ids


def test_a_flow_that_nobody_promised_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no flow"):
        list(flow_pages.told_by('@pytest.mark.real("holding")\ndef test_x(): pass', "test_x.py"))


def test_every_cell_of_every_flow_has_a_test_or_a_reason() -> None:
    shown = {cell for test in flow_pages.told() for cell in test.cells}
    promised = {(flow, way, caller) for flow in FLOWS for way in WAYS for caller in CALLERS}
    assert shown <= promised
    assert promised - shown == set(NO_SENSE)


def test_the_pages_are_the_same_whenever_they_are_made() -> None:
    for page in flow_pages.FILES.values():
        assert page() == page()
