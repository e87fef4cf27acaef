"""The plain call, in every way and from either side."""

from __future__ import annotations

from support.flow_table import flow
from support.stage import Stage


@flow("call-basic")
def test_the_caller_hangs_up(stage: Stage) -> None:
    """S4-3, S4-4: it rings, both hear each other, and after the BYE nothing is left."""
    talk = stage.talk()
    stage.assert_audio()
    talk.hang_up()
    stage.assert_empty()


@flow("call-basic")
def test_the_callee_hangs_up(stage: Stage) -> None:
    """T4: requests of the callee find the caller by the reversed route set, more than 32 s after the answer."""
    talk = stage.talk()
    stage.world.wait(65)
    stage.assert_audio()
    talk.hang_up(talk.callee)
    stage.assert_empty()
