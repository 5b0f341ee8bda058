#!/usr/bin/env python3
"""Measures medusa beside vsftpd, pyftpdlib, proftpd and pure-ftpd over FTP, in one run.

Each server runs on a core of its own; the load comes from another core. The servers take turns,
several rounds, and medians are compared. What counts is the CPU time of the server, all of its
processes and those of them that have ended: what a client takes for itself is not in it. Compare
only figures of one run.

Before a server is timed, what it sends and takes is compared with the files. Peers that are not
installed are left out. On Debian, `apt-get install vsftpd python3-pyftpdlib` gets the two that
matter; proftpd-core and pure-ftpd cannot be installed beside vsftpd, but unpacked: `apt-get
download`, `dpkg -x`, and --path. pyftpdlib is also taken from `pip install pyftpdlib`. All peers
serve anybody, and so the tree that is written to must be open to all; run this as root, which
vsftpd and pure-ftpd need to begin with. Build medusa first: `cargo build --release`.

suites:
  sessions   connect, log in, quit, one session after the other
  small      a file of 1 KiB in a session, again and again, each with EPSV
  large      a file of 100 MiB, fetched and then stored
  idle       private memory of a session that is logged in and does nothing: of 5,000, or of 100
             with servers that have processes for each
  busy       (medusa and pyftpdlib) 5,000 idle logins, 50 clients that fetch 100 MiB again and again:
             what a NOOP takes meanwhile
  listing    a directory of 20,000 files: MLSD, of those that know it, else LIST
"""

import argparse
import ctypes
import json
import os
import platform
import random
import re
import resource
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SUITES = ("sessions", "small", "large", "idle", "busy", "listing")
SERVERS = ("medusa", "vsftpd", "pyftpdlib", "proftpd", "pureftpd")
# Those with processes for each session.
FORKING = ("vsftpd", "proftpd", "pureftpd")
KNOW_MLSD = ("medusa", "pyftpdlib", "proftpd", "pureftpd")

SMALL_BYTES = 1 << 10
LARGE_BYTES = 100 << 20
LISTED_FILES = 20_000
IDLE_LOGINS = 5000
IDLE_LOGINS_FORKING = 100
# Servers let so many sessions come from one address at most; ours come from many.
LOGINS_AN_ADDRESS = 50
TRANSFERS = 50
PATIENCE = 30
PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")


def main():
    options = parse_arguments()
    if options.transfers_of:
        return keep_transferring(options.transfers_of)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {options.load_core})
    # Processes whose parent has ended come to us, with what they have used.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ["PATH"] = os.pathsep.join([*options.path, os.environ["PATH"], "/usr/sbin"])
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.place) as directory:
        os.chmod(directory, 0o755)
        site = make_site(directory, options.suites)
        names = [name for name in options.servers if is_installed(name, options)]
        results = {}
        for suite in options.suites:
            takers = [n for n in names if suite != "busy" or n not in FORKING]
            results[suite] = {name: [] for name in takers}
            for _ in range(1 if suite in ("idle",) else options.rounds):
                for name in takers:
                    with Server(name, site, directory, options) as server:
                        check(server, site)
                        results[suite][name].append(MEASURES[suite](server, site, options))
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
    add("suites", nargs="*", choices=(*SUITES, "all", []), metavar="SUITE",
        help="what to measure, or `all`")
    add("--rounds", type=int, default=5, metavar="N", help="rounds (default: 5)")
    add("--seconds", type=int, default=3, metavar="S", help="seconds of load a round (default: 3)")
    add("--servers", default=",".join(SERVERS), metavar="LIST",
        help="which servers, with commas between them (default: all)")
    add("--medusa", default=binary, metavar="PATH",
        help="medusa's binary (default: target/release/medusa)")
    add("--path", action="append", default=[], metavar="DIR",
        help="where else programs are looked for; may be given several times")
    add("--python", default=sys.executable, metavar="PATH",
        help="the Python that has pyftpdlib (default: this one, or else Debian's)")
    add("--place", metavar="DIR",
        help="where the files are made that are served (default: where temporary ones are)")
    add("--server-core", type=int, default=0, metavar="CORE",
        help="core of the servers (default: 0)")
    add("--load-core", type=int, default=1, metavar="CORE", help="core of the load (default: 1)")
    add("--json", metavar="FILE", help="also write every single value to FILE")
    add("--transfers-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.suites and not options.transfers_of:
        parser.error("say what to measure, or `all`")
    if "all" in options.suites:
        options.suites = list(SUITES)
    options.servers = options.servers.split(",")
    for name in options.servers:
        if name not in SERVERS:
            parser.error(f"there is no server `{name}`: choose from {', '.join(SERVERS)}")
    cores = {options.server_core, options.load_core}
    if not options.transfers_of and not cores <= os.sched_getaffinity(0):
        parser.error("the cores are not there: choose others with --server-core and --load-core")
    return options


def python_with_pyftpdlib(options):
    for python in (options.python, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import pyftpdlib"], capture_output=True).returncode == 0:
            return python
    return None


def is_installed(name, options):
    if name == "medusa":
        if not os.access(options.medusa, os.X_OK):
            sys.exit(f"there is no {options.medusa}: build it with `cargo build --release`")
        return True
    if name == "pyftpdlib":
        found = python_with_pyftpdlib(options)
    else:
        found = shutil.which({"pureftpd": "pure-ftpd"}.get(name, name))
    if not found:
        print(f"{name} is not installed and is left out; --help says how to get it",
              file=sys.stderr)
    return bool(found)


def make_site(directory, suites):
    """What is served, and below it a directory that anybody may write to."""
    site = os.path.join(directory, "site")
    os.mkdir(site, 0o755)
    os.mkdir(os.path.join(site, "in"))
    os.chmod(os.path.join(site, "in"), 0o777)
    write(os.path.join(site, "small"), os.urandom(SMALL_BYTES))
    write(os.path.join(site, "large"), os.urandom(1 << 20) * (LARGE_BYTES >> 20))
    if "listing" in suites:
        os.mkdir(os.path.join(site, "many"), 0o755)
        for number in range(LISTED_FILES):
            write(os.path.join(site, "many", f"a file of many, number {number:06}.txt"), b"content")
    return site


def write(path, content):
    with open(path, "wb") as out:
        out.write(content)
    os.chmod(path, 0o644)


class Server:
    """A server that runs on its core, with what it spends."""

    def __init__(self, name, site, directory, options):
        self.name = name
        self.place = tempfile.mkdtemp(prefix=name + "-", dir=directory)
        os.chmod(self.place, 0o755)
        self.port = free_port()
        # Of processes that have ended without their parents.
        self.orphans = 0.0
        command = getattr(self, name)(site, options)
        with open(os.path.join(self.place, "log"), "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, {options.server_core}),
            )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                Client(self.port).close()
                break
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    log = open(os.path.join(self.place, "log")).read()
                    sys.exit(f"{name} does not start: {log}")
                time.sleep(0.02)

    def medusa(self, site, options):
        return [options.medusa, "serve", site, "--http", "127.0.0.1:0",
                "--ftp", f"127.0.0.1:{self.port}", "--write"]

    def vsftpd(self, site, _):
        return ["vsftpd", self.configure(f"""
            listen=YES
            background=NO
            listen_address=127.0.0.1
            listen_port={self.port}
            anonymous_enable=YES
            local_enable=NO
            anon_root={site}
            write_enable=YES
            anon_upload_enable=YES
            anon_other_write_enable=YES
            anon_umask=022
            xferlog_enable=NO
            seccomp_sandbox=NO
            max_clients=0
            max_per_ip=0
            secure_chroot_dir={self.place}
        """)]

    def pyftpdlib(self, site, options):
        script = self.configure(f"""
            import logging
            from pyftpdlib.authorizers import DummyAuthorizer
            from pyftpdlib.handlers import FTPHandler
            from pyftpdlib.servers import FTPServer
            logging.basicConfig(level=logging.ERROR)
            authorizer = DummyAuthorizer()
            authorizer.add_anonymous({site!r}, perm="elradfmwMT")
            FTPHandler.authorizer = authorizer
            server = FTPServer(("127.0.0.1", {self.port}), FTPHandler)
            server.max_cons = 20000
            server.serve_forever()
        """)
        return [python_with_pyftpdlib(options), "-W", "ignore", script]

    def proftpd(self, site, _):
        os.mkdir(os.path.join(self.place, "run"), 0o755)
        return ["proftpd", "-n", "-c", self.configure(f"""
            ServerType standalone
            DefaultAddress 127.0.0.1
            Port {self.port}
            UseIPv6 off
            User nobody
            Group nogroup
            UseReverseDNS off
            MaxInstances none
            PidFile {self.place}/run/pid
            ScoreboardFile {self.place}/run/scoreboard
            DelayEngine off
            SystemLog none
            TransferLog none
            WtmpLog off
            RequireValidShell off
            AllowOverwrite on
            <Anonymous {site}>
              User nobody
              Group nogroup
              UserAlias anonymous nobody
              RequireValidShell off
            </Anonymous>
        """)]

    def pureftpd(self, site, _):
        os.environ["FTP_ANON_DIR"] = site
        return ["pure-ftpd", "-S", f"127.0.0.1,{self.port}", "-e", "-M", "-H", "-C", "10000",
                "-c", "10000", "-g", os.path.join(self.place, "pid"), "-4"]

    def configure(self, text):
        """Writes a configuration file without the indentation that it has here."""
        path = os.path.join(self.place, "configuration")
        with open(path, "w") as out:
            out.write("\n".join(line.removeprefix(" " * 12) for line in text.splitlines()) + "\n")
        return path

    def processes(self):
        """The server's processes, and those that have come to us from it."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as stat:
                        fields = stat.read().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                parents.setdefault(int(fields[1]), []).append(int(entry))
        ours = [pid for pid in parents.get(os.getpid(), []) if pid not in OWN]
        found, todo = [], ours
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo.extend(parents.get(pid, []))
        return found

    def cpu_seconds(self):
        """User and system time of the server's processes, also of those that have ended."""
        while True:
            try:
                pid, _, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self.process.pid:
                sys.exit(f"{self.name} has ended")
            self.orphans += usage.ru_utime + usage.ru_stime
        spent = self.orphans
        for pid in self.processes():
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            spent += sum(map(int, fields[11:15])) / TICKS
        return spent

    def private_bytes(self):
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/status") as status:
                total += sum(int(n) for n in re.findall(r"RssAnon:\s+(\d+)", status.read()))
        return total * 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        while True:
            try:
                os.wait4(-1, 0)
            except ChildProcessError:
                break
        self.process.returncode = 0


def free_port():
    """A port below those that the system hands out, which may be another's a moment later."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return port
        except OSError:
            continue


# Processes of ours that are no server.
OWN = set()


class Client:
    """A session that speaks bytes."""

    def __init__(self, port, source="127.0.0.1"):
        self.socket = socket.create_connection(
            ("127.0.0.1", port), PATIENCE, source_address=(source, 0)
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        self.source = source
        self.expect(b"220")

    def line(self):
        while b"\n" not in self.rest:
            part = self.socket.recv(4096)
            if not part:
                raise ConnectionError("it has ended")
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def expect(self, code):
        line = self.line()
        if line[3:4] == b"-":
            last = line[:3] + b" "
            while not (line := self.line()).startswith(last):
                pass
        if not line.startswith(code):
            sys.exit(f"unexpected: {line}")
        return line

    def say(self, command, code):
        self.socket.sendall(command + b"\r\n")
        return self.expect(code)

    def log_in(self):
        self.say(b"USER anonymous", b"331")
        self.say(b"PASS x@y", b"230")
        return self

    def binary(self):
        self.log_in().say(b"TYPE I", b"200")
        return self

    def data(self):
        said = self.say(b"EPSV", b"229")
        port = int(said.split(b"|")[3])
        return socket.create_connection(
            ("127.0.0.1", port), PATIENCE, source_address=(self.source, 0)
        )

    def fetch(self, command, into):
        """Reads what a command sends into a buffer, over and over: the number of bytes."""
        with self.data() as data:
            self.say(command, b"1")
            got = 0
            while n := data.recv_into(into):
                got += n
        self.expect(b"226")
        return got

    def store(self, command, content, times=1):
        with self.data() as data:
            self.say(command, b"1")
            for _ in range(times):
                data.sendall(content)
        self.expect(b"226")

    def close(self):
        self.socket.close()


def check(server, site):
    """Whether what is sent, and what is stored, is what it should be."""
    client = Client(server.port).binary()
    for name, size in (("small", SMALL_BYTES), ("large", LARGE_BYTES)):
        with client.data() as data, open(os.path.join(site, name), "rb") as file:
            client.say(b"RETR " + name.encode(), b"1")
            got = b"".join(iter(lambda: data.recv(1 << 20), b""))
            if got != file.read():
                sys.exit(f"{server.name} does not send {name} as it is")
        client.expect(b"226")
    content = os.urandom(1 << 20)
    client.store(b"STOR in/check", content)
    with open(os.path.join(site, "in", "check"), "rb") as file:
        if file.read() != content:
            sys.exit(f"{server.name} has not stored what was sent")
    os.remove(os.path.join(site, "in", "check"))
    client.say(b"QUIT", b"221")
    client.close()


def timed(server, seconds, once):
    """Does something again and again: CPU time and time of each."""
    once()
    before, begin, times = server.cpu_seconds(), time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        once()
        times += 1
    took = time.monotonic() - begin
    # Processes that end take a moment.
    time.sleep(0.1)
    return (server.cpu_seconds() - before) / times, took / times


def sessions(server, _, options):
    def once():
        client = Client(server.port).log_in()
        client.say(b"QUIT", b"221")
        client.close()

    spent, took = timed(server, options.seconds, once)
    return {"CPU µs a session": spent * 1e6, "sessions a second": 1 / took}


def small(server, _, options):
    client, buffer = Client(server.port).binary(), bytearray(1 << 16)

    def once():
        if client.fetch(b"RETR small", buffer) != SMALL_BYTES:
            sys.exit(f"{server.name} has sent too little")

    spent, took = timed(server, options.seconds, once)
    client.close()
    return {"CPU µs a file": spent * 1e6, "files a second": 1 / took}


def large(server, site, options):
    client, buffer = Client(server.port).binary(), bytearray(1 << 20)
    content = os.urandom(1 << 20)

    def fetch():
        if client.fetch(b"RETR large", buffer) != LARGE_BYTES:
            sys.exit(f"{server.name} has sent too little")

    def store():
        client.store(b"STOR in/large", content, LARGE_BYTES >> 20)

    values = {}
    for name, once in (("RETR", fetch), ("STOR", store)):
        spent, took = timed(server, options.seconds, once)
        values[f"{name} MB/s"] = LARGE_BYTES / took / 1e6
        values[f"{name} CPU ms"] = spent * 1e3
    if os.path.getsize(os.path.join(site, "in", "large")) != LARGE_BYTES:
        sys.exit(f"{server.name} has stored too little")
    os.remove(os.path.join(site, "in", "large"))
    client.close()
    return values


def logins(server, count):
    """So many sessions that are logged in, from as many addresses as it takes."""
    all_of_them = []
    for number in range(count):
        source = number // LOGINS_AN_ADDRESS
        client = Client(server.port, f"127.1.{source // 250}.{source % 250 + 1}")
        all_of_them.append(client.log_in())
    return all_of_them


def idle(server, _, __):
    count = IDLE_LOGINS_FORKING if server.name in FORKING else IDLE_LOGINS
    before = server.private_bytes()
    clients = logins(server, count)
    time.sleep(0.5)
    after = server.private_bytes()
    for client in clients:
        client.close()
    return {"bytes a login": (after - before) / count}


def keep_transferring(port):
    """Fetches again and again on many connections, until it is killed."""
    waiting, buffer = selectors.DefaultSelector(), bytearray(1 << 16)

    def begin(client):
        data = client.data()
        client.say(b"RETR large", b"1")
        waiting.register(data, selectors.EVENT_READ, client)

    for number in range(TRANSFERS):
        begin(Client(port, f"127.2.0.{number + 1}").binary())
    print("ready", flush=True)
    while True:
        for key, _ in waiting.select():
            if not key.fileobj.recv_into(buffer):
                waiting.unregister(key.fileobj)
                key.fileobj.close()
                key.data.expect(b"226")
                begin(key.data)


def busy(server, _, options):
    clients = logins(server, IDLE_LOGINS)
    command = [sys.executable, __file__, "--transfers-of", str(server.port)]
    # Behind us, so that it is the server that a NOOP waits for, and not our own load.
    load = subprocess.Popen(["nice", "-n", "10", *command], stdout=subprocess.PIPE)
    OWN.add(load.pid)
    load.stdout.readline()
    took = []
    end = time.monotonic() + 2 * options.seconds
    while time.monotonic() < end:
        client = clients[len(took) * 7919 % len(clients)]
        begin = time.monotonic()
        client.say(b"NOOP", b"200")
        took.append(time.monotonic() - begin)
        time.sleep(0.002)
    load.kill()
    load.wait()
    load.stdout.close()
    OWN.discard(load.pid)
    for client in clients:
        client.close()
    took.sort()
    return {
        "NOOP ms, middle": statistics.median(took) * 1e3,
        "NOOP ms, p99": took[len(took) * 99 // 100] * 1e3,
        "NOOP ms, most": took[-1] * 1e3,
    }


def listing(server, _, __):
    client, buffer = Client(server.port).binary(), bytearray(1 << 20)
    command = b"MLSD many" if server.name in KNOW_MLSD else b"LIST many"
    before = server.cpu_seconds()
    with client.data() as data:
        begin = time.monotonic()
        client.socket.sendall(command + b"\r\n")
        n = data.recv_into(buffer)
        first, lines = time.monotonic() - begin, buffer.count(b"\n", 0, n)
        while n := data.recv_into(buffer):
            lines += buffer.count(b"\n", 0, n)
        whole = time.monotonic() - begin
    client.expect(b"1")
    client.expect(b"226")
    client.close()
    # Some show the directory itself, and the one above.
    if not LISTED_FILES <= lines <= LISTED_FILES + 2:
        sys.exit(f"{server.name} lists {lines} lines")
    time.sleep(0.05)
    return {
        "ms to first byte": first * 1e3,
        "ms to last byte": whole * 1e3,
        "entries a second": lines / whole,
        "CPU ms": (server.cpu_seconds() - before) * 1e3,
    }


MEASURES = dict(zip(SUITES, (sessions, small, large, idle, busy, listing)))


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
            print(f"| medusa / {name} | " + " | ".join(ratios) + " |", flush=True)


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
