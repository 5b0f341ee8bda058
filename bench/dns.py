#!/usr/bin/env python3
"""Compares medusa's DNS forwarder with dnsmasq: CPU time a query that is answered from the cache,
and queries a second.

Both forward to a name server in this script, which knows an address of every name, and are asked
for a thousand names again and again by dnsperf, in turns, the server on core 0 and the rest on
core 1. Replies are checked for the right address before anything is measured. Build medusa first:
`cargo build --release`; on Debian, `apt-get install dnsperf dnsmasq-base`.
"""

import argparse
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

NAMES = 1000
ADDRESS = bytes([192, 0, 2, 1])
TICKS = os.sysconf("SC_CLK_TCK")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    binary = os.path.normpath(os.path.join(here, "..", "target", "release", "medusa"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="rounds of each (default: 5)")
    add("--seconds", type=int, default=3, metavar="S", help="seconds a round (default: 3)")
    add("--medusa", default=binary, metavar="PATH",
        help="medusa's binary (default: target/release/medusa)")
    options = parser.parse_args()
    for program in ("dnsperf", "dnsmasq"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing; on Debian: apt-get install dnsperf dnsmasq-base")
    upstream = name_server()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        names = os.path.join(directory, "names")
        with open(names, "w", encoding="ascii") as file:
            file.writelines(f"n{n}.test A\n" for n in range(NAMES))
        servers = {"medusa": medusa(options.medusa, directory, upstream),
                   "dnsmasq": dnsmasq(directory, upstream)}
        try:
            compare(options, servers, names)
        finally:
            for process, _ in servers.values():
                process.kill()
                process.wait()


def compare(options, servers, names):
    results = {name: [] for name in servers}
    for _, port in servers.values():
        check(port)
        # Everything is in the cache from here on.
        load(port, names, 1)
    for _ in range(options.rounds):
        for name, (process, port) in servers.items():
            before = cpu(process.pid)
            queries, seconds = load(port, names, options.seconds)
            used = cpu(process.pid) - before
            results[name].append((used * 1e6 / queries, queries / seconds))
    for name, rounds in results.items():
        each, rate = (statistics.median(column) for column in zip(*rounds))
        best = min(used for used, _ in rounds)
        print(f"{name:8} {each:6.2f} us of CPU a query (best round {best:.2f}), "
              f"{rate:9,.0f} queries a second")
    ratio = (statistics.median(r[0] for r in results["medusa"])
             / statistics.median(r[0] for r in results["dnsmasq"]))
    print(f"medusa's CPU time is {ratio:.2f} of dnsmasq's")


def name_server():
    """Answers every question with one address; gives the port."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve():
        while True:
            question, client = server.recvfrom(2048)
            end = question.index(b"\0", 12) + 5
            head = question[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, 1, 0, 0)
            record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 86400, 4) + ADDRESS
            server.sendto(head + question[12:end] + record, client)

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


def medusa(binary, directory, upstream):
    config = os.path.join(directory, "medusa.toml")
    with open(config, "w", encoding="ascii") as file:
        file.write(f'[monitor]\nlocal = false\n[resolver]\nservers = ["127.0.0.1:{upstream}"]\n'
                   '[[server]]\nprotocol = "dns"\nlisten = "127.0.0.1:0"\n')
    process = subprocess.Popen(["taskset", "-c", "0", binary, "--config", config],
                               stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("listening dns "):
            return process, int(line.rsplit(":", 1)[1])
    sys.exit("medusa did not start")


def dnsmasq(directory, upstream):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # No files of the machine, a cache in which all names fit, and as many questions at once as
    # dnsperf asks.
    process = subprocess.Popen(
        ["taskset", "-c", "0", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv",
         "--no-hosts", f"--server=127.0.0.1#{upstream}", f"--port={port}", "--cache-size=10000",
         "--dns-forward-max=1000", "--listen-address=127.0.0.1", "--bind-interfaces",
         "--user=", f"--pid-file={directory}/pid"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, port


def check(port):
    """Waits until a server answers, and sees that it answers rightly."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(0.5)
    question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05check\x04test\0\0\x01\0\x01"
    for _ in range(20):
        client.sendto(question, ("127.0.0.1", port))
        try:
            reply = client.recv(2048)
        except (socket.timeout, ConnectionError):
            time.sleep(0.1)
            continue
        if reply[:2] == b"\x12\x34" and reply.endswith(ADDRESS) and not reply[3] & 15:
            return
        sys.exit(f"the server on port {port} answers wrongly: {reply.hex()}")
    sys.exit(f"the server on port {port} does not answer")


def load(port, names, seconds):
    """Asks for a while; gives the queries that were answered, and the seconds that took."""
    output = subprocess.run(
        ["taskset", "-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", names,
         "-c", "16", "-q", "64", "-l", str(seconds)],
        capture_output=True, text=True, check=True).stdout
    completed = int(re.search(r"Queries completed:\s+(\d+)", output)[1])
    lost = int(re.search(r"Queries lost:\s+(\d+)", output)[1])
    if lost or "NOERROR" not in output or "100.00%" not in output:
        sys.exit(f"some queries went wrong:\n{output}")
    return completed, float(re.search(r"Run time \(s\):\s+([\d.]+)", output)[1])


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
