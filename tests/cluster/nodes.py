"""Three server processes that form a cluster, started as client suites start them."""

import atexit
import os
import shutil
import subprocess


class Nodes:
    def __init__(self, server, base, directory):
        self.server, self.base, self.directory = server, base, directory
        self.processes = {}
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        atexit.register(self.stop)
        for node in (1, 2, 3):
            self.start(node)

    def start(self, node):
        routes = ",".join(f"nats://127.0.0.1:{self.base + 10 + one}" for one in (1, 2, 3))
        arguments = [
            self.server, "-js", "-n", f"n{node}", "-p", str(self.base + node),
            "--store_dir", f"{self.directory}/d{node}", "-l", f"{self.directory}/log{node}",
            "--cluster_name", "C1", "--cluster", f"nats://127.0.0.1:{self.base + 10 + node}",
            "--routes", routes,
        ]
        quiet = subprocess.DEVNULL
        self.processes[node] = subprocess.Popen(arguments, stdout=quiet, stderr=quiet)

    def signal(self, node, which):
        self.processes[node].send_signal(which)

    def wait(self, node):
        self.processes[node].wait()

    def url(self, node):
        return f"nats://127.0.0.1:{self.base + node}"

    def urls(self):
        return [self.url(node) for node in (1, 2, 3)]

    def stop(self):
        for process in self.processes.values():
            process.kill()
