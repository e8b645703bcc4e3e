"""Kills, stops and freezes nodes under load, and checks what was acknowledged.

usage: chaos.py SERVER [SECONDS [SEED]]
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
from nats.js.errors import NoStreamResponseError

from nodes import Nodes

WRITERS = 8


class History:
    def __init__(self):
        self.acked, self.unknown, self.refused = {}, set(), set()
        self.sent = self.faults = 0


async def ignore(_):
    """A connection that breaks is what this is about."""


async def write(js, writer, history, until):
    while time.time() < until:
        history.sent += 1
        payload = f"{writer}-{history.sent}"
        try:
            ack = await js.publish("s.a", payload.encode())
            if ack.seq in history.acked:
                raise SystemExit(f"sequence {ack.seq} was given to two messages")
            history.acked[ack.seq] = payload
        except NoStreamResponseError:
            history.refused.add(payload)
            await asyncio.sleep(0.02)
        except Exception:  # a timeout, or a connection that broke: it may be stored or not
            history.unknown.add(payload)


async def disturb(nodes, history, until):
    while time.time() < until - 4:
        await asyncio.sleep(random.uniform(1.0, 2.5))
        node = random.choice((1, 2, 3))
        which = random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        nodes.signal(node, which)
        if which == signal.SIGSTOP:
            await asyncio.sleep(random.uniform(0.5, 4))
            nodes.signal(node, signal.SIGCONT)
        else:
            nodes.wait(node)
            await asyncio.sleep(random.uniform(0.1, 2))
            nodes.start(node)
        history.faults += 1


async def read(url, last):
    """Everything that is stored, by sequence, as a client of one node sees it."""
    client = await nats.connect(url)
    found = {}
    subscription = await client.jetstream(timeout=5).subscribe("s.>", ordered_consumer=True)
    while last not in found:
        message = await subscription.next_msg(timeout=10)
        found[message.metadata.sequence.stream] = message.data.decode()
    await client.close()
    return found


async def main(server, seconds, seed):
    random.seed(seed)
    with tempfile.TemporaryDirectory() as directory:
        nodes = Nodes(server, random.randrange(20_000, 40_000, 100), f"{directory}/c")
        await asyncio.sleep(5)
        client = await nats.connect(
            nodes.urls(), max_reconnect_attempts=-1, reconnect_time_wait=0.1,
            error_cb=ignore,
        )
        js = client.jetstream(timeout=3)
        await js.add_stream(StreamConfig(name="S", subjects=["s.>"], num_replicas=3))
        history, until = History(), time.time() + seconds
        writers = [write(js, writer, history, until) for writer in range(WRITERS)]
        await asyncio.gather(disturb(nodes, history, until), *writers)
        await asyncio.sleep(10)
        state = (await js.stream_info("S")).state
        views = [await read(url, state.last_seq) for url in nodes.urls()]
        nodes.stop()
    stored = list(views[0].values())
    result = {
        "acked": len(history.acked),
        "unknown": len(history.unknown),
        "refused": len(history.refused),
        "faults": history.faults,
        "lost or altered": sum(views[0].get(s) != p for s, p in history.acked.items()),
        "stored twice": len(stored) - len(set(stored)),
        "refused and stored": len(history.refused & set(stored)),
        "views differ": int(any(view != views[0] for view in views)),
    }
    print(json.dumps(result))
    broken = ("lost or altered", "stored twice", "refused and stored", "views differ")
    sys.exit(any(result[what] for what in broken))


if __name__ == "__main__":
    given = sys.argv[1:] + ["60", "1"][max(0, len(sys.argv) - 2) :]
    asyncio.run(main(given[0], int(given[1]), int(given[2])))
