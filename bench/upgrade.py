#!/usr/bin/env python3
"""Measures what clients notice of upgrades of medusa's binary (SIGUSR2) and of reloads of its
configuration (SIGHUP) while they load it.

wrk asks for a small file over 64 kept connections. In some rounds the program is replaced again and
again meanwhile, in others its configuration changes and is read again, in others it is left alone;
the rounds take turns. Failed requests must be 0, and the 99th percentile of the latency below 50 ms. Build medusa first:
`cargo build --release`; on Debian, `apt-get install wrk`.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 64
MAX_P99_MS = 50
UNITS_MS = {"us": 0.001, "ms": 1, "s": 1000}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    binary = os.path.normpath(os.path.join(here, "..", "target", "release", "medusa"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="rounds of each kind (default: 5)")
    add("--seconds", type=int, default=5, metavar="S", help="seconds a round (default: 5)")
    add("--every", type=float, default=0.5, metavar="S",
        help="seconds between two upgrades or reloads (default: 0.5)")
    add("--medusa", default=binary, metavar="PATH",
        help="medusa's binary (default: target/release/medusa)")
    options = parser.parse_args()
    results = {"undisturbed": [], "upgrades": [], "reloads": []}
    done = dict.fromkeys(results, 0)
    for _ in range(options.rounds):
        for kind, into in results.items():
            result = one_round(options, kind)
            done[kind] += result.pop("done")
            into.append(result)
    for kind, rounds in results.items():
        p99 = [r["p99_ms"] for r in rounds]
        failed = sum(r["failed"] for r in rounds)
        total = sum(r["requests"] for r in rounds)
        print(f"{kind:12} {total:9} requests, {failed} failed; p99 {statistics.median(p99):.2f} ms "
              f"(rounds: {min(p99):.2f} to {max(p99):.2f})")
    print(f"{done['upgrades']} upgrades and {done['reloads']} reloads, each in {options.rounds} "
          f"rounds of {options.seconds} s")
    disturbed = results["upgrades"] + results["reloads"]
    bad = [r for r in disturbed if r["failed"] or r["p99_ms"] >= MAX_P99_MS]
    sys.exit(1 if bad or not (done["upgrades"] and done["reloads"]) else 0)


def one_round(options, kind):
    """Loads a server of its own for a while."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        with open(os.path.join(directory, "1k.html"), "wb") as file:
            file.write(b"x" * 1024)
        server = Server(options.medusa, directory)
        try:
            url = f"http://{server.address}/1k.html"
            load = subprocess.Popen(
                ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{options.seconds}", "--latency", url],
                stdout=subprocess.PIPE, text=True)
            done = 0
            time.sleep(options.every)
            # The last one still has load behind it.
            until = time.monotonic() + options.seconds - 3 * options.every
            while kind != "undisturbed" and time.monotonic() < until:
                server.upgrade() if kind == "upgrades" else server.reload()
                done += 1
                time.sleep(options.every)
            output, _ = load.communicate()
        finally:
            server.stop()
    return {"done": done, **read_wrk(output)}


def read_wrk(output):
    """Takes the figures out of wrk's report."""
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)",
                       output)
    failed = sum(map(int, errors.groups())) if errors else 0
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    failed += int(wrong.group(1)) if wrong else 0
    requests = int(re.search(r"(\d+) requests in", output).group(1))
    return {"p99_ms": float(number) * UNITS_MS[unit], "failed": failed, "requests": requests}


class Server:
    """medusa, and whatever process has taken over from it."""

    def __init__(self, binary, directory):
        self.directory = directory
        self.reloads = 0
        self.write_configuration()
        self.process = subprocess.Popen(
            [binary, "serve", "--config", os.path.join(directory, "medusa.toml")],
            stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.address = self.wait_until_ready()

    def wait_until_ready(self):
        """Gives the address at which it listens."""
        address = None
        for line in iter(self.process.stdout.readline, ""):
            if line == "ready\n":
                return address
            address = line.split()[-1]
        sys.exit("medusa did not start")

    def upgrade(self):
        """Replaces the program and waits until the new process serves."""
        os.kill(self.pid, signal.SIGUSR2)
        self.wait_until_ready()
        tasks = f"/proc/{self.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/children") as children:
                for child in children.read().split():
                    self.pid = int(child)
                    return
        sys.exit("the process that became ready is not to be found")

    def write_configuration(self):
        """Writes a configuration that is another one each time."""
        # Without the lines of requests, which nobody here reads.
        with open(os.path.join(self.directory, "medusa.toml"), "w") as file:
            file.write(f"""
[log]
to = "log"
[log.access]
to = "off"
[files.site]
path = "."
[[server]]
protocol = "http"
listen = "127.0.0.1:0"
limits.keep_alive = "{60 + self.reloads}s"
extension = [{{ use = "files", files = "site" }}]
""")

    def reload(self):
        """Changes the configuration and waits until the new one is in force."""
        self.reloads += 1
        self.write_configuration()
        os.kill(self.pid, signal.SIGHUP)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with open(os.path.join(self.directory, "log")) as log:
                if log.read().count("reloaded") == self.reloads:
                    return
            time.sleep(0.001)
        sys.exit("the configuration was not reloaded")

    def stop(self):
        for pid in {self.pid, self.process.pid}:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        self.process.wait()


if __name__ == "__main__":
    main()
