"""What the sessions of one face share: who is known as a registrar, and for how long that is remembered."""

from __future__ import annotations

from tunnel.sip.face_index import SWEEP_S, FaceIndex


def test_registrars_where_nobody_is_registered_any_more_go() -> None:
    """F2: each counts to the second; what has run out is swept out now and then, not with each of many refreshes."""
    index = FaceIndex()
    index.note_registrar("203.0.113.20", 1, 60.0, 0.0, "a.example")
    index.note_registrar("203.0.113.21", 2, 3600.0, 59.0, "b.example")
    assert index.is_registrar("203.0.113.20", 1, 59.0)
    assert index.is_home("a.example", 1, 59.0)
    assert not index.is_registrar("203.0.113.20", 1, 60.0)
    assert not index.is_home("a.example", 1, 60.0)
    index.note_registrar("203.0.113.21", 2, 3600.0, 60.0 + SWEEP_S, "b.example")
    assert set(index.registrars) == {"203.0.113.21"}
    assert set(index.homes) == {"b.example"}
