"""The `nats` command line tool: every command a user meets in the first hour, with its result."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLI = os.environ["NATS_CLI"]
HOME = tempfile.mkdtemp(prefix="interop-cli-")
ENVIRONMENT = os.environ | {"HOME": HOME, "XDG_CONFIG_HOME": HOME}
LIMIT_S = 20


def nats(*arguments, stdin=None, fails=False):
    """Runs a command to its end and returns what it printed."""
    done = subprocess.run(
        [CLI, *arguments], env=ENVIRONMENT, input=stdin or "", text=True, timeout=LIMIT_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    assert (done.returncode != 0) == fails, f"nats {' '.join(arguments)}: exit {done.returncode}: {done.stdout}"
    return done.stdout


def nats_json(*arguments):
    return json.loads(nats(*arguments))


class Background:
    """A command that runs until it ends by itself or is stopped, like `nats sub`."""

    def __init__(self, *arguments, ready):
        self.path = Path(HOME) / f"background-{time.monotonic_ns()}"
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen([CLI, *arguments], env=ENVIRONMENT, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        if ready:
            self.wait_for(ready)

    def text(self):
        return self.path.read_text(errors="replace")

    def wait_for(self, text):
        deadline = time.monotonic() + LIMIT_S
        while text not in self.text():
            assert time.monotonic() < deadline, f"{text!r} never appeared in: {self.text()}"
            time.sleep(0.02)

    def finish(self):
        self.process.wait(LIMIT_S)
        return self.text()

    def stop(self):
        self.process.terminate()
        self.process.wait(LIMIT_S)
        return self.text()


def expect(text, *wanted):
    for part in wanted:
        assert part in text, f"{part!r} is missing in: {text}"


# --- core ----------------------------------------------------------------------------------------


def pub_and_sub():
    sub = Background("sub", "cli.>", "--count", "2", ready="Subscribing on")
    nats("pub", "cli.one", "first")
    nats("pub", "cli.two", "second", "-H", "Colour:green")
    expect(sub.finish(), 'Received on "cli.one"', "first", 'Received on "cli.two"', "Colour: green", "second")


def request_and_reply():
    service = Background("reply", "cli.service", "--echo", ready="Listening on")
    expect(nats("request", "cli.service", "question", "--raw"), "question")
    service.stop()


def request_without_responder():
    expect(nats("request", "cli.nobody", "question", "--timeout", "2s"), "No responders are available")


def queue_group_shares_the_load():
    members = [Background("sub", "cli.work", "--queue", "workers", ready="Subscribing on") for _ in range(2)]
    nats("pub", "cli.work", "job-{{.Count}}", "--count", "20")
    deadline = time.monotonic() + LIMIT_S
    while sum(m.text().count("Received on") for m in members) < 20:
        assert time.monotonic() < deadline, [m.text() for m in members]
        time.sleep(0.02)
    texts = [member.stop() for member in members]
    for job in range(1, 21):
        seen = sum(text.split().count(f"job-{job}") for text in texts)
        assert seen == 1, f"job-{job} was delivered {seen} times"


def rtt():
    expect(nats("rtt"), "nats://")


def bench_core():
    sub = Background("bench", "sub", "cli.bench", "--msgs", "5000", "--no-progress", ready="Starting")
    # The subscriber logs before it subscribes; publishing again until it has its count avoids a race.
    deadline = time.monotonic() + LIMIT_S
    while sub.process.poll() is None:
        assert time.monotonic() < deadline, sub.text()
        expect(nats("bench", "pub", "cli.bench", "--msgs", "5000", "--no-progress"), "msgs/sec")
    expect(sub.finish(), "msgs/sec")


# --- streams and consumers -----------------------------------------------------------------------


def stream_add():
    nats("stream", "add", "ORDERS", "--subjects", "orders.>", "--storage", "file", "--defaults")
    config = nats_json("stream", "info", "ORDERS", "-j")["config"]
    assert config["subjects"] == ["orders.>"] and config["storage"] == "file", config
    expect(nats("stream", "ls", "-n"), "ORDERS")
    expect(nats("stream", "ls"), "ORDERS", "Messages")


def stream_publish_and_read():
    for number in (1, 2, 3):
        expect(nats("pub", f"orders.{number}", f"order-{number}", "-J"), f'Sequence: {number}')
    state = nats_json("stream", "info", "ORDERS", "-j")["state"]
    assert state["messages"] == 3 and state["last_seq"] == 3, state
    expect(nats("stream", "get", "ORDERS", "2"), "orders.2", "order-2")
    expect(nats("stream", "get", "ORDERS", "--last-for", "orders.3"), "order-3")
    expect(nats("stream", "subjects", "ORDERS"), "orders.1", "orders.2", "orders.3")


def stream_dedupe():
    for _ in range(2):
        nats("pub", "orders.dup", "once", "-J", "-H", "Nats-Msg-Id:unique-1")
    assert nats_json("stream", "info", "ORDERS", "-j")["state"]["messages"] == 4


def stream_edit():
    nats("stream", "edit", "ORDERS", "--max-msgs", "100", "-f")
    assert nats_json("stream", "info", "ORDERS", "-j")["config"]["max_msgs"] == 100
    expect(nats("stream", "edit", "ORDERS", "--storage", "memory", "-f", fails=True), "error")


def stream_delete_message():
    nats("stream", "rmm", "ORDERS", "4", "-f")
    state = nats_json("stream", "info", "ORDERS", "-j")["state"]
    assert state["messages"] == 3, state


def consumer_pull():
    nats("consumer", "add", "ORDERS", "PULL", "--pull", "--defaults")
    text = nats("consumer", "next", "ORDERS", "PULL", "--count", "2", "--ack")
    expect(text, "orders.1", "order-1", "orders.2", "order-2", "Acknowledged message")
    info = nats_json("consumer", "info", "ORDERS", "PULL", "-j")
    assert info["ack_floor"]["stream_seq"] == 2 and info["num_pending"] == 1, info
    expect(nats("consumer", "next", "ORDERS", "PULL", "--no-ack"), "order-3")
    assert nats_json("consumer", "info", "ORDERS", "PULL", "-j")["num_ack_pending"] == 1


def consumer_push():
    nats("consumer", "add", "ORDERS", "PUSH", "--target", "cli.push", "--ack", "none", "--deliver", "all", "--defaults")
    sub = Background("consumer", "sub", "ORDERS", "PUSH", ready="order-3")
    expect(sub.stop(), "order-1", "order-2", "order-3")


def stream_subscribe_ordered():
    sub = Background("sub", "orders.>", "--stream", "ORDERS", "--all", ready="order-3")
    expect(sub.stop(), "order-1", "order-2")


def consumer_rm():
    expect(nats("consumer", "ls", "ORDERS", "-n"), "PULL", "PUSH")
    nats("consumer", "rm", "ORDERS", "PULL", "-f")
    # The ordered subscription before this one may have left its ephemeral consumer behind.
    left = nats("consumer", "ls", "ORDERS", "-n").split()
    assert "PUSH" in left and "PULL" not in left, left


def stream_purge_and_rm():
    nats("stream", "purge", "ORDERS", "--subject", "orders.1", "-f")
    assert nats_json("stream", "info", "ORDERS", "-j")["state"]["messages"] == 2
    nats("stream", "purge", "ORDERS", "-f")
    assert nats_json("stream", "info", "ORDERS", "-j")["state"]["messages"] == 0
    nats("stream", "rm", "ORDERS", "-f")
    assert "ORDERS" not in nats("stream", "ls", "-n")


def stream_memory_with_limits():
    nats("stream", "add", "MEM", "--subjects", "mem.>", "--storage", "memory", "--max-msgs", "5", "--discard", "old", "--defaults")
    nats("pub", "mem.x", "m-{{.Count}}", "-J", "--count", "9")
    state = nats_json("stream", "info", "MEM", "-j")["state"]
    assert state["messages"] == 5 and state["first_seq"] == 5, state
    nats("stream", "rm", "MEM", "-f")


def work_queue():
    nats("stream", "add", "WORK", "--subjects", "work.>", "--retention", "work", "--defaults")
    nats("pub", "work.a", "job", "-J", "--count", "3")
    nats("consumer", "add", "WORK", "W", "--pull", "--defaults")
    nats("consumer", "next", "WORK", "W", "--count", "3", "--ack")
    deadline = time.monotonic() + LIMIT_S
    while nats_json("stream", "info", "WORK", "-j")["state"]["messages"]:
        assert time.monotonic() < deadline, "acknowledged work stays in the stream"
    nats("stream", "rm", "WORK", "-f")


def bench_jetstream():
    arguments = ("--msgs", "2000", "--no-progress", "--stream", "benchstream")
    expect(nats("bench", "js", "pub", "async", "cli.js.bench", "--create", "--purge", *arguments), "msgs/sec")
    expect(nats("bench", "js", "ordered", *arguments), "msgs/sec")
    expect(nats("bench", "js", "fetch", *arguments), "msgs/sec")
    nats("stream", "rm", "benchstream", "-f")


# --- key value and objects -----------------------------------------------------------------------


def kv_put_get():
    nats("kv", "add", "CONF", "--history", "5")
    expect(nats("kv", "put", "CONF", "colour", "red"), "red")
    assert nats("kv", "get", "CONF", "colour", "--raw") == "red"
    expect(nats("kv", "ls"), "CONF")


def kv_create_update():
    nats("kv", "create", "CONF", "size", "small")
    expect(nats("kv", "create", "CONF", "size", "big", fails=True), "wrong last sequence")
    nats("kv", "update", "CONF", "colour", "green", "1")
    expect(nats("kv", "update", "CONF", "colour", "blue", "1", fails=True), "wrong last sequence")
    expect(nats("kv", "history", "CONF", "colour"), "red", "green")


def kv_watch():
    watch = Background("kv", "watch", "CONF", ready="green")
    nats("kv", "put", "CONF", "shape", "round")
    watch.wait_for("round")
    nats("kv", "del", "CONF", "shape", "-f")
    watch.wait_for("DEL")
    watch.stop()


def kv_ls_del():
    assert sorted(nats("kv", "ls", "CONF").split()) == ["colour", "size"]
    nats("kv", "del", "CONF", "size", "-f")
    assert nats("kv", "ls", "CONF").split() == ["colour"]
    expect(nats("kv", "get", "CONF", "size", fails=True), "key not found")
    nats("kv", "purge", "CONF", "colour", "-f")
    nats("kv", "del", "CONF", "-f")


def object_store():
    source = Path(HOME) / "object"
    source.write_bytes(bytes(range(256)) * 2048)
    nats("object", "add", "FILES")
    watch = Background("object", "watch", "FILES", ready=None)
    expect(nats("object", "put", "FILES", str(source), "--name", "blob", "-f", "--no-progress"), "512 KiB")
    expect(nats("object", "ls", "FILES"), "blob")
    expect(nats("object", "info", "FILES", "blob"), "SHA-256")
    copy = Path(HOME) / "copy"
    nats("object", "get", "FILES", "blob", "-O", str(copy), "-f", "--no-progress")
    assert copy.read_bytes() == source.read_bytes(), "the object came back changed"
    watch.wait_for("blob")
    nats("object", "rm", "FILES", "blob", "-f")
    watch.wait_for("DEL")
    watch.stop()
    expect(nats("object", "get", "FILES", "blob", "-O", str(copy), "-f", fails=True), "not found")
    nats("object", "rm", "FILES", "-f")


def account_info():
    text = nats("account", "info")
    expect(text, "Account: $G", "Headers Supported: true", "JetStream Account Information", "Streams: 0")


CHECKS = [
    pub_and_sub, request_and_reply, request_without_responder, queue_group_shares_the_load, rtt, bench_core,
    stream_add, stream_publish_and_read, stream_dedupe, stream_edit, stream_delete_message, consumer_pull,
    consumer_push, stream_subscribe_ordered, consumer_rm, stream_purge_and_rm, stream_memory_with_limits,
    work_queue, bench_jetstream, kv_put_get, kv_create_update, kv_watch, kv_ls_del, object_store, account_info,
]

failed = 0
for check in CHECKS:
    try:
        check()
        print(f"ok {check.__name__}", flush=True)
    except Exception as error:  # a failed check must not hide the others
        failed += 1
        print(f"FAIL {check.__name__}: {' '.join(str(error).split())[:400]}", flush=True)
sys.exit(1 if failed else 0)
