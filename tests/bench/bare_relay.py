"""What to compare with: a bare UDP relay without any tunnel, one awaiting trio task for each socket.

Standard input: JSON, a list of [A_HOST, A_PORT, B_HOST, B_PORT], the two parties of each call. Standard output: one
line of JSON, the addresses to which A and B of each call are to send. Ends when standard input is closed.
"""

from __future__ import annotations

import json
import resource
import sys

import trio

HOST = "127.0.3.1"


async def forward(incoming: trio.socket.SocketType, outgoing: trio.socket.SocketType, party: tuple[str, int]) -> None:
    while True:
        packet = await incoming.recv(2048)
        await outgoing.sendto(packet, party)


async def main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    calls = json.loads(sys.stdin.readline())
    ports = []
    async with trio.open_nursery() as nursery:
        for a_host, a_port, b_host, b_port in calls:
            towards_a, towards_b = (trio.socket.socket(type=trio.socket.SOCK_DGRAM) for _ in range(2))
            for each in (towards_a, towards_b):
                await each.bind((HOST, 0))
            nursery.start_soon(forward, towards_a, towards_b, (b_host, b_port))
            nursery.start_soon(forward, towards_b, towards_a, (a_host, a_port))
            ports.append([f"{HOST}:{each.getsockname()[1]}" for each in (towards_a, towards_b)])
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
