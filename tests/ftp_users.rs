//! FTP as a configuration has it: users, what they may do, where clients are told to connect, and
//! reloads.
#![allow(missing_docs)]

mod server;

use std::fs;
use std::io::Write;
use std::path::Path;

use medusa_auth::{file, password};
use rustix::process::Signal;
use server::ftp::Client;
use server::{PATIENCE, Server, is_missing, medusa};
use tempfile::TempDir;

const CONFIGURATION: &str = r#"
[files.pub]
path = "pub"

[files.ann]
path = "ann"
writable = true

[[server]]
protocol = "ftp"
listen = "127.0.0.1:0"
banner = "Hello."
passwords = "passwords"

[server.passive]
ports = "PORTS"

[[server.passive.announce]]
to = "127.0.0.0/8"
address = "localhost"

[server.limits]
login_delay = "0ms"

[server.anonymous]
files = "pub"
sessions = 2

[[server.user]]
name = "ann"
files = "ann"
permissions = "elradfmwMT"
welcome = "Good morning, Ann."

[[server.user.directory]]
at = "/kept"
permissions = "elr"
"#;

struct Place {
    directory: TempDir,
    /// Ports that were free when they were looked for.
    ports: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["pub", "ann", "ann/kept"] {
            fs::create_dir(directory.path().join(name)).expect("it is made");
        }
        fs::write(directory.path().join("pub/f"), "public").expect("it is written");
        fs::write(directory.path().join("ann/kept/f"), "kept").expect("it is written");
        let hash = password::hash(b"secret").expect("it is hashed");
        let text = file::edit("", "ann", Some(&hash)).expect("added");
        let text = file::edit(&text, "bob", Some(&hash)).expect("added");
        fs::write(directory.path().join("passwords"), text).expect("it is written");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let first = free.local_addr().expect("it is bound").port().min(u16::MAX - 99);
        Self { directory, ports: format!("{first}-{}", first + 99) }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, text: &str) {
        let text = text.replace("PORTS", &self.ports);
        fs::write(self.path().join("m.toml"), text).expect("it is written");
    }

    fn start(&self) -> Server {
        self.write(CONFIGURATION);
        Server::start(medusa(["serve", "--config"]).arg(self.path().join("m.toml")))
    }
}

/// A user whose password had been forgotten was noticed by nobody but them.
#[test]
fn users_without_a_password_are_told() {
    let place = Place::new();
    let passwords = place.path().join("passwords");
    let text = fs::read_to_string(&passwords).expect("it is there");
    fs::write(&passwords, file::edit(&text, "ann", None).expect("removed")).expect("it is written");
    let told = "the user `ann` of FTP cannot log in";
    let server = place.start();
    server.wait_for_line(told);
    let config = place.path().join("m.toml");
    let checked = medusa(["check", "--config"]).arg(&config).output().expect("it runs");
    let said = String::from_utf8(checked.stderr).expect("text");
    assert!(checked.status.success() && said.contains(told), "{said}");
    assert!(!said.contains("`bob`"), "{said}");
    fs::write(&passwords, text).expect("it is written");
    let checked = medusa(["check", "--config"]).arg(&config).output().expect("it runs");
    assert!(checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
    // The file is read again when it changes.
    let mut ann = Client::connect(server.ftp());
    ann.say("USER ann");
    assert!(ann.say("PASS secret").starts_with("230 "));
}

#[test]
fn each_user_has_a_tree_and_rights_of_their_own() {
    let place = Place::new();
    let server = place.start();
    let mut anybody = Client::logged_in(server.ftp(), "anonymous", "me@example.org");
    assert_eq!(anybody.fetch("RETR f").0, b"public");
    assert!(anybody.put("STOR new", b"x").starts_with("550 "));
    let mut ann = Client::connect(server.ftp());
    ann.say("USER ann");
    assert_eq!(ann.say("PASS secret"), "230 Good morning, Ann.\r\n");
    ann.say("TYPE I");
    assert!(ann.put("STOR new", b"of Ann").starts_with("226 "));
    assert_eq!(fs::read(place.path().join("ann/new")).expect("it is there"), b"of Ann");
    assert_eq!(ann.fetch("RETR kept/f").0, b"kept");
    for command in ["DELE kept/f", "MKD kept/d", "RNFR kept/f", "CWD /../pub", "RETR ../pub/f"] {
        assert!(ann.say(command).starts_with("55"), "{command}");
    }
    assert!(ann.put("STOR kept/new", b"x").starts_with("550 "));
    for (name, password) in [("ann", "wrong"), ("bob", "secret"), ("nobody", "secret")] {
        let mut client = Client::connect(server.ftp());
        client.say(&format!("USER {name}"));
        assert!(client.say(&format!("PASS {password}")).starts_with("530 "), "{name}");
    }
    let _second = Client::logged_in(server.ftp(), "ftp", "");
    let mut third = Client::connect(server.ftp());
    third.say("USER ftp");
    assert!(third.say("PASS x").starts_with("530 "));
}

#[test]
fn a_user_with_a_quota_stores_no_more() {
    let place = Place::new();
    place
        .write(&CONFIGURATION.replace("welcome =", "quota = \"10 B\"\nquota_files = 3\nwelcome ="));
    let server = Server::start(medusa(["serve", "--config"]).arg(place.path().join("m.toml")));
    let mut ann = Client::logged_in(server.ftp(), "ann", "secret");
    assert!(ann.put("STOR large", b"seven b").starts_with("552 "));
    assert!(!place.path().join("ann/large").exists());
    assert!(ann.put("STOR small", b"six by").starts_with("226 "));
    assert_eq!(ann.say("SITE QUOTA"), "200 You use 10 of 10 bytes and 3 of 3 files.\r\n");
    assert!(ann.say("MKD d").starts_with("552 "));
}

#[test]
fn clients_are_told_a_port_of_the_range_at_an_address_that_has_a_name() {
    let place = Place::new();
    let server = place.start();
    let mut client = Client::logged_in(server.ftp(), "ftp", "x");
    let said = client.say("PASV");
    let numbers = said.split(['(', ')']).nth(1).unwrap_or_else(|| panic!("{said}"));
    let numbers: Vec<u16> = numbers.split(',').map(|n| n.parse().expect("a number")).collect();
    assert_eq!(numbers[..4], [127, 0, 0, 1]);
    let (first, last) = place.ports.split_once('-').expect("a range");
    let port = numbers[4] * 256 + numbers[5];
    let range = first.parse::<u16>().expect("a port")..=last.parse().expect("a port");
    assert!(range.contains(&port), "{port} in {range:?}");
}

#[test]
fn a_reload_changes_users_and_keeps_sessions() {
    let place = Place::new();
    let server = place.start();
    let mut ann = Client::logged_in(server.ftp(), "ann", "secret");
    let bob = CONFIGURATION.replace("name = \"ann\"", "name = \"bob\"").replace("Hello.", "New.");
    place.write(&bob);
    server.signal(Signal::HUP);
    server.wait_for_line("reloaded");
    let mut late = Client::connect(server.ftp());
    late.say("USER ann");
    assert!(late.say("PASS secret").starts_with("530 "));
    Client::logged_in(server.ftp(), "bob", "secret");
    assert!(ann.put("STOR more", b"yet").starts_with("226 "), "who is in goes on");
    place.write(&bob.replace("secret", "").replace("elradfmwMT", "rx"));
    server.signal(Signal::HUP);
    let line = server.wait_for_line("not reloaded");
    assert!(line.contains("m.toml"), "{line}");
    Client::logged_in(server.ftp(), "bob", "secret");
}

/// Waits until a file has so many lines; gives them.
fn lines_of(path: &Path, many: usize) -> Vec<String> {
    let begin = std::time::Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= many && text.ends_with('\n') {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(begin.elapsed() < PATIENCE, "{text}");
        std::thread::yield_now();
    }
}

#[test]
fn transfers_and_logins_are_logged_and_logs_are_opened_anew() {
    let place = Place::new();
    let log = place.path().join("ftp.log");
    place.write(&format!("{CONFIGURATION}[server.log]\nto = \"ftp.log\"\nform = \"json\"\n"));
    let mut command = medusa(["serve", "--config"]);
    let server = Server::start(command.arg(place.path().join("m.toml")));
    let mut ann = Client::logged_in(server.ftp(), "ann", "secret");
    assert!(ann.put("STOR a \"b\"", b"content").starts_with("226 "));
    let data = ann.data();
    assert!(ann.say("STOR half").starts_with('1'));
    (&data).write_all(b"half").expect("it reads");
    rustix::net::sockopt::set_socket_linger(&data, Some(std::time::Duration::ZERO)).expect("set");
    drop(data);
    assert!(ann.reply().starts_with("426 "));
    let mut other = Client::connect(server.ftp());
    other.say("USER bob");
    assert!(other.say("PASS wrong").starts_with("530 "));
    let before = place.path().join("ftp.log.before");
    lines_of(&log, 4);
    fs::rename(&log, &before).expect("it is moved");
    server.signal(Signal::USR1);
    let begin = std::time::Instant::now();
    while !log.exists() {
        assert!(begin.elapsed() < PATIENCE, "it is not opened anew");
        std::thread::yield_now();
    }
    ann.say("QUIT");
    let lines = [lines_of(&before, 4), lines_of(&log, 1)].concat();
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    let events: Vec<serde_json::Value> = lines.iter().map(read).collect();
    let told: Vec<_> = events
        .iter()
        .map(|e| (e["event"].as_str().unwrap_or_default(), e["user"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            ("login", "ann"),
            ("received", "ann"),
            ("received", "ann"),
            ("login failed", "bob"),
            ("logout", "ann")
        ]
    );
    for (event, path, bytes, complete) in
        [(&events[1], "/a \"b\"", Some(7), true), (&events[2], "/half", None, false)]
    {
        assert_eq!(
            (event["path"].as_str(), event["complete"].as_bool()),
            (Some(path), Some(complete))
        );
        assert!(bytes.is_none() || event["bytes"].as_u64() == bytes, "{event}");
        assert!(event["seconds"].is_f64() && event["client"] == "127.0.0.1", "{event}");
    }
}

#[test]
fn the_line_of_a_transfer_is_one_of_xferlog_on_standard_error() {
    let place = Place::new();
    let server = place.start();
    let mut client = Client::logged_in(server.ftp(), "ftp", "x");
    assert_eq!(client.fetch("RETR f").0, b"public");
    let line = server.wait_for_line(" 127.0.0.1 6 /f b _ o a anonymous ftp 0 * c");
    assert_eq!(line.split_whitespace().count(), 18, "{line}");
}

#[test]
fn anonymous_users_have_an_identity_of_their_own() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !rustix::process::geteuid().is_root() {
        let test = "anonymous_users_have_an_identity_of_their_own";
        let _ = writeln!(std::io::stderr(), "skipped: {test}: needs root");
        return;
    }
    let place = Place::new();
    let public = place.path().join("pub");
    fs::set_permissions(&public, fs::Permissions::from_mode(0o777)).expect("it is set");
    fs::write(public.join("private"), "of root").expect("it is written");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(public.join("private"), mode).expect("it is set");
    let text = CONFIGURATION.replace("path = \"pub\"", "path = \"pub\"\nwritable = true").replace(
        "files = \"pub\"",
        "files = \"pub\"\nidentity = \"nobody\"\numask = \"0077\"\npermissions = \"elradfmwMT\"",
    );
    place.write(&text);
    let mut command = medusa(["serve", "--config"]);
    let server = Server::start(command.arg(place.path().join("m.toml")));
    for _ in 0..2 {
        let mut client = Client::logged_in(server.ftp(), "ftp", "x");
        assert!(client.put("STOR new", b"content").starts_with("226 "));
        assert_eq!(client.fetch("RETR new").0, b"content");
        assert!(client.say("MKD d").starts_with("257 "));
        for name in ["new", "d"] {
            let metadata = fs::metadata(public.join(name)).expect("it is there");
            let nobody = fs::metadata(public.join("new")).expect("it is there").uid();
            assert!(metadata.uid() == nobody && nobody != 0, "{name}: {}", metadata.uid());
            assert_eq!(metadata.mode() & 0o077, 0, "{name}");
        }
        assert!(client.fetch("RETR private").1.starts_with("550 "));
        assert!(client.put("APPE private", b"x").starts_with("550 "));
        assert!(client.say("SITE CHMOD 644 private").starts_with("550 "));
        assert!(
            client.say("DELE new").starts_with("250 ") && client.say("RMD d").starts_with("250 ")
        );
        drop(client);
        // The next process can still do it.
        server.upgrade();
    }
    assert_eq!(fs::read(public.join("private")).expect("it is there"), b"of root");
}

#[test]
fn curl_and_lftp_log_in_with_a_name_and_a_password() {
    let place = Place::new();
    let server = place.start();
    fs::write(place.path().join("own"), "from curl").expect("it is written");
    let own = place.path().join("own").display().to_string();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        for name in ["ftp_proxy", "FTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let output = command.args(arguments).output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let test = "curl_and_lftp_log_in_with_a_name_and_a_password";
    if !is_missing("curl", test) {
        let url = format!("ftp://{}/up", server.ftp());
        let curl = |password: &str, more: &[&str]| {
            let user = format!("ann:{password}");
            let arguments = ["-q", "-sS", "--noproxy", "*", "--max-time", "60", "-u", &user];
            run("curl", &[&arguments, more].concat())
        };
        assert!(curl("secret", &["-T", &own, &url]).0);
        assert_eq!(curl("secret", &[&url]), (true, "from curl".to_owned()));
        assert!(!curl("wrong", &[&url]).0);
    }
    if !is_missing("lftp", test) {
        let script = format!(
            "set net:timeout 60; set net:max-retries 1; set cmd:fail-exit yes; open -u ann,secret \
             ftp://{}; mkdir d; put {own} -o d/f; cat d/f; rm -r d",
            server.ftp()
        );
        assert_eq!(run("lftp", &["--norc", "-c", &script]), (true, "from curl".to_owned()));
    }
}
