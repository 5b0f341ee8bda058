//! The status page of the real program: what it tells, to whom, and what a browser makes of it.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value as Json;
use server::{PATIENCE, Server, get, is_missing, medusa, read_head};

/// A server with a status page and a directory, and where that is.
fn serve(extra: &str) -> (Server, tempfile::TempDir) {
    let place = tempfile::tempdir().expect("a directory");
    fs::create_dir(place.path().join("site")).expect("it is made");
    write(place.path(), extra);
    let server = Server::start(medusa(["serve", "--config"]).arg(place.path().join("m.toml")));
    (server, place)
}

fn write(place: &Path, extra: &str) {
    let text = format!(
        "[files.site]\npath = \"site\"\n\
         [[server]]\nprotocol = \"http\"\nlisten = \"127.0.0.1:0\"\n\
         [[server.extension]]\nuse = \"status\"\n{extra}\
         [[server.extension]]\nuse = \"files\"\nfiles = \"site\"\n"
    );
    fs::write(place.join("m.toml"), text).expect("it is written");
}

/// The body of a reply to a client that closes.
fn body(server: &Server, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let said = String::from_utf8(server.ask(request)).expect("it is text");
    let (head, body) = said.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}

fn json(server: &Server) -> Json {
    serde_json::from_str(&body(server, "/status?format=json")).expect("it is JSON")
}

/// The lines of a stream of events, without the framing of chunks.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(server: &Server) -> Self {
        let mut client = server.connect();
        client
            .write_all(b"GET /status?format=events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("it reads");
        assert_eq!(read_head(&mut client).status, 200);
        Self(BufReader::new(client))
    }

    /// What the next event of this name says; `None` when the stream has ended.
    fn next(&mut self, name: &str) -> Option<Json> {
        let wanted = format!("event: {name}\n");
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("it goes on or ends") == 0 {
                return None;
            }
            if line == wanted {
                let mut data = String::new();
                self.0.read_line(&mut data).expect("data follow");
                let data = data.strip_prefix("data: ").expect("data");
                return Some(serde_json::from_str(data).expect("it is JSON"));
            }
        }
    }
}

#[test]
fn figures_are_told_as_json_and_to_prometheus() {
    let (server, _place) = serve("");
    server.ask(get("/none"));
    let json = json(&server);
    assert_eq!(json["program"], "medusa");
    assert_eq!(json["figures"]["requests_total"], 2);
    assert_eq!(json["figures"]["replies_4xx_total"], 1);
    assert_eq!(json["protocols"]["http"], 1);
    let process = &json["tree"]["parts"]["process"]["fields"];
    assert_eq!(process["id"], server.pid().as_raw_nonzero().get());
    if cfg!(target_os = "linux") {
        // Confined and all: what it uses can be read.
        assert!(process["private"].as_u64().is_some_and(|bytes| bytes > 0), "{process}");
        assert!(process["descriptors"].as_u64().is_some_and(|n| n > 3), "{process}");
    }
    let metrics = body(&server, "/metrics");
    for line in [
        "# TYPE medusa_http_requests_total counter",
        "# TYPE medusa_turn_seconds histogram",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(metrics.lines().any(|said| said == line), "{line} in {metrics}");
    }
    let other = "GET /status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert!(server.ask(other).starts_with(b"HTTP/1.1 403 "));
}

#[test]
fn a_stream_goes_on_over_a_reload_and_ends_with_the_server() {
    let (server, place) = serve("");
    let mut events = Events::of(&server);
    events.next("history").expect("what was before");
    let generation =
        |now: &Json| now["tree"]["parts"]["configuration"]["fields"]["generation"].clone();
    assert_eq!(generation(&events.next("now").expect("it goes on")), 1);
    write(place.path(), "metrics = \"\"\n");
    server.signal(Signal::HUP);
    while generation(&events.next("now").expect("it goes on")) != 2 {}
    // Who comes now hears what was seen before the reload.
    let before = Events::of(&server).next("history").expect("what was before");
    assert!(before["rows"].as_array().is_some_and(|rows| rows.len() >= 2), "{before}");
    server.signal(Signal::TERM);
    while events.next("now").is_some() {}
}

/// A page of the same origin that shows the status page, plays with it, and says what it has seen
/// when there is all that it wants. Its picture is loaded when it has.
const VISITOR: &str = r##"<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="frame" src="/status" width="WIDTH" height="HEIGHT" style="border:0"></iframe>
<pre id="out"></pre><img src="HOLD/picture" alt=""><script>
const frame = document.getElementById("frame"), out = document.getElementById("out");
addEventListener("securitypolicyviolation", event => out.append(`violation ${event.blockedURI}\n`));
const look = setInterval(() => {
    const page = frame.contentDocument;
    if (page.readyState !== "complete" || !page.getElementById("figures")) return;
    const text = selector => page.querySelector(selector)?.textContent ?? "";
    const points = page.querySelector("#charts path:not(.under)")?.getAttribute("d").split("L").length ?? 0;
    page.getElementById("figures").open = true;
    const rows = page.querySelectorAll("#figures tbody tr").length;
    const slow = [...page.querySelectorAll("#requests td")].map(cell => cell.textContent);
    const odd = slow.find(cell => cell.includes("<img"));
    if (points < 3 || !rows || !odd) return;
    clearInterval(look);
    page.querySelector("[data-span='600']").click();
    out.append(`state: ${text("#state")}\ntitle: ${page.title}\n`);
    out.append(`charts: ${page.querySelectorAll("#charts svg[role=img][aria-label]").length}\n`);
    out.append(`span: ${text("[aria-pressed=true]")}\nodd: ${odd}\n`);
    out.append(`images: ${page.images.length} harm: ${window.harm ?? page.defaultView.harm}\n`);
    out.append(`wide: ${page.documentElement.scrollWidth > page.documentElement.clientWidth}\n`);
    const names = [...page.querySelectorAll("#parts > details > summary")].map(s => s.firstChild.textContent);
    out.append(`parts: ${["Reactor", "Process", "Listeners", "Configuration"].every(n => names.includes(n))}\n`);
    page.getElementById("figures").open = false;
    fetch("HOLD/done", { mode: "no-cors" });
}, 50);
</script>"##;

/// Holds requests for a picture back until somebody says `done`; so a browser takes a page to be
/// loaded when the page itself says so. Gives where that is.
fn hold() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for client in listener.incoming() {
            let mut client = client.expect("a client");
            client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
            let mut begin = [0; 16];
            // A browser also opens connections in advance.
            if client.read_exact(&mut begin).is_err() {
                continue;
            }
            held.push(client);
            if begin.starts_with(b"GET /done ") {
                for mut client in held.drain(..) {
                    // Who has gone needs no answer.
                    let _ =
                        client.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                }
            }
        }
    });
    url
}

/// Runs the browser on a page until that is loaded; gives what it says, or leaves a picture.
fn browse(url: &str, arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("timeout");
    // It waits for nobody longer than this, should it hang.
    command.args(["300", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]);
    command.args(["--no-proxy-server", "--hide-scrollbars"]).args(arguments);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_browser_shows_charts_that_move_and_is_not_harmed() {
    if is_missing("chromium", "a_browser_shows_charts_that_move_and_is_not_harmed") {
        return;
    }
    let (server, place) = serve("");
    // A head may have any of these bytes, and the slowest requests are shown.
    server.ask(
        "GET /<img/src=x/onerror=parent.harm=1> HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    for (width, height) in [("1280", "1000"), ("390", "844")] {
        let page =
            VISITOR.replace("HOLD", &hold()).replace("WIDTH", width).replace("HEIGHT", height);
        fs::write(place.path().join("site/visitor.html"), page).expect("it is written");
        let page = browse(&server.url("/visitor.html"), &["--dump-dom"]);
        let said = page.split_once("<pre id=\"out\">").expect("the page").1;
        let said = said.split_once("</pre>").expect("the page").0;
        let expected = [
            "state: live",
            "title: Medusa · status",
            "charts: 6",
            "span: 10 min",
            "odd: GET /&lt;img/src=x/onerror=parent.harm=1&gt;",
            "images: 0 harm: undefined",
            "wide: false",
            "parts: true",
        ];
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "at a width of {width}");
    }
    let picture = place.path().join("picture.png");
    let page = VISITOR.replace("HOLD", &hold()).replace("WIDTH", "1280").replace("HEIGHT", "900");
    fs::write(place.path().join("site/visitor.html"), page).expect("it is written");
    let to = format!("--screenshot={}", picture.display());
    browse(&server.url("/visitor.html"), &["--window-size=1280,900", &to]);
    let picture = fs::read(&picture).expect("a picture");
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.len() > 20_000);
}
