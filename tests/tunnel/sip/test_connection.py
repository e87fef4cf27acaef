"""Stream connections on loopback: framing, limits, and peers that are slow, silent or hostile."""

from __future__ import annotations

import pytest
import trio
from support.face_sockets import FaceSockets, eventually, face_sockets, options

from tunnel.address import Address
from tunnel.sip.listener import StreamLimits

BIG = options(9, padding=50_000)


async def _closed(stream: trio.abc.Stream, within_s: float = 3.0) -> bool:
    """Whether the other end closes ``stream`` in time, whatever it says before."""
    with trio.move_on_after(within_s):
        try:
            while await stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            pass
        return True
    return False


async def _serves(face: FaceSockets) -> None:
    """The face still takes a message from somebody else, promptly."""
    async with await face.connect() as phone:
        await phone.send_all(options(777))
        await eventually(lambda: any(data == options(777) for data, _ in face.delivered), 1.0)


class TestMessages:
    async def test_each_has_the_flow_of_its_connection_and_answers_return_on_it(self) -> None:
        async with face_sockets("tcp") as face, await face.connect() as one, await face.connect() as two:
            await one.send_all(options(1))
            await two.send_all(options(2))
            await eventually(lambda: len(face.delivered) == 2)
            flows = {data: flow for data, flow in face.delivered}
            assert flows[options(1)].connection != flows[options(2)].connection
            assert flows[options(1)].remote == Address(*one.socket.getsockname())
            face.listeners.send(b"to one", flows[options(1)])
            face.listeners.send(b"to two", flows[options(2)])
            assert (await one.receive_some(100), await two.receive_some(100)) == (b"to one", b"to two")

    async def test_they_arrive_whole_however_they_are_cut(self) -> None:
        async with face_sockets("tcp") as face, await face.connect() as phone:
            stream = options(1) + b"\r\n" + options(2) + BIG
            for start in range(0, len(stream), 997):
                await phone.send_all(stream[start : start + 997])
            await eventually(lambda: len(face.delivered) == 3)
            assert [data for data, _ in face.delivered] == [options(1), options(2), BIG]

    async def test_a_double_crlf_is_answered_by_a_single_one(self) -> None:
        async with face_sockets("tcp") as face, await face.connect() as phone:
            await phone.send_all(b"\r\n\r\n")
            assert await phone.receive_some(100) == b"\r\n"

    async def test_order_is_kept_when_much_is_sent_at_once(self) -> None:
        async with face_sockets("tcp") as face, await face.connect() as phone:
            await phone.send_all(options())
            await eventually(lambda: face.delivered)
            for number in range(200):
                face.listeners.send(b"%04d" % number, face.delivered[0][1])
            received = b""
            while len(received) < 800:
                received += await phone.receive_some(4096)
            assert received == b"".join(b"%04d" % number for number in range(200))


class TestBadPeers:
    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            options().replace(b"Content-Length: 0", b"Content-Length: 99999999"),
            b"A" * 70_000,
        ],
        ids=["TLS hello on a plain port", "promises too much", "headers without end"],
    )
    async def test_junk_closes_its_own_connection_only(self, data: bytes) -> None:
        async with face_sockets("tcp") as face, await face.connect() as bad, await face.connect() as good:
            await bad.send_all(data)
            assert await _closed(bad)
            await good.send_all(options())
            await eventually(lambda: face.delivered and face.listeners.open_connections == 1)
            assert face.counters["sip.stream.junk"] == 1
            assert face.failures == [], "nobody waits for anything by it"

    async def test_a_peer_that_says_nothing_is_closed(self) -> None:
        async with face_sockets("tcp", limits=StreamLimits(first_message_s=0.2)) as face:
            async with await face.connect() as mute:
                await _serves(face)
                assert await _closed(mute)
            assert face.counters["sip.stream.too_slow"] == 1

    async def test_a_slowloris_is_closed_however_often_it_drips(self) -> None:
        async with face_sockets("tcp", limits=StreamLimits(first_message_s=0.3)) as face, await face.connect() as slow:

            async def drip() -> None:
                for octet in options():
                    await slow.send_all(bytes([octet]))
                    await trio.sleep(0.02)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(drip)
                await _serves(face)
                assert await _closed(slow, 2.0)
                nursery.cancel_scope.cancel()
            assert [data for data, _ in face.delivered] == [options(777)]

    async def test_keepalives_alone_buy_no_time(self) -> None:
        async with face_sockets("tcp", limits=StreamLimits(first_message_s=0.2)) as face, await face.connect() as idler:
            with trio.fail_after(2):
                while True:
                    try:
                        await idler.send_all(b"\r\n\r\n")
                    except trio.BrokenResourceError:
                        break
                    await trio.sleep(0.02)
            assert face.listeners.open_connections == 0

    async def test_after_a_message_a_peer_may_be_silent_until_the_idle_limit(self) -> None:
        limits = StreamLimits(first_message_s=0.1, idle_s=0.4)
        async with face_sockets("tcp", limits=limits) as face, await face.connect() as phone:
            await phone.send_all(options())
            assert not await _closed(phone, 0.25)
            assert await _closed(phone, 2.0)

    async def test_a_peer_that_does_not_read_loses_its_connection_and_nobody_else_waits(self) -> None:
        limits = StreamLimits(queue_bytes=100_000)
        async with face_sockets("tcp", limits=limits) as face, await face.connect() as slow:
            await slow.send_all(options())
            await eventually(lambda: face.delivered)
            flow = face.delivered[0][1]
            for _ in range(1_000):
                face.listeners.send(BIG, flow)
                await trio.lowlevel.checkpoint()
                if face.failures:
                    break
            await eventually(lambda: face.failures)
            assert face.failures == [("tcp", flow.remote, flow.connection, "its peer reads too slowly")]
            assert face.counters["sip.stream.overrun"] == 1
            await _serves(face)

    async def test_a_peer_that_stops_reading_with_little_queued_is_closed_in_time(self) -> None:
        limits = StreamLimits(queue_bytes=16_000_000, write_s=0.2)
        async with face_sockets("tcp", limits=limits) as face, await face.connect() as slow:
            await slow.send_all(options())
            await eventually(lambda: face.delivered)
            for _ in range(300):
                face.listeners.send(BIG, face.delivered[0][1])
            await eventually(lambda: face.failures)
            assert face.failures[0][3] == "its peer stopped reading"

    async def test_a_peer_that_resets_is_forgotten(self) -> None:
        async with face_sockets("tcp") as face:
            phone = await face.connect()
            await phone.send_all(options())
            await eventually(lambda: face.delivered)
            phone.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            phone.socket.close()
            await eventually(lambda: face.failures)
            assert face.listeners.open_connections == 0

    async def test_one_that_is_hung_up_on_is_closed_and_may_not_speak_again(self) -> None:
        async with face_sockets("tcp") as face, await face.connect() as stranger:
            await stranger.send_all(options())
            await eventually(lambda: face.delivered)
            face.listeners.hang_up(face.delivered[0][1])
            assert await _closed(stranger)
            await eventually(lambda: face.listeners.open_connections == 0)
            face.listeners.hang_up(face.delivered[0][1])
            await _serves(face)

    async def test_strangers_that_come_and_go_are_nobodys_business(self) -> None:
        """3-#8: to tell of a connection means to look through all transactions; a stranger's carried none of them."""
        async with face_sockets("tcp") as face:
            face.on_delivery = face.listeners.hang_up
            for data in (options() + options(2), b""):
                async with await face.connect() as stranger:
                    await stranger.send_all(data)
                    await eventually(lambda: face.listeners.open_connections == 1)
                    if data:
                        assert await _closed(stranger)
                await eventually(lambda: face.listeners.open_connections == 0)
            assert len(face.delivered) == 1, "what stands behind the message for which it was hung up on is not heard"
            assert face.failures == []


class TestLimits:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_one_source_has_its_share_and_gets_it_back(self, host: str) -> None:
        async with face_sockets("tcp", limits=StreamLimits(per_source=2), host=host) as face:
            async with await face.connect() as one, await face.connect(), await face.connect() as third:
                assert await _closed(third)
                assert face.counters["sip.stream.refused"] == 1
                await one.send_all(options())
                await eventually(lambda: face.delivered)
            await eventually(lambda: face.listeners.open_connections == 0)
            await _serves(face)

    async def test_all_together_have_a_limit(self) -> None:
        async with (
            face_sockets("tcp", limits=StreamLimits(total=1)) as face,
            await face.connect(),
            await face.connect() as second,
        ):
            assert await _closed(second)
            face.listeners.send(options(), face.flow("tcp", Address("127.0.0.1", 9)))
            await eventually(lambda: face.failures)
            assert face.failures[0][3] == "too many connections"
