"""nats-py: core, JetStream, key value and object store, with every result asserted."""

import asyncio
import os
import sys

import nats
from nats.errors import NoRespondersError, TimeoutError as NatsTimeout
from nats.js.api import (
    AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig,
)
from nats.js.errors import (
    APIError, BadRequestError, KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError, ObjectNotFoundError,
)

LIMIT_S = 20


async def raises(kind, awaitable):
    """Awaits something that must fail with an error of this kind, and returns the error."""
    try:
        result = await awaitable
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected, got {result!r}")


# --- core ----------------------------------------------------------------------------------------


async def publish_subscribe(nc):
    sub = await nc.subscribe("py.*.end")
    await nc.publish("py.a.end", b"one")
    await nc.publish("py.a.b.end", b"not for us")
    await nc.publish("py.c.end", b"two")
    first, second = await sub.next_msg(), await sub.next_msg()
    assert (first.subject, first.data) == ("py.a.end", b"one")
    assert (second.subject, second.data) == ("py.c.end", b"two")
    await sub.unsubscribe()


async def headers(nc):
    sub = await nc.subscribe("py.headers")
    await nc.publish("py.headers", b"body", headers={"Colour": "green", "Size": "10"})
    message = await sub.next_msg()
    assert message.headers == {"Colour": "green", "Size": "10"} and message.data == b"body", message


async def request_reply(nc):
    async def answer(message):
        await message.respond(b"re:" + message.data)

    await nc.subscribe("py.service", cb=answer)
    replies = await asyncio.gather(*(nc.request("py.service", b"%d" % n, timeout=2) for n in range(50)))
    assert [reply.data for reply in replies] == [b"re:%d" % n for n in range(50)]


async def no_responders(nc):
    await raises(NoRespondersError, nc.request("py.nobody", b"", timeout=2))


async def queue_groups(nc):
    seen = [[], [], []]
    for box in seen:
        async def take(message, box=box):
            box.append(message.data)

        await nc.subscribe("py.queue", queue="workers", cb=take)
    everything = await nc.subscribe("py.queue")
    for number in range(90):
        await nc.publish("py.queue", b"%d" % number)
    for _ in range(90):
        await everything.next_msg()
    await nc.flush()
    async with asyncio.timeout(LIMIT_S):
        while sum(map(len, seen)) < 90:
            await asyncio.sleep(0.01)
    assert sorted(sum(seen, []), key=int) == [b"%d" % n for n in range(90)], "doubled or lost in the group"
    assert all(seen), "a member of the group got nothing"


async def auto_unsubscribe(nc):
    sub = await nc.subscribe("py.limited")
    await sub.unsubscribe(limit=3)
    for number in range(10):
        await nc.publish("py.limited", b"%d" % number)
    await nc.flush()
    for number in range(3):
        assert (await sub.next_msg()).data == b"%d" % number
    await raises(Exception, sub.next_msg(timeout=0.2))


async def large_payload(nc):
    sub = await nc.subscribe("py.large")
    body = os.urandom(1024 * 1024)
    await nc.publish("py.large", body)
    assert (await sub.next_msg(timeout=5)).data == body


async def drain(nc):
    other = await nats.connect(nc.connected_url.geturl())
    got = []

    async def slow(message):
        await asyncio.sleep(0.001)
        got.append(message.data)

    await other.subscribe("py.drain", cb=slow)
    await other.flush()
    for number in range(20):
        await nc.publish("py.drain", b"%d" % number)
    await nc.flush()
    await other.drain()
    assert got == [b"%d" % n for n in range(20)], got


# --- streams -------------------------------------------------------------------------------------


async def stream_life(nc):
    js = nc.jetstream()
    created = await js.add_stream(name="LIFE", subjects=["life.>"], max_msgs=100)
    assert created.config.name == "LIFE" and created.state.messages == 0
    acks = [await js.publish(f"life.{n}", b"%d" % n) for n in range(1, 6)]
    assert [(ack.stream, ack.seq) for ack in acks] == [("LIFE", n) for n in range(1, 6)]
    config = created.config
    config.max_msgs = 3
    updated = await js.update_stream(config)
    assert updated.config.max_msgs == 3
    state = (await js.stream_info("LIFE")).state
    assert (state.messages, state.first_seq, state.last_seq) == (3, 3, 5), state
    assert (await js.get_msg("LIFE", 4)).data == b"4"
    assert (await js.get_last_msg("LIFE", "life.5")).seq == 5
    await raises(NotFoundError, js.get_msg("LIFE", 1))
    await js.delete_msg("LIFE", 4)
    await js.purge_stream("LIFE")
    assert (await js.stream_info("LIFE")).state.messages == 0
    await js.delete_stream("LIFE")
    assert (await raises(NotFoundError, js.stream_info("LIFE"))).err_code == 10059


async def stream_errors(nc):
    js = nc.jetstream()
    await js.add_stream(name="ERR", subjects=["err.>"])
    assert (await raises(BadRequestError, js.add_stream(name="ERR2", subjects=["err.a"]))).err_code == 10065
    assert (await raises(BadRequestError, js.add_stream(name="ERR", subjects=["err.b"]))).err_code == 10058
    await raises(APIError, js.publish("err.x", b"", headers={"Nats-Expected-Last-Sequence": "7"}))
    await js.delete_stream("ERR")


async def deduplication(nc):
    js = nc.jetstream()
    await js.add_stream(name="DUP", subjects=["dup"])
    first = await js.publish("dup", b"x", headers={"Nats-Msg-Id": "a"})
    second = await js.publish("dup", b"x", headers={"Nats-Msg-Id": "a"})
    assert (first.seq, first.duplicate) == (1, None) and (second.seq, second.duplicate) == (1, True)
    assert (await js.stream_info("DUP")).state.messages == 1
    await js.delete_stream("DUP")


async def discard_new(nc):
    js = nc.jetstream()
    await js.add_stream(name="FULL", subjects=["full"], max_msgs=2, discard=DiscardPolicy.NEW, storage=StorageType.MEMORY)
    await js.publish("full", b"1")
    await js.publish("full", b"2")
    assert (await raises(APIError, js.publish("full", b"3"))).err_code == 10077
    await js.delete_stream("FULL")


async def publish_async_windowed(nc):
    js = nc.jetstream()
    await js.add_stream(name="WIN", subjects=["win"])
    futures = [await js.publish_async("win", b"%d" % n) for n in range(2000)]
    acks = await asyncio.gather(*futures)
    assert [ack.seq for ack in acks] == list(range(1, 2001))
    await js.delete_stream("WIN")


# --- consumers -----------------------------------------------------------------------------------


async def pull_consumer(nc):
    js = nc.jetstream()
    await js.add_stream(name="PULL", subjects=["pull.>"])
    for number in range(1, 11):
        await js.publish(f"pull.{number % 2}", b"%d" % number)
    sub = await js.pull_subscribe("pull.1", "odd")
    messages = await sub.fetch(5)
    assert [m.data for m in messages] == [b"1", b"3", b"5", b"7", b"9"]
    assert messages[2].metadata.sequence.stream == 5 and messages[2].metadata.sequence.consumer == 3
    assert messages[2].metadata.num_pending == 2
    for message in messages:
        await message.ack_sync()
    info = await js.consumer_info("PULL", "odd")
    assert info.ack_floor.stream_seq == 9 and info.num_ack_pending == 0 and info.num_pending == 0, info
    await raises(NatsTimeout, sub.fetch(1, timeout=0.3))
    await js.delete_stream("PULL")


async def redelivery(nc):
    js = nc.jetstream()
    await js.add_stream(name="AGAIN", subjects=["again"])
    await js.publish("again", b"x")
    await js.publish("again", b"y")
    sub = await js.pull_subscribe("again", "again", config=ConsumerConfig(ack_wait=30, max_deliver=3))
    first = (await sub.fetch(1))[0]
    await first.nak()
    by_data = {}
    while len(by_data) < 2:
        by_data |= {m.data: m for m in await sub.fetch(1, timeout=2)}
    assert by_data[b"x"].metadata.num_delivered == 2 and by_data[b"y"].metadata.num_delivered == 1
    await by_data[b"x"].term()
    await by_data[b"y"].in_progress()
    await by_data[b"y"].ack_sync()
    assert (await js.consumer_info("AGAIN", "again")).num_ack_pending == 0
    await js.delete_stream("AGAIN")


async def ack_wait_expires(nc):
    js = nc.jetstream()
    await js.add_stream(name="WAIT", subjects=["wait"])
    await js.publish("wait", b"x")
    sub = await js.pull_subscribe("wait", "wait", config=ConsumerConfig(ack_wait=0.3))
    assert (await sub.fetch(1))[0].metadata.num_delivered == 1
    second = (await sub.fetch(1, timeout=5))[0]
    assert second.metadata.num_delivered == 2
    await second.ack_sync()
    await js.delete_stream("WAIT")


async def push_consumer(nc):
    js = nc.jetstream()
    await js.add_stream(name="PUSH", subjects=["push"])
    sub = await js.subscribe("push", durable="pusher", manual_ack=True)
    for number in range(100):
        await js.publish("push", b"%d" % number)
    for number in range(100):
        message = await sub.next_msg()
        assert message.data == b"%d" % number
        await message.ack()
    await nc.flush()
    assert (await js.consumer_info("PUSH", "pusher")).ack_floor.stream_seq == 100
    await js.delete_stream("PUSH")


async def push_queue_group(nc):
    js = nc.jetstream()
    await js.add_stream(name="PQ", subjects=["pq"])
    subs = [await js.subscribe("pq", queue="group") for _ in range(2)]
    for number in range(40):
        await js.publish("pq", b"%d" % number)
    async with asyncio.timeout(LIMIT_S):
        while sum(sub.pending_msgs for sub in subs) < 40:
            await asyncio.sleep(0.01)
    await js.delete_stream("PQ")


async def ordered_consumer(nc):
    js = nc.jetstream()
    await js.add_stream(name="ORD", subjects=["ord"])
    bodies = [b"%d" % n + b"x" * 500 for n in range(1500)]
    await asyncio.gather(*[await js.publish_async("ord", body) for body in bodies])
    sub = await js.subscribe("ord", ordered_consumer=True)
    for body in bodies:
        assert (await sub.next_msg(timeout=5)).data == body
    await js.delete_stream("ORD")


async def deliver_policies(nc):
    js = nc.jetstream()
    await js.add_stream(name="POL", subjects=["pol.>"])
    for number in range(1, 7):
        await js.publish(f"pol.{number % 3}", b"%d" % number)

    async def first(**config):
        sub = await js.pull_subscribe("pol.>", None, stream="POL", config=ConsumerConfig(**config))
        return (await sub.fetch(1, timeout=2))[0].data

    assert await first(deliver_policy=DeliverPolicy.ALL) == b"1"
    assert await first(deliver_policy=DeliverPolicy.LAST) == b"6"
    assert await first(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT) == b"4"
    assert await first(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=3) == b"3"
    await js.delete_stream("POL")


async def work_queue(nc):
    js = nc.jetstream()
    await js.add_stream(name="WQ", subjects=["wq"], retention=RetentionPolicy.WORK_QUEUE)
    for number in range(3):
        await js.publish("wq", b"%d" % number)
    sub = await js.pull_subscribe("wq", "worker", config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT))
    for message in await sub.fetch(3):
        await message.ack_sync()
    assert (await js.stream_info("WQ")).state.messages == 0
    await js.delete_stream("WQ")


async def max_ack_pending(nc):
    js = nc.jetstream()
    await js.add_stream(name="MAP", subjects=["map"])
    for number in range(5):
        await js.publish("map", b"%d" % number)
    sub = await js.pull_subscribe("map", "two", config=ConsumerConfig(max_ack_pending=2))
    held = await sub.fetch(5, timeout=0.5)
    assert len(held) == 2, len(held)
    for message in held:
        await message.ack_sync()
    assert [m.data for m in await sub.fetch(2, timeout=2)] == [b"2", b"3"]
    await js.delete_stream("MAP")


async def account_info(nc):
    js = nc.jetstream()
    await js.add_stream(name="ACC", subjects=["acc"])
    await js.publish("acc", b"x" * 100)
    info = await js.account_info()
    assert info.streams == 1 and info.storage > 100 and info.api.total > 0, info
    await js.delete_stream("ACC")


# --- key value and objects -----------------------------------------------------------------------


async def kv_basics(nc):
    js = nc.jetstream()
    kv = await js.create_key_value(bucket="KV", history=5)
    assert await kv.put("a", b"1") == 1
    entry = await kv.get("a")
    assert (entry.value, entry.revision) == (b"1", 1)
    assert await kv.update("a", b"2", last=1) == 2
    await raises(KeyWrongLastSequenceError, kv.update("a", b"3", last=1))
    assert await kv.create("b", b"x") == 3
    await raises(KeyWrongLastSequenceError, kv.create("b", b"y"))
    assert [e.value for e in await kv.history("a")] == [b"1", b"2"]
    assert sorted(await kv.keys()) == ["a", "b"]
    await kv.delete("b")
    await raises(KeyNotFoundError, kv.get("b"))
    assert await kv.create("b", b"again") == 5
    await kv.purge("a")
    assert await kv.keys() == ["b"]
    status = await kv.status()
    assert status.history == 5 and status.bucket == "KV"
    await js.delete_key_value("KV")


async def kv_watch(nc):
    js = nc.jetstream()
    kv = await js.create_key_value(config=KeyValueConfig(bucket="WATCH", storage=StorageType.MEMORY))
    await kv.put("w.a", b"1")
    watcher = await kv.watch("w.*")
    assert (await watcher.updates(timeout=2)).value == b"1"
    assert await watcher.updates(timeout=2) is None, "the end of the initial values is marked by None"
    await kv.put("w.b", b"2")
    await kv.put("other", b"3")
    await kv.delete("w.a")
    assert (await watcher.updates(timeout=2)).key == "w.b"
    last = await watcher.updates(timeout=2)
    assert (last.key, last.operation) == ("w.a", "DEL"), last
    await watcher.stop()
    await js.delete_key_value("WATCH")


async def object_store(nc):
    js = nc.jetstream()
    store = await js.create_object_store("OBJ")
    body = os.urandom(700_000)
    info = await store.put("blob", body)
    assert info.size == len(body) and info.chunks == 6, info
    assert (await store.get("blob")).data == body
    watcher = await store.watch()
    assert (await watcher.updates(timeout=2)).name == "blob"
    await store.put("small", b"tiny")
    assert sorted(entry.name for entry in await store.list()) == ["blob", "small"]
    await store.delete("blob")
    await raises(ObjectNotFoundError, store.get("blob"))
    assert [entry.name for entry in await store.list(ignore_deletes=True)] == ["small"]
    await js.delete_object_store("OBJ")


CHECKS = [
    publish_subscribe, headers, request_reply, no_responders, queue_groups, auto_unsubscribe, large_payload, drain,
    stream_life, stream_errors, deduplication, discard_new, publish_async_windowed, pull_consumer, redelivery,
    ack_wait_expires, push_consumer, push_queue_group, ordered_consumer, deliver_policies, work_queue,
    max_ack_pending, account_info, kv_basics, kv_watch, object_store,
]


async def main():
    failed = 0
    for check in CHECKS:
        nc = await nats.connect(os.environ["NATS_URL"])
        try:
            async with asyncio.timeout(LIMIT_S):
                await check(nc)
            print(f"ok {check.__name__}", flush=True)
        except Exception as error:  # a failed check must not hide the others
            failed += 1
            print(f"FAIL {check.__name__}: {type(error).__name__} {' '.join(str(error).split())[:400]}", flush=True)
        finally:
            await nc.close()
    sys.exit(1 if failed else 0)


asyncio.run(main())
