// nats.js (transport-node, jetstream, kv, obj): every result is asserted.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";
import { connect, deferred, headers, nuid } from "@nats-io/transport-node";

const LIMIT_MS = 20_000;
const text = (body) => new TextDecoder().decode(body);

async function take(iterator, count) {
  const taken = [];
  for await (const message of iterator) {
    taken.push(message);
    if (taken.length === count) break;
  }
  return taken;
}

// --- core ------------------------------------------------------------------------------------

async function publishSubscribe(nc) {
  const sub = nc.subscribe("js.*.end", { max: 2 });
  nc.publish("js.a.end", "one");
  nc.publish("js.a.b.end", "not for us");
  nc.publish("js.c.end", "two");
  const got = await take(sub, 2);
  assert.deepEqual(got.map((m) => [m.subject, m.string()]), [["js.a.end", "one"], ["js.c.end", "two"]]);
}

async function messageHeaders(nc) {
  const sub = nc.subscribe("js.headers", { max: 1 });
  const h = headers();
  h.append("Colour", "green");
  h.append("Colour", "blue");
  nc.publish("js.headers", "body", { headers: h });
  const [message] = await take(sub, 1);
  assert.deepEqual(message.headers.values("Colour"), ["green", "blue"]);
  assert.equal(message.string(), "body");
}

async function requestReply(nc) {
  nc.subscribe("js.service", { callback: (_, m) => m.respond(`re:${m.string()}`) });
  const replies = await Promise.all(Array.from({ length: 50 }, (_, n) => nc.request("js.service", `${n}`)));
  assert.deepEqual(replies.map((r) => r.string()), Array.from({ length: 50 }, (_, n) => `re:${n}`));
}

async function requestMany(nc) {
  for (let n = 0; n < 3; n++) nc.subscribe("js.many", { callback: (_, m) => m.respond(`${n}`) });
  const got = [];
  for await (const m of await nc.requestMany("js.many", "", { maxMessages: 3, maxWait: 2000 })) got.push(m.string());
  assert.deepEqual(got.sort(), ["0", "1", "2"]);
}

async function noResponders(nc) {
  await assert.rejects(nc.request("js.nobody", ""), /no responders/i);
}

async function queueGroups(nc) {
  const seen = [[], [], []];
  for (const box of seen) nc.subscribe("js.queue", { queue: "workers", callback: (_, m) => box.push(m.string()) });
  const done = deferred();
  let count = 0;
  nc.subscribe("js.queue", { callback: () => ++count === 90 && done.resolve() });
  for (let n = 0; n < 90; n++) nc.publish("js.queue", `${n}`);
  await done;
  await nc.flush();
  assert.deepEqual(seen.flat().map(Number).sort((a, b) => a - b), Array.from({ length: 90 }, (_, n) => n));
}

// --- streams and consumers -------------------------------------------------------------------

async function streamLife(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  const created = await jsm.streams.add({ name: "LIFE", subjects: ["life.>"] });
  assert.equal(created.config.storage, StorageType.File);
  for (let n = 1; n <= 5; n++) assert.equal((await js.publish(`life.${n}`, `${n}`)).seq, n);
  await jsm.streams.update("LIFE", { max_msgs: 3 });
  const info = await jsm.streams.info("LIFE", { subjects_filter: ">" });
  assert.deepEqual([info.state.messages, info.state.first_seq, info.state.last_seq], [3, 3, 5]);
  assert.deepEqual(Object.keys(info.state.subjects).sort(), ["life.3", "life.4", "life.5"]);
  assert.equal((await jsm.streams.getMessage("LIFE", { seq: 4 })).string(), "4");
  assert.equal((await jsm.streams.getMessage("LIFE", { last_by_subj: "life.5" })).seq, 5);
  assert.equal(await jsm.streams.deleteMessage("LIFE", 4), true);
  assert.equal((await jsm.streams.purge("LIFE", { filter: "life.5" })).purged, 1);
  assert.equal(await jsm.streams.delete("LIFE"), true);
  await assert.rejects(jsm.streams.info("LIFE"), /stream not found/);
}

async function directGet(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "DIRECT", subjects: ["direct.>"], allow_direct: true });
  for (let n = 1; n <= 4; n++) await js.publish(`direct.${n % 2}`, `${n}`);
  assert.equal((await jsm.direct.getMessage("DIRECT", { seq: 2 })).string(), "2");
  assert.equal((await jsm.direct.getMessage("DIRECT", { last_by_subj: "direct.1" })).seq, 3);
  const batch = [];
  for await (const m of await jsm.direct.getBatch("DIRECT", { seq: 1, batch: 3 })) batch.push(m.string());
  assert.deepEqual(batch, ["1", "2", "3"]);
  const last = [];
  for await (const m of await jsm.direct.getLastMessagesFor("DIRECT", { multi_last: ["direct.>"] })) last.push(m.seq);
  assert.deepEqual(last, [3, 4]);
  await jsm.streams.delete("DIRECT");
}

async function publishOptions(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "OPT", subjects: ["opt"] });
  assert.equal((await js.publish("opt", "x", { msgID: "a" })).duplicate, false);
  assert.equal((await js.publish("opt", "x", { msgID: "a" })).duplicate, true);
  await assert.rejects(js.publish("opt", "x", { expect: { lastSequence: 9 } }), /wrong last sequence: 1/);
  await assert.rejects(js.publish("opt", "x", { expect: { lastMsgID: "b" } }), /wrong last msg ID: a/);
  await assert.rejects(js.publish("opt", "x", { expect: { streamName: "OTHER" } }), /expected stream does not match/);
  assert.equal((await js.publish("opt", "x", { expect: { lastSequence: 1, lastMsgID: "a" } })).seq, 2);
  await assert.rejects(js.publish("nowhere", "x"), /no responders|no stream matches|stream/i);
  await jsm.streams.delete("OPT");
}

async function pullFetchAndConsume(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "PULL", subjects: ["pull"] });
  await Promise.all(Array.from({ length: 200 }, (_, n) => js.publish("pull", `${n}`)));
  await jsm.consumers.add("PULL", { durable_name: "c", ack_policy: AckPolicy.Explicit });
  const consumer = await js.consumers.get("PULL", "c");
  const fetched = [];
  for await (const m of await consumer.fetch({ max_messages: 50, expires: 2000 })) {
    fetched.push(m.seq);
    m.ack();
  }
  assert.deepEqual(fetched, Array.from({ length: 50 }, (_, n) => n + 1));
  const one = await consumer.next();
  assert.equal(one.seq, 51);
  assert.equal(await one.ackAck(), true);
  const messages = await consumer.consume({ max_messages: 40 });
  for await (const m of messages) {
    m.ack();
    if (m.info.pending === 0) break;
  }
  await nc.flush();
  const info = await jsm.consumers.info("PULL", "c");
  assert.deepEqual([info.ack_floor.stream_seq, info.num_pending], [200, 0]);
  await jsm.streams.delete("PULL");
}

async function redelivery(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "AGAIN", subjects: ["again"] });
  await js.publish("again", "x");
  await jsm.consumers.add("AGAIN", { durable_name: "c", ack_policy: AckPolicy.Explicit, max_deliver: 3 });
  const consumer = await js.consumers.get("AGAIN", "c");
  const first = await consumer.next();
  first.nak(50);
  const second = await consumer.next({ expires: 5000 });
  assert.deepEqual([second.redelivered, second.info.deliveryCount], [true, 2]);
  second.working();
  second.term("not wanted");
  await nc.flush();
  assert.equal(await consumer.next({ expires: 1000 }), null);
  await jsm.streams.delete("AGAIN");
}

async function orderedConsumer(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "ORD", subjects: ["ord.>"] });
  await Promise.all(Array.from({ length: 1000 }, (_, n) => js.publish(`ord.${n % 2}`, `${n}`)));
  const consumer = await js.consumers.get("ORD", { filter_subjects: "ord.1" });
  const messages = await consumer.consume({ max_messages: 100 });
  const got = await take(messages, 500);
  assert.deepEqual(got.map((m) => Number(m.string())), got.map((_, n) => 2 * n + 1).map(Number));
  await jsm.streams.delete("ORD");
}

async function pushConsumer(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "PUSH", subjects: ["push"] });
  for (let n = 0; n < 50; n++) await js.publish("push", `${n}`);
  await jsm.consumers.add("PUSH", {
    durable_name: "c", deliver_subject: nuid.next(), ack_policy: AckPolicy.Explicit, flow_control: true,
    idle_heartbeat: 5_000_000_000,
  });
  const consumer = await js.consumers.getPushConsumer("PUSH", "c");
  const messages = await consumer.consume();
  const got = await take(messages, 50);
  got.forEach((m) => m.ack());
  await nc.flush();
  assert.deepEqual(got.map((m) => m.seq), got.map((_, n) => n + 1));
  assert.equal((await jsm.consumers.info("PUSH", "c")).ack_floor.stream_seq, 50);
  await jsm.streams.delete("PUSH");
}

async function deliverPolicies(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "POL", subjects: ["pol.>"], storage: StorageType.Memory });
  for (let n = 1; n <= 6; n++) await js.publish(`pol.${n % 3}`, `${n}`);
  const first = async (config) => {
    const { name } = await jsm.consumers.add("POL", { ack_policy: AckPolicy.None, ...config });
    return (await (await js.consumers.get("POL", name)).next()).string();
  };
  assert.equal(await first({ deliver_policy: DeliverPolicy.All }), "1");
  assert.equal(await first({ deliver_policy: DeliverPolicy.Last }), "6");
  assert.equal(await first({ deliver_policy: DeliverPolicy.LastPerSubject, filter_subject: "pol.>" }), "4");
  assert.equal(await first({ deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: 3 }), "3");
  await jsm.streams.delete("POL");
}

async function workQueue(nc) {
  const jsm = await jetstreamManager(nc);
  const js = jetstream(nc);
  await jsm.streams.add({ name: "WQ", subjects: ["wq"], retention: RetentionPolicy.Workqueue });
  for (let n = 0; n < 3; n++) await js.publish("wq", `${n}`);
  await jsm.consumers.add("WQ", { durable_name: "c", ack_policy: AckPolicy.Explicit });
  await assert.rejects(jsm.consumers.add("WQ", { durable_name: "d", ack_policy: AckPolicy.Explicit }), /workqueue/);
  for await (const m of await (await js.consumers.get("WQ", "c")).fetch({ max_messages: 3 })) await m.ackAck();
  assert.equal((await jsm.streams.info("WQ")).state.messages, 0);
  await jsm.streams.delete("WQ");
}

async function accountInfo(nc) {
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: "ACC", subjects: ["acc"] });
  const info = await jsm.getAccountInfo();
  assert.equal(info.streams, 1);
  const names = [];
  for await (const stream of jsm.streams.list()) names.push(stream.config.name);
  assert.deepEqual(names, ["ACC"]);
  await jsm.streams.delete("ACC");
}

// --- key value and objects -------------------------------------------------------------------

async function kvBasics(nc) {
  const kv = await new Kvm(nc).create("KV", { history: 5 });
  assert.equal(await kv.put("a", "1"), 1);
  assert.equal((await kv.get("a")).string(), "1");
  assert.equal(await kv.update("a", "2", 1), 2);
  await assert.rejects(kv.update("a", "3", 1), /wrong last sequence: 2/);
  assert.equal(await kv.create("b", "x"), 3);
  await assert.rejects(kv.create("b", "y"), /wrong last sequence/);
  const history = [];
  for await (const entry of await kv.history({ key: "a" })) history.push(entry.string());
  assert.deepEqual(history, ["1", "2"]);
  const keys = [];
  for await (const key of await kv.keys()) keys.push(key);
  assert.deepEqual(keys.sort(), ["a", "b"]);
  await kv.delete("b");
  assert.equal((await kv.get("b")).operation, "DEL");
  assert.equal(await kv.create("b", "again"), 5);
  await kv.purge("a");
  assert.equal((await kv.status()).history, 5);
  await kv.destroy();
}

async function kvWatch(nc) {
  const kv = await new Kvm(nc).create("WATCH", { storage: StorageType.Memory });
  await kv.put("w.a", "1");
  const watch = await kv.watch({ key: "w.*" });
  await kv.put("w.b", "2");
  await kv.put("other", "3");
  await kv.delete("w.a");
  const got = await take(watch, 3);
  assert.deepEqual(got.map((e) => [e.key, e.operation]), [["w.a", "PUT"], ["w.b", "PUT"], ["w.a", "DEL"]]);
  await kv.destroy();
}

async function objectStore(nc) {
  const store = await new Objm(nc).create("OBJ");
  const body = randomBytes(700_000);
  const info = await store.putBlob({ name: "blob" }, body);
  assert.deepEqual([info.size, info.chunks], [700_000, 6]);
  assert.deepEqual(Buffer.from(await store.getBlob("blob")), body);
  const watch = await store.watch({ includeHistory: true });
  await store.putBlob({ name: "small" }, new TextEncoder().encode("tiny"));
  assert.deepEqual((await take(watch, 2)).map((e) => e.name), ["blob", "small"]);
  assert.equal(text(await store.getBlob("small")), "tiny");
  await store.delete("blob");
  assert.equal(await store.getBlob("blob"), null);
  assert.deepEqual((await store.list()).filter((e) => !e.deleted).map((e) => e.name), ["small"]);
  await store.destroy();
}

const CHECKS = [
  publishSubscribe, messageHeaders, requestReply, requestMany, noResponders, queueGroups, streamLife, directGet,
  publishOptions, pullFetchAndConsume, redelivery, orderedConsumer, pushConsumer, deliverPolicies, workQueue,
  accountInfo, kvBasics, kvWatch, objectStore,
];

let failed = 0;
for (const check of CHECKS) {
  const nc = await connect({ servers: process.env.NATS_URL, reconnect: false });
  const limit = deferred();
  const timer = setTimeout(() => limit.reject(new Error(`no end after ${LIMIT_MS} ms`)), LIMIT_MS);
  try {
    await Promise.race([check(nc), limit]);
    console.log(`ok ${check.name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${check.name}: ${String(error?.message ?? error).split(/\s+/).join(" ").slice(0, 400)}`);
  } finally {
    clearTimeout(timer);
    await nc.close();
  }
}
process.exit(failed ? 1 : 0);
