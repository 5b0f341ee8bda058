#!/usr/bin/env python3
"""Measures what operators at the monitor cost everybody else.

  runaway  statements that would never end, or take all there is, are typed again and again while wrk
           loads the server with 64 connections: how each ends by itself, and the p99 of the others
  plugs    an extension is plugged in and taken out 1,000 times under the same load: failed requests,
           and private memory before, after, and at most
  idle     how often the server wakes within 10 seconds, with a session open at which nobody types

Build medusa first: `cargo build --release`. wrk must be installed. The server runs on a core of its
own, the load on another; statements are sent as `medusa console` sends them. Latencies are those of
a clock on the wall: where other programs want these cores, look at the row `nothing` first, or begin
the command with `chrt --fifo 10`.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

# `http.py` beside this file, not Python's own.
import http as bench

IDLE_SECONDS = 10
PLUGS = 1000
RUNAWAYS = {
    "nothing": "1",
    "endless loop": "while true do end",
    "the same, caught": "while true do pcall(function() while true do end end) end",
    "the same, in a coroutine": "coroutine.wrap(function() while true do end end)()",
    "endless allocation": "local t = {} while true do t[#t + 1] = {} end",
    "endless text": "local s = 'x' while true do s = s .. s end",
    "giant output": "while true do print(('x'):rep(1000)) end",
    "string.rep of 10 GB": "('x'):rep(10000000000)",
    "catastrophic pattern": "string.find(('a'):rep(1e4), '.-.-.-.-b$')",
    "the same, again and again":
        "while true do pcall(string.find, ('a'):rep(1e4), '.-.-.-.-b$') end",
    "sort, endless comparator": "table.sort({3, 2, 1}, function() while true do end end)",
    "the same, in a coroutine and caught":
        "coroutine.wrap(function() pcall(table.sort, {3, 2, 1}, "
        "function() while true do end end) while true do end end)()",
    "endless tostring":
        "tostring(setmetatable({}, {__tostring = function() while true do end end}))",
}


class Server(bench.Server):
    """Medusa with a monitor on a Unix-domain socket."""

    def medusa(self, site, _, options):
        self.monitor = os.path.join(self.place, "monitor.sock")
        return [options.medusa, "serve", "--config", self.configure(f"""
            [log.access]
            to = "off"
            [monitor]
            local = false
            listen = "unix:{self.monitor}"
            statement_time = "{options.statement_time}"
            [monitor.audit]
            to = "{self.place}/audit"
            [[server]]
            protocol = "http"
            listen = "127.0.0.1:{self.port}"
            [[server.extension]]
            use = "files"
            files = "site"
            [files.site]
            path = "{site}"
        """)]


class Session:
    """A session at the monitor."""

    def __init__(self, server):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(server.monitor)
        self.lines = self.socket.makefile("rb")
        self.last = 0
        while "welcome" not in (said := json.loads(self.lines.readline())):
            if "refused" in said:
                sys.exit(f"the monitor refuses a session: {said['refused']['why']}")

    def run(self, code):
        """Runs a statement to its end; gives the answer and the bytes that it printed."""
        self.last += 1
        request = {"run": {"id": self.last, "code": code}}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        printed = 0
        for line in self.lines:
            (kind, message), = json.loads(line).items()
            if kind == "print":
                printed += len(message["text"])
            elif kind in ("done", "failed") and message["id"] == self.last:
                return kind, message, printed
        sys.exit("the monitor has ended the session")


class Load:
    """wrk, while something else goes on."""

    def __init__(self, server, seconds):
        command = ["wrk", "-t1", f"-c{bench.CONNECTIONS}", f"-d{seconds}s", "--latency"]
        command.append(f"http://127.0.0.1:{server.port}/1k.html")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def is_running(self):
        return self.process.poll() is None

    def wait(self):
        """Latencies in milliseconds, requests, and how many failed."""
        text = self.process.communicate()[0]
        values = {}
        for percentile in ("50", "99"):
            number, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)\b", text).groups()
            values[f"p{percentile}"] = float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
        number, unit = re.search(r"Latency(?:\s+\S+){2}\s+([\d.]+)(us|ms|s)\b", text).groups()
        values["most"] = float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
        values["requests"] = int(re.search(r"(\d+) requests in", text)[1])
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        values["failed"] = int(failed[1]) if failed else 0
        values["failed"] += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
        return values


def main():
    options = parse_arguments()
    descriptors = bench.raise_descriptor_limit()
    os.sched_setaffinity(0, {options.load_core})
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        site = bench.make_site(directory, [])
        server = Server("medusa", site, directory, descriptors, options)
        try:
            bench.check(server, site)
            for suite in options.suites:
                print(f"\n{suite}\n")
                {"runaway": runaway, "plugs": plugs, "idle": idle}[suite](server, options)
        finally:
            server.stop()


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = os.path.dirname(os.path.abspath(__file__))
    binary = os.path.normpath(os.path.join(here, "..", "target", "release", "medusa"))
    add = parser.add_argument
    add("suites", nargs="*", metavar="SUITE", help="what to measure (default: all)")
    add("--seconds", type=int, default=5, metavar="S",
        help="seconds of load for each kind of statement (default: 5)")
    add("--statement-time", default="10s", metavar="TIME",
        help="how long a statement may run (default: 10s, as it is without a configuration)")
    add("--medusa", default=binary, metavar="PATH",
        help="medusa's binary (default: target/release/medusa)")
    add("--server-core", type=int, default=0, metavar="CORE",
        help="core of the server (default: 0)")
    add("--load-core", type=int, default=1, metavar="CORE", help="core of the load (default: 1)")
    options = parser.parse_args()
    options.no_log = True
    options.suites = options.suites or ["runaway", "plugs", "idle"]
    if not set(options.suites) <= {"runaway", "plugs", "idle"}:
        parser.error("the suites are runaway, plugs and idle")
    if not shutil.which("wrk"):
        parser.error("wrk is not installed: apt-get install wrk")
    return options


def runaway(server, options):
    print("| statement | times | ends by | after ms | p50 | p99 ms | most | requests | failed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, code in RUNAWAYS.items():
        session, ends, longest, times = Session(server), set(), 0, 0
        load = Load(server, options.seconds)
        while load.is_running():
            begin = time.monotonic()
            kind, message, _ = session.run(code)
            longest = max(longest, time.monotonic() - begin)
            ends.add(f"{message.get('budget') or kind}: {message.get('message', '')}".strip(": "))
            times += 1
        values = load.wait()
        session.socket.close()
        cells = [name, str(times), "; ".join(sorted(ends)), f"{longest * 1e3:,.0f}"]
        cells += [f"{values[key]:.2f}" for key in ("p50", "p99", "most")]
        print("| " + " | ".join(cells) + f" | {values['requests']:,} | {values['failed']} |")


def plugs(server, options):
    session = Session(server)
    add = 'act("servers/http/extensions", "add", [[use = "fixed"\nmatch = "/hello"\n' \
        'name = "greeting"\ntext = "hello"]], 1)'
    remove = 'act("servers/http/extensions/greeting", "remove")'

    def turn():
        for code in (add, remove):
            kind, message, _ = session.run(code)
            if kind != "done":
                sys.exit(f"{code}: {message['message']}")

    load = Load(server, 1)
    turn()
    load.wait()
    before, most, asked, failed = server.private_bytes(), 0, 0, 0
    begin, load = time.monotonic(), Load(server, options.seconds)
    for number in range(PLUGS):
        turn()
        most = max(most, server.private_bytes())
        if not load.is_running():
            values = load.wait()
            asked, failed = asked + values["requests"], failed + values["failed"]
            load = Load(server, options.seconds)
        if number % (PLUGS // 4) == PLUGS // 4 - 1:
            print(f"after {number + 1}: {server.private_bytes() / 1024:,.0f} KiB")
    took = time.monotonic() - begin
    values = load.wait()
    asked, failed = asked + values["requests"], failed + values["failed"]
    session.socket.close()
    time.sleep(1)
    print(f"{PLUGS} times in and out in {took:.1f} s: {asked:,} requests, {failed} failed; "
        f"p99 {values['p99']:.2f} ms")
    after = server.private_bytes()
    print(f"private memory: {before / 1024:,.0f} KiB before, {after / 1024:,.0f} after, "
        f"{most / 1024:,.0f} at most")


def idle(server, _):
    session = Session(server)
    session.run("1")
    # What keeps caches for a moment has forgotten them by then.
    time.sleep(3)

    def wakes():
        total = 0
        for thread in os.listdir(f"/proc/{server.process.pid}/task"):
            with open(f"/proc/{server.process.pid}/task/{thread}/status") as status:
                found = re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", status.read())
            total += int(found[1])
        return total

    before = wakes()
    time.sleep(IDLE_SECONDS)
    print(f"{wakes() - before} wake-ups in {IDLE_SECONDS} s, a session being open")
    session.socket.close()


if __name__ == "__main__":
    main()
