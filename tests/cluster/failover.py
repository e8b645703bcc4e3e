"""How long nobody takes a publish after the leader is gone: killed, and asked to stop, in turn.

usage: failover.py SERVER [ROUNDS]
"""

import asyncio
import json
import random
import signal
import sys
import tempfile
import time

import nats
from nats.js.api import StreamConfig

from nodes import Nodes


async def until_acked(client):
    begin = time.time()
    while True:
        try:
            answer = await client.request("s.a", b"y", timeout=0.02)
            if b'"seq"' in answer.data and b"error" not in answer.data:
                return time.time() - begin
        except Exception:  # nobody there, or no answer yet
            await asyncio.sleep(0.002)


async def main(server, rounds):
    times = {"SIGKILL": [], "SIGTERM": []}
    with tempfile.TemporaryDirectory() as directory:
        nodes = Nodes(server, random.randrange(20_000, 40_000, 100), f"{directory}/c")
        for number in range(rounds):
            await asyncio.sleep(5)
            clients = {}
            for node in (1, 2, 3):
                clients[node] = await nats.connect(nodes.url(node), allow_reconnect=False)
            js = clients[1].jetstream(timeout=5)
            await js.add_stream(StreamConfig(name="S", subjects=["s.>"], num_replicas=3))
            leader = int((await js.stream_info("S")).cluster.leader[1:])
            other = clients[leader % 3 + 1]
            await other.request("s.a", b"x", timeout=5)
            which = signal.SIGTERM if number % 2 else signal.SIGKILL
            nodes.signal(leader, which)
            times[which.name].append(round(1000 * await until_acked(other)))
            for client in clients.values():
                try:
                    await asyncio.wait_for(client.close(), 0.5)
                except Exception:  # its node is gone
                    pass
            nodes.wait(leader)
            nodes.start(leader)
        nodes.stop()
    print(json.dumps({"milliseconds": times}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8))
