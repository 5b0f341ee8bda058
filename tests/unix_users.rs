//! FTP of the real program by real users of the system, which the tests make and remove. The server
//! has given up root, and is confined to the directories that it needs where the kernel can do that.
#![allow(missing_docs)]

mod server;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::process::{Pid, geteuid};
use server::{PATIENCE, Server, medusa};
use tempfile::TempDir;

/// The password of all users but one, and its hash.
const PASSWORD: &str = "secret";
const HASH: &str = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2";
/// The same password, hashed as Debian does.
const YESCRYPT: &str = "$y$j9T$saltsaltsaltsalt$.Zt5W26jjocuW0wIHGgB6AJelofw6GEpOypHGyow2y5";

const REFUSED: &str = "530 Name and password do not belong together.";

/// Whether users can be made here; says so if not.
fn is_possible(test: &str) -> bool {
    let has = |program| Command::new(program).arg("--help").output().is_ok();
    let why = match () {
        () if !geteuid().is_root() => "it needs root",
        () if !["useradd", "userdel", "groupadd", "groupdel"].into_iter().all(has) => {
            "useradd is not installed"
        }
        () => return true,
    };
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
    false
}

/// Runs a program that changes the list of users, again while another one has the list locked.
fn change(program: &str, arguments: &[&str]) {
    let begin = Instant::now();
    loop {
        let output = Command::new(program).args(arguments).output().expect("it is there");
        if output.status.success() {
            return;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("try again") && begin.elapsed() < PATIENCE,
            "{program} {arguments:?}: {said}"
        );
    }
}

/// Users and groups of the system, removed when the test is over, however that ends.
struct Site {
    directory: TempDir,
    users: Vec<String>,
    groups: Vec<String>,
    services: Vec<PathBuf>,
}

/// A user that was made.
struct Account {
    name: String,
    home: PathBuf,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Makes a file of theirs.
    fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, name).expect("it is written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("root may");
        chown(&path, Some(self.uid), Some(self.gid)).expect("root may");
        path
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for service in &self.services {
            let _ = fs::remove_file(service);
        }
        // Not `change`, which panics.
        for (program, names) in [("userdel", &self.users), ("groupdel", &self.groups)] {
            for name in names {
                let begin = Instant::now();
                let remove = || Command::new(program).arg(name).stderr(Stdio::null()).status();
                while !remove().is_ok_and(|status| status.success())
                    && fs::read_to_string("/etc/passwd").is_ok_and(|text| text.contains(name))
                    && begin.elapsed() < PATIENCE
                {}
            }
        }
    }
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("it is ours");
        Self { directory, users: Vec::new(), groups: Vec::new(), services: Vec::new() }
    }

    /// A name that nobody has.
    fn name() -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("medusa{}t{next}", std::process::id())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a group.
    fn group(&mut self) -> (String, u32) {
        let name = Self::name();
        self.groups.push(name.clone());
        change("groupadd", &[&name]);
        let groups = fs::read_to_string("/etc/group").expect("there is one");
        let line = groups.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        let gid = line.and_then(|line| line.split(':').nth(1)?.parse().ok()).expect("it was made");
        (name, gid)
    }

    /// Makes a user with a home that only they may enter.
    fn user(&mut self) -> Account {
        self.user_with(HASH, &[])
    }

    fn user_with(&mut self, hash: &str, options: &[&str]) -> Account {
        let name = Self::name();
        let home = self.path(&name);
        self.users.push(name.clone());
        let place = home.to_str().expect("UTF-8");
        let usual = ["-M", "-U", "-s", "/bin/sh", "-d", place, "-p", hash];
        change("useradd", &[&usual[..], options, &[&name]].concat());
        let users = fs::read_to_string("/etc/passwd").expect("there is one");
        let line = users.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        let fields: Vec<_> = line.expect("it was made").split(':').collect();
        let (uid, gid) =
            (fields[1].parse().expect("a number"), fields[2].parse().expect("another"));
        fs::DirBuilder::new().mode(0o700).create(&home).expect("it is made");
        chown(&home, Some(uid), Some(gid)).expect("root may");
        Account { name, home, uid, gid }
    }

    /// Describes a service of PAM.
    fn service(&mut self, text: &str) -> String {
        let name = Self::name();
        let path = Path::new("/etc/pam.d").join(&name);
        fs::write(&path, text).expect("root may");
        self.services.push(path);
        name
    }

    /// Starts a server that has these keys for its users, and then gives up root.
    fn serve(&self, keys: &str) -> Server {
        let config = self.path("medusa.toml");
        let homes = self.directory.path().display();
        let text = format!(
            "[process]\nuser = \"nobody\"\n\n[[server]]\nprotocol = \"ftp\"\n\
             listen = \"127.0.0.1:0\"\n\n[server.unix_users]\nhomes = [\"{homes}\"]\n{keys}\n"
        );
        fs::write(&config, text).expect("it is written");
        Server::start(&mut medusa([Path::new("--config"), &config]))
    }
}

/// A client that speaks bytes.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.ftp()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let mut client = Self(BufReader::new(stream));
        assert!(client.reply().starts_with("220 "));
        client
    }

    /// Gives name and password; tells the answer.
    fn login(server: &Server, name: &str, password: &str) -> (Self, String) {
        let mut client = Self::connect(server);
        assert!(client.say(&format!("USER {name}")).starts_with("331 "));
        let answer = client.say(&format!("PASS {password}"));
        (client, answer)
    }

    /// Logs in, in type I.
    #[track_caller]
    fn of(server: &Server, account: &Account) -> Self {
        let (mut client, answer) = Self::login(server, &account.name, PASSWORD);
        assert!(answer.starts_with("230 "), "{answer}; {:?}", server.errors());
        client.expect("TYPE I", "200");
        client
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("it reads");
        self.reply()
    }

    #[track_caller]
    fn expect(&mut self, line: &str, code: &str) {
        let said = self.say(line);
        assert!(said.starts_with(code), "{line}: {said}");
    }

    fn data(&mut self) -> TcpStream {
        let said = self.say("EPSV");
        let port = said.split('|').nth(3).and_then(|port| port.parse().ok()).expect("a port");
        let mut address = self.0.get_ref().peer_addr().expect("it is connected");
        address.set_port(port);
        let data = TcpStream::connect(address).expect("it listens");
        data.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        data
    }

    /// Sends a file; gives the last answer.
    fn put(&mut self, name: &str, content: &str) -> String {
        let mut data = self.data();
        let said = self.say(&format!("STOR {name}"));
        if !said.starts_with('1') {
            return said;
        }
        data.write_all(content.as_bytes()).expect("it reads");
        drop(data);
        self.reply()
    }

    /// What a command has sent, or why not.
    fn take(&mut self, command: &str) -> Result<String, String> {
        let mut data = self.data();
        let said = self.say(command);
        if !said.starts_with('1') {
            return Err(said);
        }
        let mut content = String::new();
        data.read_to_string(&mut content).expect("text");
        let end = self.reply();
        if end.starts_with("226 ") { Ok(content) } else { Err(end) }
    }
}

#[track_caller]
fn assert_is_of(path: &Path, account: &Account, mode: u32) {
    let metadata = fs::symlink_metadata(path).expect("it is there");
    let is = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    assert_eq!(is, (account.uid, account.gid, mode), "{}", path.display());
}

#[test]
fn what_users_make_is_theirs() {
    if !is_possible("what_users_make_is_theirs") {
        return;
    }
    let mut site = Site::new();
    let ann = site.user_with(YESCRYPT, &[]);
    let server = site.serve("pam = \"never\"");
    let mut client = Client::of(&server, &ann);
    assert_eq!(client.say("PWD"), "257 \"/\" is the directory.");
    assert!(client.put("mine", "content").starts_with("226 "));
    assert_eq!(fs::read_to_string(ann.home.join("mine")).expect("it is there"), "content");
    assert_is_of(&ann.home.join("mine"), &ann, 0o644);
    client.expect("MKD d", "257");
    assert_is_of(&ann.home.join("d"), &ann, 0o755);
    client.expect("SITE UMASK 077", "200");
    assert!(client.put("d/secret", "s").starts_with("226 "));
    assert_is_of(&ann.home.join("d/secret"), &ann, 0o600);
    client.expect("MKD d/inner", "257");
    assert_is_of(&ann.home.join("d/inner"), &ann, 0o700);
    // Another session has the umask that was configured.
    let mut other = Client::of(&server, &ann);
    assert!(other.put("d/open", "o").starts_with("226 "));
    assert_is_of(&ann.home.join("d/open"), &ann, 0o644);
    client.expect("SITE CHMOD 640 mine", "200");
    assert_is_of(&ann.home.join("mine"), &ann, 0o640);
    client.expect("RNFR mine", "350");
    client.expect("RNTO d/moved", "250");
    assert_eq!(client.take("RETR d/moved").as_deref(), Ok("content"));
    client.expect("DELE d/moved", "250");
    client.expect("RMD d/inner", "250");
    assert!(!ann.home.join("d/moved").exists() && !ann.home.join("d/inner").exists());
    // Nothing else is there.
    client.expect("CWD ..", "250");
    assert_eq!(client.take("NLST").as_deref(), Ok("d\r\n"));
    assert!(client.take("RETR /etc/passwd").expect_err("it is not").starts_with("550 "));
}

#[test]
fn nobody_gets_at_what_is_anothers() {
    if !is_possible("nobody_gets_at_what_is_anothers") {
        return;
    }
    let mut site = Site::new();
    let (group, gid) = site.group();
    let ann = site.user();
    let bob = site.user();
    let member = site.user_with(HASH, &["-G", &group]);
    fs::set_permissions(&ann.home, Permissions::from_mode(0o711)).expect("root may");
    let secret = ann.file("secret", 0o600);
    let open = ann.file("open", 0o644);
    let shared = ann.file("shared", 0o640);
    chown(&shared, None, Some(gid)).expect("root may");
    let writable = ann.file("writable", 0o620);
    chown(&writable, None, Some(gid)).expect("root may");
    let roots = site.path("roots");
    fs::write(&roots, "root's").expect("it is written");
    fs::set_permissions(&roots, Permissions::from_mode(0o600)).expect("it is ours");
    // What the server itself may read, its users may not.
    let nobodys = site.path("nobodys");
    fs::write(&nobodys, "nobody's").expect("it is written");
    fs::set_permissions(&nobodys, Permissions::from_mode(0o600)).expect("it is ours");
    let nobody = fs::read_to_string("/etc/passwd").expect("there is one");
    let nobody = nobody.lines().find_map(|line| line.strip_prefix("nobody:x:")).expect("he is");
    let nobody = nobody.split(':').next().and_then(|uid| uid.parse().ok());
    chown(&nobodys, nobody, None).expect("root may");

    let server = site.serve("pam = \"never\"\nconfine = false");
    let mut anns = Client::of(&server, &ann);
    assert_eq!(anns.say("PWD"), format!("257 \"{}\" is the directory.", ann.home.display()));
    for (name, path) in [("secret", &secret), ("shared", &shared)] {
        assert_eq!(anns.take(&format!("RETR {name}")).as_deref(), Ok(name));
        assert_eq!(anns.take(&format!("RETR {}", path.display())).as_deref(), Ok(name));
    }
    let mut bobs = Client::of(&server, &bob);
    let mut members = Client::of(&server, &member);
    let get = |client: &mut Client, path: &Path| client.take(&format!("RETR {}", path.display()));
    let denied = "550 ";
    for client in [&mut bobs, &mut members] {
        assert_eq!(get(client, &open).as_deref(), Ok("open"));
        for path in [&secret, &roots, &nobodys, &PathBuf::from("/etc/shadow")] {
            let answer = get(client, path).expect_err("nobody may");
            assert!(answer.starts_with(denied), "{answer}");
        }
        for command in [
            format!("SITE CHMOD 666 {}", open.display()),
            format!("DELE {}", open.display()),
            format!("MFMT 20200101000000 {}", open.display()),
            format!("MKD {}", ann.home.join("new").display()),
            format!("RMD {}", ann.home.display()),
            format!("CWD {}", site.path("missing").display()),
        ] {
            client.expect(&command, denied);
        }
        client.expect(&format!("RNFR {}", open.display()), "350");
        client.expect("RNTO stolen", denied);
        // The home may be entered, but not listed or written.
        let home = ann.home.display();
        client.take(&format!("NLST {home}")).expect_err("it is ann's");
        assert!(client.put(&format!("{home}/new"), "x").starts_with(denied));
        assert!(client.put(&format!("{}", open.display()), "x").starts_with(denied));
    }
    // What is the group's, its members have, and nobody else.
    assert_eq!(get(&mut members, &shared).as_deref(), Ok("shared"));
    assert!(get(&mut bobs, &shared).is_err_and(|answer| answer.starts_with(denied)));
    for (client, expected) in [(&mut bobs, "writable"), (&mut members, "writable and more")] {
        let mut data = client.data();
        let said = client.say(&format!("APPE {}", writable.display()));
        if said.starts_with('1') {
            data.write_all(b" and more").expect("it reads");
            drop(data);
            assert!(client.reply().starts_with("226 "));
        } else {
            assert!(said.starts_with(denied), "{said}");
        }
        assert_eq!(fs::read_to_string(&writable).expect("it is there"), expected);
    }
    assert_is_of(&open, &ann, 0o644);
    assert_eq!(fs::read_to_string(&open).expect("it is there"), "open");
}

/// Whoever sees the whole machine could not follow its absolute links (`~/data` to `/srv/data`).
#[test]
fn links_of_the_machine_lead_where_they_lead_unless_users_are_confined() {
    const NAME: &str = "links_of_the_machine_lead_where_they_lead_unless_users_are_confined";
    if !is_possible(NAME) {
        return;
    }
    let mut site = Site::new();
    let ann = site.user();
    let data = site.path("data");
    fs::DirBuilder::new().mode(0o755).create(&data).expect("it is made");
    chown(&data, Some(ann.uid), Some(ann.gid)).expect("root may");
    fs::write(data.join("file"), "content").expect("it is written");
    let secret = site.path("secret");
    fs::write(&secret, "root's").expect("it is written");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("it is ours");
    for (target, link) in [(&data, "data"), (&secret, "secret")] {
        std::os::unix::fs::symlink(target, ann.home.join(link)).expect("it is free");
    }

    let server = site.serve("pam = \"never\"\nconfine = false");
    let mut client = Client::of(&server, &ann);
    assert_eq!(client.take("RETR data/file").as_deref(), Ok("content"));
    assert_eq!(client.take("NLST data/").as_deref(), Ok("data/file\r\n"));
    client.expect("CWD data", "250");
    assert!(client.put("new", "x").starts_with("226 "));
    assert_is_of(&data.join("new"), &ann, 0o644);
    client.expect("CWD", "250");
    assert_eq!(client.say("PWD"), format!("257 \"{}\" is the directory.", ann.home.display()));
    // It leads there, and is denied there.
    assert_eq!(client.take("RETR secret").expect_err("root's"), "550 Permission denied.");

    let server = site.serve("pam = \"never\"");
    let mut client = Client::of(&server, &ann);
    for command in ["RETR data/file", "RETR secret", "NLST data"] {
        assert!(client.take(command).expect_err("it leads out").starts_with("550 "), "{command}");
    }
    client.expect("CWD data", "550");
}

#[test]
fn accounts_that_may_not_be_used_are_refused_alike() {
    if !is_possible("accounts_that_may_not_be_used_are_refused_alike") {
        return;
    }
    let mut site = Site::new();
    let well = site.user();
    let refused = [
        site.user_with(HASH, &["-e", "2001-01-01"]),
        site.user_with(&format!("!{HASH}"), &[]),
        site.user_with("*", &[]),
        site.user_with("", &[]),
        site.user_with(HASH, &["-s", "/usr/sbin/nologin"]),
        site.user_with(HASH, &["-s", "/nowhere/sh"]),
        site.user_with(HASH, &["-r"]),
    ];
    let must_change = site.user();
    change("chage", &["-d", "0", &must_change.name]);
    let old = site.user();
    change("chage", &["-d", "2001-01-01", "-M", "30", &old.name]);
    let homeless = site.user();
    fs::remove_dir(&homeless.home).expect("it is empty");
    let server = site.serve("pam = \"never\"");
    let password = |name: &str, password: &str| Client::login(&server, name, password).1;
    let answer = password(&homeless.name, PASSWORD);
    assert!(answer.starts_with("530 Your home directory cannot be entered"), "{answer}");
    // Fewer than after which this address is not let in any more.
    for account in refused.iter().chain([&must_change, &old]) {
        assert_eq!(password(&account.name, PASSWORD), REFUSED, "{}", account.name);
    }
    for (name, word) in [("nobody-of-this-name", PASSWORD), ("root", PASSWORD), (&well.name, "x")] {
        assert_eq!(password(name, word), REFUSED, "{name}");
    }
    server.wait_for_line(&format!("the home of `{}` cannot be entered", homeless.name));
    server.wait_for_line("the account has expired");
    server.wait_for_line("the password must be changed first");
}

/// What the kernel says of a process.
fn status(pid: Pid, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.expect("a field").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_server_is_not_root_and_an_upgrade_keeps_what_it_needs() {
    if !is_possible("the_server_is_not_root_and_an_upgrade_keeps_what_it_needs") {
        return;
    }
    let mut site = Site::new();
    let ann = site.user();
    let server = site.serve("pam = \"never\"");
    for pid in [server.pid(), server.upgrade()] {
        let uids = status(pid, "Uid");
        let first = uids.split(' ').next().expect("a number");
        assert!(first != "0" && uids.split(' ').all(|uid| uid == first), "{uids}");
        assert_eq!(status(pid, "CapEff"), "0000000000000000");
        // To read the hashes, to change groups, to change users; as far as the test has them.
        let had = u64::from_str_radix(&status(Pid::INIT, "CapPrm"), 16).unwrap_or(0);
        let kept = u64::from_str_radix(&status(pid, "CapPrm"), 16).expect("a number");
        assert!(kept & !0xc4 == 0 && kept & 0xc0 == 0xc0, "{kept:x} of {had:x}");
        let mut client = Client::of(&server, &ann);
        let name = format!("by-{}", pid.as_raw_pid());
        assert!(client.put(&name, "x").starts_with("226 "));
        assert_is_of(&ann.home.join(name), &ann, 0o644);
    }
}

#[test]
fn pam_decides_where_it_is_asked() {
    if !is_possible("pam_decides_where_it_is_asked") {
        return;
    }
    if !medusa_core::sys::pam::is_available() {
        let why = "there is no libpam.so.0";
        let _ = writeln!(std::io::stderr(), "skipped: pam_decides_where_it_is_asked: {why}");
        return;
    }
    let mut site = Site::new();
    let ann = site.user_with(YESCRYPT, &[]);
    let expired = site.user_with(HASH, &["-e", "2001-01-01"]);
    let nologin = site.user_with(HASH, &["-s", "/usr/sbin/nologin"]);
    let unix = site.service("auth required pam_unix.so\naccount required pam_unix.so\n");
    let anybody = site.service("auth required pam_permit.so\naccount required pam_permit.so\n");
    let broken = site.service("auth required pam_no_such_module.so\n");

    let server = site.serve(&format!("pam = \"{unix}\""));
    let password = |server: &Server, name: &str, word: &str| Client::login(server, name, word).1;
    let mut client = Client::of(&server, &ann);
    assert!(client.put("mine", "x").starts_with("226 "));
    assert_is_of(&ann.home.join("mine"), &ann, 0o644);
    assert_eq!(password(&server, &ann.name, "Secret"), REFUSED);
    assert_eq!(password(&server, &expired.name, PASSWORD), REFUSED);
    assert_eq!(password(&server, &nologin.name, PASSWORD), REFUSED);
    assert_eq!(password(&server, "nobody-of-this-name", PASSWORD), REFUSED);
    server.wait_for_line("PAM says: ");
    server.upgrade();
    Client::of(&server, &ann);

    // Our own rules hold whatever PAM says.
    let server = site.serve(&format!("pam = \"{anybody}\""));
    assert!(password(&server, &ann.name, "anything").starts_with("230 "));
    assert_eq!(password(&server, &ann.name, ""), REFUSED);
    assert_eq!(password(&server, &nologin.name, "anything"), REFUSED);
    assert_eq!(password(&server, "root", "anything"), REFUSED);
    assert_eq!(password(&server, "daemon", "anything"), REFUSED);
    assert_eq!(password(&server, "nobody-of-this-name", "anything"), REFUSED);

    let server = site.serve(&format!("pam = \"{broken}\""));
    let answer = password(&server, &ann.name, PASSWORD);
    assert!(answer.starts_with("430 ") || answer == REFUSED, "{answer}");
}

#[test]
fn a_service_of_pam_that_is_not_there_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("medusa.toml");
    let text = "[[server]]\nprotocol = \"ftp\"\nlisten = \"127.0.0.1:0\"\n\n[server.unix_users]\n\
                pam = \"no-such-service\"\n";
    fs::write(&config, text).expect("it is written");
    let checked = medusa(["check", "--config"]).arg(&config).output().expect("it runs");
    let said = String::from_utf8(checked.stderr).expect("text");
    assert_eq!(checked.status.code(), Some(2), "{said}");
    assert!(said.contains("PAM has no service `no-such-service` here"), "{said}");
}
