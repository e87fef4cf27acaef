"""The order of SRV records."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tunnel.sip.srv_order import SrvRecord, srv_order

RECORDS = st.lists(st.builds(SrvRecord, st.integers(0, 3), st.integers(0, 65535), st.just(5060), st.text("abc")))


def test_lower_priority_comes_first_whatever_the_weight() -> None:
    backup = SrvRecord(20, 65535, 5060, "backup")
    main = SrvRecord(10, 0, 5060, "main")
    assert srv_order([backup, main], lambda n: n - 1) == [main, backup]


def test_weights_are_the_share_of_being_first() -> None:
    heavy, light = SrvRecord(1, 75, 5060, "heavy"), SrvRecord(1, 25, 5060, "light")
    dice = random.Random(7)
    firsts = [srv_order([light, heavy], dice.randrange)[0] for _ in range(2000)]
    assert 1400 < firsts.count(heavy) < 1600


def test_weight_zero_is_rarely_first_beside_others() -> None:
    zero, heavy = SrvRecord(1, 0, 5060, "zero"), SrvRecord(1, 99, 5060, "heavy")
    dice = random.Random(7)
    firsts = [srv_order([heavy, zero], dice.randrange)[0] for _ in range(2000)]
    assert 0 < firsts.count(zero) < 60


@given(RECORDS, st.randoms())
def test_every_record_is_there_once(records: list[SrvRecord], dice: random.Random) -> None:
    ordered = srv_order(records, dice.randrange)
    assert sorted(ordered, key=repr) == sorted(records, key=repr)
    assert [record.priority for record in ordered] == sorted(record.priority for record in records)
