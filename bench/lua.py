#!/usr/bin/env python3
"""Measures what it costs to have a request answered by a script in Lua.

The script answers `/hello/NAME` with "hello NAME". It is compared with a file of 1 KiB that the same
server serves, and with nginx and its Lua module (LuaJIT) doing the same: on Debian, `apt-get install
nginx-light libnginx-mod-http-lua wrk`; without them medusa is measured alone. Build medusa first:
`cargo build --release`.

The manner is that of `http.py`: one worker each on a core of its own, the load on another core, in
turns, medians, 64 kept connections, and no access logs. Before anything is timed the replies are
compared.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile

# `http.py` beside this file, not Python's own.
import http as bench

NAME = "Medusa"
SCRIPT = """
return function(request)
    return "hello " .. request.path:sub(8)
end
"""
MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")


class Server(bench.Server):
    """A server that answers by a script, and serves a file."""

    def medusa(self, site, _, options):
        script = os.path.join(self.place, "hello.lua")
        with open(script, "w") as out:
            out.write(SCRIPT)
        configuration = self.configure(f"""
            [[server]]
            protocol = "http"
            listen = "127.0.0.1:{self.port}"
            log.to = "{'stderr' if options.log else 'off'}"
            [[server.extension]]
            use = "script"
            file = "{script}"
            match = "/hello/*"
            [[server.extension]]
            use = "files"
            files = "site"
            [files.site]
            path = "{site}"
        """)
        return [options.medusa, "serve", "--config", configuration]

    def nginx(self, site, descriptors, options):
        modules = "".join(f"load_module {options.modules}/{name};\n" for name in MODULES)
        return ["nginx", "-c", self.configure(f"""
            {modules}
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
                sendfile on;
                tcp_nopush on;
                open_file_cache max=2000 inactive=60s;
                open_file_cache_valid 30s;
                keepalive_timeout 600;
                keepalive_requests 1000000000;
                default_type text/plain;
                server {{
                    listen 127.0.0.1:{self.port} backlog=4096;
                    root {site};
                    location /hello/ {{
                        content_by_lua_block {{
                            ngx.print("hello ", string.sub(ngx.var.uri, 8))
                        }}
                    }}
                }}
            }}
        """)]


def main():
    options = parse_arguments()
    descriptors = bench.raise_descriptor_limit()
    os.sched_setaffinity(0, {options.load_core})
    names = ["medusa", "nginx"] if has_nginx(options) else ["medusa"]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        os.chmod(directory, 0o755)
        site = bench.make_site(directory, [])
        results, servers = {}, []
        try:
            for name in names:
                servers.append(Server(name, site, directory, descriptors, options))
                bench.check(servers[-1], site)
                check(servers[-1])
            for _ in range(options.rounds):
                for server in servers:
                    for what, path in (("file", "1k.html"), ("script", f"hello/{NAME}")):
                        values = bench.load(server, path, directory, options)
                        results.setdefault((server.name, what), []).append(values)
        finally:
            for server in servers:
                server.stop()
    report(results)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = os.path.dirname(os.path.abspath(__file__))
    binary = os.path.normpath(os.path.join(here, "..", "target", "release", "medusa"))
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="rounds (default: 5)")
    add("--seconds", type=int, default=3, metavar="S", help="seconds of load a round (default: 3)")
    add("--medusa", default=binary, metavar="PATH",
        help="medusa's binary (default: target/release/medusa)")
    add("--modules", default="/usr/lib/nginx/modules", metavar="DIR",
        help="where nginx has its modules (default: /usr/lib/nginx/modules)")
    add("--log", action="store_true", help="let medusa write its access log; nginx has none")
    add("--server-core", type=int, default=0, metavar="CORE",
        help="core of the servers (default: 0)")
    add("--load-core", type=int, default=1, metavar="CORE", help="core of the load (default: 1)")
    return parser.parse_args()


def has_nginx(options):
    there = all(os.path.exists(os.path.join(options.modules, name)) for name in MODULES)
    if not (there and shutil.which("nginx")):
        print("nginx or its Lua module is not installed and is left out", file=sys.stderr)
    return there and shutil.which("nginx")


def check(server):
    head, body = bench.fetch(server, f"hello/{NAME}")
    if not head.startswith(b"HTTP/1.1 200 ") or body != b"hello " + NAME.encode():
        sys.exit(f"{server.name} does not answer as it should: {head[:40]} {body[:40]}")


def report(results):
    print("| server | what | CPU us a request | requests a second | p99 us |\n|---|---|---|---|---|")
    middle = lambda key, metric: statistics.median(value[metric] for value in results[key])
    for key, values in results.items():
        spent = [value["CPU us/request"] for value in values]
        cells = [f"{middle(key, 'CPU us/request'):.2f} ({min(spent):.2f} to {max(spent):.2f})"]
        cells += [f"{middle(key, metric):,.0f}" for metric in ("requests/s", "p99 us")]
        print(f"| {key[0]} | {key[1]} | " + " | ".join(cells) + " |")
    ours = middle(("medusa", "script"), "CPU us/request")
    for key in results:
        if key != ("medusa", "script"):
            ratio = ours / middle(key, "CPU us/request")
            print(f"medusa's script to {' '.join(key)}: {ratio:.2f}")


if __name__ == "__main__":
    main()
