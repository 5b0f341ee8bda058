#!/usr/bin/env python3
"""Measures medusa beside nginx, h2o and lighttpd over HTTP, in one run.

Each server runs with one worker on a core of its own; the load comes from another core. The
servers take turns, several rounds, and medians are compared, so that what else the machine does
falls on all of them alike. Compare only figures of one run, and CPU time a request rather than
requests a second: above about 100,000 a second the load generator is the bottleneck.

Before a server is timed, its replies are compared with the files. Peers that are not installed
are left out. On Debian, `apt-get install nginx-light h2o lighttpd wrk` gets all of them. Build
medusa first: `cargo build --release`.

suites:
  small      a file of 1 KiB, 64 kept connections
  pipelined  the same, 16 requests at once on each connection
  large      a file of 1 MiB
  gzip       pages of 100 KiB, coded on the fly: more of them in turn than Medusa keeps in that
             form. Not lighttpd, as in `coded`
  coded      one such page again and again, which Medusa codes once
  idle       private memory of each of 10,000 kept connections on which nothing happens
  slow       private memory in all, while 100 clients read a file of 100 MiB at 10 KB/s each
  start      time from the start to the first accepted connection (of medusa: to `ready`), and
             private memory when nothing has happened yet
  listing    a directory of 20,000 files, for the first time: time to the first byte of its page and
             to the last, and by how much the private memory rises meanwhile
  archive    (medusa only) a directory of 1 GiB as tar and as zip: MB a second, CPU time, and by how
             much the private memory rises meanwhile
"""

import argparse
import json
import os
import platform
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib

SUITES = ("small", "pipelined", "large", "gzip", "coded", "idle", "slow", "start", "listing", "archive")
LOADS = ("small", "pipelined", "large", "gzip", "coded")
SERVERS = ("medusa", "nginx", "h2o", "lighttpd")
FILES = {"1k.html": 1 << 10, "1m.bin": 1 << 20, "100m.bin": 100 << 20}

CONNECTIONS = 64
PIPELINED = 16
IDLE_CONNECTIONS = 10_000
SLOW_READERS = 100
SLOW_BYTES_A_SECOND = 10_000
SLOW_SECONDS = 10
LISTED_FILES = 20_000
ARCHIVED_FILES = {"large": (4, 128 << 20), "middle": (256, 1 << 20), "small": (16_384, 16 << 10)}
# How often memory is looked at while something goes on.
SAMPLE_SECONDS = 0.001
# Medusa keeps no file in memory that has changed this recently, for a further change within one
# tick of the file system's clock could not be told.
SETTLE_SECONDS = 2.5

# Their coded forms are 24 MB in all, and what Medusa keeps is bounded by 16 MiB.
PAGES = 1500
PAGE_BYTES = 100 << 10

PAGES_SCRIPT = f"""
local n = 0
wrk.headers["Accept-Encoding"] = "gzip"
request = function()
  n = n % {PAGES} + 1
  return wrk.format(nil, string.format("/pages/%d.html", n))
end
"""

PIPELINE_SCRIPT = f"""
init = function()
  local all = {{}}
  for i = 1, {PIPELINED} do all[i] = wrk.format(nil, wrk.path) end
  requests = table.concat(all)
end
request = function() return requests end
"""


def main():
    options = parse_arguments()
    descriptors = raise_descriptor_limit()
    os.sched_setaffinity(0, {options.load_core})
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        # The peers may drop to another user.
        os.chmod(directory, 0o755)
        site = make_site(directory, options.suites)
        names = [name for name in options.servers if is_installed(name, options)]
        results = {}
        for suite in options.suites:
            results[suite] = run_suite(suite, names, site, directory, descriptors, options)
            report(suite, results[suite])
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"machine": machine(), "results": results}, out, indent=1)
            out.write("\n")


def parse_arguments():
    summary, suites = __doc__.split("suites:\n")
    parser = argparse.ArgumentParser(
        description=summary,
        epilog="suites:\n" + suites,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    here = os.path.dirname(os.path.abspath(__file__))
    binary = os.path.normpath(os.path.join(here, "..", "target", "release", "medusa"))
    add = parser.add_argument
    add("suites", nargs="+", choices=(*SUITES, "all"), metavar="SUITE",
        help="what to measure, or `all`")
    add("--rounds", type=int, default=5, metavar="N", help="rounds (default: 5)")
    add("--seconds", type=int, default=3, metavar="S", help="seconds of load a round (default: 3)")
    add("--servers", default=",".join(SERVERS), metavar="LIST",
        help="which servers, with commas between them (default: all)")
    add("--medusa", default=binary, metavar="PATH",
        help="medusa's binary (default: target/release/medusa)")
    add("--no-log", action="store_true",
        help="switch medusa's access log off; by default it is on, as when it is started without "
        "flags, while the peers write none")
    add("--server-core", type=int, default=0, metavar="CORE",
        help="core of the servers (default: 0)")
    add("--load-core", type=int, default=1, metavar="CORE", help="core of the load (default: 1)")
    add("--gzip-level", type=int, default=4, metavar="N",
        help="level of the peers' gzip (default: 4, which is Medusa's)")
    add("--json", metavar="FILE", help="also write every single value to FILE")
    options = parser.parse_args()
    if "all" in options.suites:
        options.suites = list(SUITES)
    options.servers = options.servers.split(",")
    for name in options.servers:
        if name not in SERVERS:
            parser.error(f"there is no server `{name}`: choose from {', '.join(SERVERS)}")
    if not {options.server_core, options.load_core} <= os.sched_getaffinity(0):
        parser.error("the cores are not there: choose others with --server-core and --load-core")
    if set(LOADS) & set(options.suites) and not shutil.which("wrk"):
        parser.error("wrk is not installed: apt-get install wrk")
    return options


def is_installed(name, options):
    if name == "medusa":
        if not os.access(options.medusa, os.X_OK):
            sys.exit(f"there is no {options.medusa}: build it with `cargo build --release`")
        return True
    if shutil.which(name):
        return True
    print(f"{name} is not installed and is left out", file=sys.stderr)
    return False


def raise_descriptor_limit():
    """Allows as many open files as the system lets us, for us and the servers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def make_site(directory, suites):
    site = os.path.join(directory, "site")
    os.mkdir(site, 0o755)
    for name, size in FILES.items():
        if name != "100m.bin" or "slow" in suites:
            with open(os.path.join(site, name), "wb") as out:
                line = b"abcdefghijklmnopqrstuvwxyz012345"
                for _ in range(0, size, 1024):
                    out.write(line * 32)
            os.chmod(os.path.join(site, name), 0o644)
    if "listing" in suites:
        os.mkdir(os.path.join(site, "many"), 0o755)
        for number in range(LISTED_FILES):
            name = f"a file of many, number {number:06}.txt"
            with open(os.path.join(site, "many", name), "wb") as out:
                out.write(b"content")
    if "archive" in suites:
        content = os.urandom(128 << 20)
        for kind, (count, size) in ARCHIVED_FILES.items():
            os.makedirs(os.path.join(site, "archive", kind))
            for number in range(count):
                with open(os.path.join(site, "archive", kind, str(number)), "wb") as out:
                    out.write(content[:size])
    if {"gzip", "coded"} & set(suites):
        make_pages(os.path.join(site, "pages"))
    time.sleep(SETTLE_SECONDS)
    return site


def make_pages(directory):
    """Pages of a site that gzip makes about a fifth as long: text within a good deal of markup."""
    os.mkdir(directory, 0o755)
    dice = random.Random(1)
    letters = "etaoinshrdlu"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(1500)]
    often = [1 / (place + 1) for place in range(len(words))]
    text = lambda count: " ".join(dice.choices(words, often, k=count))
    entries = [
        f'''<article class="entry" id="entry-{number}">
  <header class="entry-header">
    <h2 class="entry-title"><a href="/articles/{number}/{text(1)}.html" rel="bookmark">{text(5)}</a></h2>
    <p class="entry-meta">By <a class="author" href="/people/{text(1)}">{text(2)}</a></p>
  </header>
  <div class="entry-summary"><p>{text(dice.randint(10, 30))}.</p></div>
  <footer class="entry-footer"><ul class="tags">
    <li><a href="/tags/{text(1)}" rel="tag">{text(1)}</a></li>
    <li><a href="/tags/{text(1)}" rel="tag">{text(1)}</a></li>
  </ul></footer>
</article>
'''
        for number in range(3000)
    ]
    for number in range(1, PAGES + 1):
        page = "<!DOCTYPE html>\n<title>Page</title>\n" + "".join(dice.choices(entries, k=250))
        path = os.path.join(directory, f"{number}.html")
        with open(path, "w") as out:
            out.write(page[:PAGE_BYTES])
        os.chmod(path, 0o644)


class Server:
    """A running server."""

    def __init__(self, name, site, directory, descriptors, options):
        self.name = name
        self.place = tempfile.mkdtemp(prefix=name + "-", dir=directory)
        os.chmod(self.place, 0o755)
        self.port = free_port()
        command = getattr(self, name)(site, descriptors, options)
        log = open(os.path.join(self.place, "log"), "wb")
        start = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if name == "medusa" else log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {options.server_core}),
        )
        log.close()
        self.wait_until_ready()
        self.ready_seconds = time.monotonic() - start

    def medusa(self, site, _, options):
        level = ["--log-level", "warn"] if options.no_log else []
        http = ["--http", f"127.0.0.1:{self.port}", "--no-ftp"]
        return [options.medusa, "serve", site, *http, *level]

    def nginx(self, site, descriptors, options):
        return ["nginx", "-c", self.configure(f"""
            # One worker, as the others; in front, so that it ends with us.
            worker_processes 1;
            daemon off;
            pid {self.place}/pid;
            error_log {self.place}/errors warn;
            worker_rlimit_nofile {descriptors};
            events {{
                worker_connections {descriptors - 100};
                multi_accept on;
            }}
            http {{
                access_log off;
                # The quick way for files: no copy, full packets, no open a request.
                sendfile on;
                tcp_nopush on;
                open_file_cache max=2000 inactive=60s;
                open_file_cache_valid 30s;
                # Connections are kept however long the run takes.
                keepalive_timeout 600;
                keepalive_requests 1000000000;
                types {{ text/html html; }}
                # Only for those who ask for it.
                gzip on;
                gzip_comp_level {options.gzip_level};
                server {{
                    listen 127.0.0.1:{self.port} backlog=4096;
                    root {site};
                    autoindex on;
                }}
            }}
        """)]

    def h2o(self, site, descriptors, options):
        return ["h2o", "-c", self.configure(f"""
            num-threads: 1
            max-connections: {descriptors - 100}
            http1-request-timeout: 600
            error-log: {self.place}/errors
            compress: {{gzip: {options.gzip_level}}}
            {"user: root" if os.geteuid() == 0 else ""}
            hosts:
              default:
                listen: {{host: 127.0.0.1, port: {self.port}}}
                paths:
                  "/":
                    file.dir: {site}
                    file.dirlisting: ON
        """)]

    def lighttpd(self, site, descriptors, _):
        return ["lighttpd", "-D", "-f", self.configure(f"""
            server.document-root = "{site}"
            server.bind = "127.0.0.1"
            server.port = {self.port}
            # Connections are kept however long the run takes.
            server.max-keep-alive-requests = 100000000
            server.max-keep-alive-idle = 600
            # It allows a connection for every two descriptors.
            server.max-fds = {descriptors}
            server.max-connections = {descriptors // 2}
            mimetype.assign = ( ".html" => "text/html" )
            dir-listing.activate = "enable"
        """)]

    def configure(self, text):
        """Writes a configuration file without the indentation that it has here."""
        path = os.path.join(self.place, "configuration")
        with open(path, "w") as out:
            lines = text.splitlines()
            out.write("\n".join(line.removeprefix(" " * 12) for line in lines) + "\n")
        return path

    def wait_until_ready(self):
        end = time.monotonic() + 20
        if self.name == "medusa":
            for line in self.process.stdout:
                if line == b"ready\n":
                    return
        while self.process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.001)
        self.stop()
        with open(os.path.join(self.place, "log")) as log:
            sys.exit(f"{self.name} does not start:\n{log.read()}")

    def processes(self):
        """The ids of the server and of its workers."""
        found, at = [self.process.pid], 0
        while at < len(found):
            for thread in os.listdir(f"/proc/{found[at]}/task"):
                with open(f"/proc/{found[at]}/task/{thread}/children") as children:
                    found += map(int, children.read().split())
            at += 1
        return found

    def cpu_seconds(self):
        """User and system time of all threads so far."""
        ticks = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def private_bytes(self):
        """Anonymous memory that is resident: what would be free without this server."""
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/status") as status:
                total += int(re.search(r"RssAnon:\s+(\d+)", status.read())[1]) * 1024
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_suite(suite, names, site, directory, descriptors, options):
    """Gives, for each server, its values: one of each round."""
    if suite in ("gzip", "coded"):
        names = [name for name in names if name != "lighttpd"]
    results = {name: [] for name in names}
    show = Progress(suite, len(names) * options.rounds)
    make = lambda name: Server(name, site, directory, descriptors, options)
    measure = MEASURES[suite]
    if suite == "archive":
        results = {name: [] for name in names if name == "medusa"}
        names = list(results)
    if suite in ("idle", "slow", "start", "listing", "archive"):
        # Memory is measured in a fresh process each time.
        for _ in range(options.rounds):
            for name in names:
                server = make(name)
                try:
                    results[name].append(measure(server, directory, descriptors, options))
                finally:
                    server.stop()
                show.step()
    else:
        servers = []
        try:
            servers = [make(name) for name in names]
            for server in servers:
                check(server, site)
            for _ in range(options.rounds):
                for server in servers:
                    results[server.name].append(measure(server, directory, descriptors, options))
                    show.step()
        finally:
            for server in servers:
                server.stop()
    return results


class Progress:
    """A line on a terminal that says how far a suite has come."""

    def __init__(self, suite, steps):
        self.suite, self.steps, self.done = suite, steps, 0

    def step(self):
        self.done += 1
        if sys.stderr.isatty():
            line = f"\r{self.suite}: {self.done} of {self.steps}"
            end = "\n" if self.done == self.steps else ""
            print(line, end=end, file=sys.stderr, flush=True)


def check(server, site):
    """Compares what is served with the files."""
    for name in ("1k.html", "1m.bin"):
        head, body = fetch(server, name)
        with open(os.path.join(site, name), "rb") as file:
            if not head.startswith(b"HTTP/1.1 200 ") or body != file.read():
                sys.exit(f"{server.name} does not serve {name} as it is: {head[:40]}")


def fetch(server, path, lines=""):
    """Gets the head and the body of a reply."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        request = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\n\r\n"
        connection.sendall(request.encode())
        reply = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" in head.lower():
        chunks, body = body, b""
        while chunks:
            size, _, chunks = chunks.partition(b"\r\n")
            body, chunks = body + chunks[: int(size, 16)], chunks[int(size, 16) + 2 :]
    return head, body


def load(server, path, directory, options, script=None):
    """Puts load on a server: values of wrk, and the CPU time that it cost."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{options.seconds}s", "--latency"]
    if script:
        file = os.path.join(directory, "script.lua")
        with open(file, "w") as out:
            out.write(script)
        command += ["-s", file]
    before = server.cpu_seconds()
    command.append(f"http://127.0.0.1:{server.port}/{path}")
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = server.cpu_seconds() - before
    for trouble in re.findall(r"Non-2xx.*|Socket errors.*", text):
        print(f"{server.name}: {trouble}", file=sys.stderr)
    requests = int(re.search(r"(\d+) requests in", text)[1])
    values = {
        "requests/s": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "CPU us/request": spent * 1e6 / requests,
    }
    if script != PIPELINE_SCRIPT:
        # Of pipelined requests wrk tells the latency of whole batches only.
        for percentile in ("50", "99"):
            number, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", text).groups()
            values[f"p{percentile} us"] = float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
    return values


def small(server, directory, _, options):
    return load(server, "1k.html", directory, options)


def pipelined(server, directory, _, options):
    return load(server, "1k.html", directory, options, PIPELINE_SCRIPT)


def large(server, directory, _, options):
    values = load(server, "1m.bin", directory, options)
    return {"MB/s": values["requests/s"] * FILES["1m.bin"] / 1e6, **values}


def gzip(server, directory, _, options):
    values = load(server, "", directory, options, PAGES_SCRIPT)
    return {"bytes a page": coded_bytes(server), **values}


def coded(server, directory, _, options):
    one = PAGES_SCRIPT.replace(f"n % {PAGES} + 1", "1")
    values = load(server, "", directory, options, one)
    return {"bytes a page": coded_bytes(server), **values}


def coded_bytes(server):
    """The length of a page on the wire, without head and framing."""
    total, count = 0, 20
    for number in range(1, count + 1):
        body = fetch(server, f"pages/{number}.html", "Accept-Encoding: gzip\r\n")[1]
        if len(zlib.decompress(body, wbits=31)) != PAGE_BYTES:
            sys.exit(f"{server.name} does not serve its pages as they are")
        total += len(body)
    return total / count


def idle(server, _, descriptors, __):
    request = b"GET /1k.html HTTP/1.1\r\nHost: localhost\r\n\r\n"
    wanted = min(IDLE_CONNECTIONS, descriptors - 500)
    before = server.private_bytes()
    connections = []
    try:
        for _ in range(wanted):
            connection = socket.create_connection(("127.0.0.1", server.port), 10)
            connections.append(connection)
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise OSError("no reply")
    except OSError as error:
        print(f"{server.name}: only {len(connections)} connections: {error}", file=sys.stderr)
    time.sleep(0.5)
    after = server.private_bytes()
    for connection in connections:
        connection.close()
    each = (after - before) / max(1, len(connections))
    return {"bytes each": each, "KiB in all": after / 1024, "connections": len(connections)}


def slow(server, _, __, ___):
    readers = []
    for _ in range(SLOW_READERS):
        reader = socket.create_connection(("127.0.0.1", server.port), 10)
        reader.sendall(b"GET /100m.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        readers.append(reader)
    ticks_a_second = 10
    got, start = 0, time.monotonic()
    for tick in range(SLOW_SECONDS * ticks_a_second):
        for reader in readers:
            got += len(reader.recv(SLOW_BYTES_A_SECOND // ticks_a_second))
        time.sleep(max(0, start + (tick + 1) / ticks_a_second - time.monotonic()))
    after = server.private_bytes()
    for reader in readers:
        reader.close()
    if got < SLOW_READERS * SLOW_BYTES_A_SECOND * SLOW_SECONDS * 0.9:
        print(f"{server.name}: only {got} bytes came", file=sys.stderr)
    return {"KiB in all": after / 1024}


def start(server, _, __, ___):
    time.sleep(0.2)
    memory = server.private_bytes() / 1024
    return {"ms to ready": server.ready_seconds * 1e3, "KiB when idle": memory}


class Peak:
    """The most private memory of a server while something goes on."""

    def __init__(self, server):
        self.server, self.before = server, server.private_bytes()
        self.most, self.over = self.before, threading.Event()
        self.thread = threading.Thread(target=self.sample)

    def sample(self):
        while not self.over.wait(SAMPLE_SECONDS):
            self.most = max(self.most, self.server.private_bytes())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def rise(self):
        return (self.most - self.before) / 1024


def timed_fetch(server, target):
    """Reads a reply to its end: seconds to the first byte, seconds in all, bytes."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        begin = time.monotonic()
        connection.sendall(request.encode())
        got = connection.recv_into(buffer)
        first = time.monotonic() - begin
        if not bytes(buffer[:13]).startswith(b"HTTP/1.1 200 "):
            sys.exit(f"{server.name} does not serve {target}: {bytes(buffer[:40])}")
        while count := connection.recv_into(buffer):
            got += count
    return first, time.monotonic() - begin, got


def listing(server, _, __, ___):
    time.sleep(0.2)
    with Peak(server) as peak:
        first, whole, got = timed_fetch(server, "/many/")
    return {
        "ms to first byte": first * 1e3,
        "ms to last byte": whole * 1e3,
        "KiB of page": got / 1024,
        "KiB of memory": peak.rise(),
    }


def archive(server, _, __, ___):
    time.sleep(0.2)
    values = {}
    for kind in ("tar", "zip"):
        before = server.cpu_seconds()
        with Peak(server) as peak:
            _, whole, got = timed_fetch(server, f"/archive/?archive={kind}")
        spent = server.cpu_seconds() - before
        values[f"{kind}: MB/s"] = got / whole / 1e6
        values[f"{kind}: CPU ms"] = spent * 1e3
        values[f"{kind}: KiB of memory"] = peak.rise()
    return values


MEASURES = dict(
    zip(
        SUITES,
        (small, pipelined, large, gzip, coded, idle, slow, start, listing, archive),
    )
)


def report(suite, results):
    """Prints a table: medians, their spread, and how medusa compares."""
    print(f"\n{suite}, rounds: {max(map(len, results.values()))}\n")
    metrics = list(next(iter(results.values()))[0])
    print("| server | " + " | ".join(metrics) + " |")
    print("|---|" + "---|" * len(metrics))
    middle = {
        name: {metric: statistics.median(value[metric] for value in values) for metric in metrics}
        for name, values in results.items()
    }
    for name, values in results.items():
        cells = []
        for metric in metrics:
            all_values = [value[metric] for value in values]
            cell = figure(middle[name][metric])
            if min(all_values) != max(all_values):
                cell += f" ({figure(min(all_values))} to {figure(max(all_values))})"
            cells.append(cell)
        print(f"| {name} | " + " | ".join(cells) + " |")
    ours = middle.get("medusa")
    for name in middle:
        if ours and name != "medusa":
            theirs = middle[name]
            ratios = [f"{ours[m] / theirs[m]:.2f}" if theirs[m] else "-" for m in metrics]
            print(f"| medusa / {name} | " + " | ".join(ratios) + " |")


def figure(value):
    """A number with as many digits as it deserves."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def machine():
    """What the figures were taken on."""
    with open("/proc/cpuinfo") as info:
        model = re.search(r"model name\s*:\s*(.*)", info.read())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "command": " ".join(sys.argv),
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }


if __name__ == "__main__":
    main()
