from __future__ import annotations

from tunnel.seldom import MOST_SUBJECTS, Seldom


def test_each_subject_is_spoken_of_once_in_a_while() -> None:
    seldom = Seldom(10)
    asked = [("a", 0.0), ("a", 9.9), ("b", 9.9), ("a", 10.0), ("a", 19.0)]
    assert [seldom.may(subject, now) for subject, now in asked] == [True, False, True, True, False]


def test_what_is_remembered_is_bounded() -> None:
    seldom = Seldom(10)
    for number in range(MOST_SUBJECTS + 1):
        assert seldom.may(number, 0.0)
    assert seldom.may(0, 1.0), "forgotten, the oldest first"
    assert not seldom.may(MOST_SUBJECTS, 1.0)
