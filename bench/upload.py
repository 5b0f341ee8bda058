#!/usr/bin/env python3
"""Measures uploads: private memory, CPU time and throughput while one large file comes in.

The server is the example `uploads`; build it first: `cargo build --release --example uploads`. The
client is curl. The file is sent as a browser's form sends it (multipart/form-data) and as the body of
a PUT, each to a fresh process, and compared with what was stored. `peak` is how far the server's
private memory rises above what it has before the upload; it must not depend on the size.
"""

import argparse
import filecmp
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

WAYS = {"form": ["-F", "file=@{file}", "{url}"], "put": ["-T", "{file}", "{url}sent.bin"]}
SAMPLE_SECONDS = 0.02
BLOCK = 1 << 20


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as directory:
        file = os.path.join(directory, "sent.bin")
        block = os.urandom(BLOCK)
        with open(file, "wb") as out:
            for _ in range(options.mebibytes):
                out.write(block)
        results = {way: [] for way in WAYS}
        for number in range(options.rounds):
            for way in WAYS:
                place = os.path.join(directory, f"{way}{number}")
                os.mkdir(place)
                results[way].append(measure(way, file, place, options))
    report(results, options)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"mebibytes": options.mebibytes, "results": results}, out, indent=1)
            out.write("\n")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(here, "..", "target"))
    binary = os.path.normpath(os.path.join(target, "release", "examples", "uploads"))
    add = parser.add_argument
    add("--mebibytes", type=int, default=1024, metavar="N", help="size of the file (default: 1024)")
    add("--rounds", type=int, default=3, metavar="N", help="rounds (default: 3)")
    add("--server", default=binary, metavar="PATH",
        help="the server (default: target/release/examples/uploads)")
    add("--directory", metavar="DIR", help="where files are written (default: the system's choice)")
    add("--json", metavar="FILE", help="also write every single value to FILE")
    options = parser.parse_args()
    if not os.path.exists(options.server):
        parser.error(f"there is no {options.server}: cargo build --release --example uploads")
    return options


def measure(way, file, place, options):
    command = [options.server, "127.0.0.1:0", place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().removeprefix("listening uploads ").strip()
            if server.stdout.readline() != "ready\n":
                sys.exit("the server does not start")
            return upload(way, file, place, server.pid, address)
        finally:
            server.kill()


def upload(way, file, place, pid, address):
    fill = {"file": file, "url": f"http://{address}/"}
    client = ["curl", "-q", "-sS", "--noproxy", "*", "-f", "-o", os.devnull]
    client += [part.format(**fill) for part in WAYS[way]]
    before, cpu, start = private_bytes(pid), cpu_seconds(pid), time.monotonic()
    peak = before
    with subprocess.Popen(client) as curl:
        while curl.poll() is None:
            peak = max(peak, private_bytes(pid))
            time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - start
    if curl.returncode != 0:
        sys.exit(f"curl failed with {curl.returncode}")
    if os.listdir(place) != ["sent.bin"]:
        sys.exit(f"debris: {os.listdir(place)}")
    stored = os.path.join(place, "sent.bin")
    if not filecmp.cmp(stored, file, shallow=False):
        sys.exit("what was stored is not what was sent")
    os.remove(stored)
    return {
        "before": before,
        "peak": peak - before,
        "cpu": cpu_seconds(pid) - cpu,
        "seconds": seconds,
    }


def private_bytes(pid):
    """Anonymous memory that is resident."""
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read())[1]) * 1024


def cpu_seconds(pid):
    """User and system time of all threads so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(results, options):
    print(f"one file of {options.mebibytes} MiB, median of {options.rounds} rounds (lowest, highest)")
    for way, values in results.items():
        of = lambda name, unit: spread([value[name] / unit for value in values])
        rate = spread([options.mebibytes / value["seconds"] for value in values])
        print(f"  {way:5} peak KiB {of('peak', 1024)}  CPU s {of('cpu', 1)}  MiB/s {rate}")


def spread(values):
    return f"{statistics.median(values):.4g} ({min(values):.4g}, {max(values):.4g})"


if __name__ == "__main__":
    main()
