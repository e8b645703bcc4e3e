"""Runs the async-nats scenarios (a cargo test) and reports them one check per test."""

import re
import subprocess
import sys

COMMAND = ["cargo", "test", "-p", "jetwake-tests", "--test", "interop_async_nats"]

done = subprocess.run(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
for name, result in re.findall(r"^test (\S+) \.\.\. (\w+)", done.stdout, re.M):
    print(f"ok {name}" if result == "ok" else f"FAIL {name}: {result}")
if done.returncode:
    print(done.stdout)
sys.exit(done.returncode)
