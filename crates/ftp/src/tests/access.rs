//! Logging in, and what users may do then.

use medusa_auth::{Checker, CheckerSettings};
use medusa_core::inspect::{Outcome, Value};

use super::*;
use crate::{Authorizer, User, Verdict, VirtualUsers};

/// A file in which Ann's password is `secret`.
fn password_file() -> tempfile::NamedTempFile {
    let hash = medusa_auth::password::hash(b"secret").expect("it is hashed");
    let text = medusa_auth::file::edit("", "ann", Some(&hash)).expect("added");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

fn ann(tree: &MemoryTree) -> User {
    let user = User::new("ann", Arc::new(tree.clone()), Persona::Process, Permissions::READ);
    User {
        rights: user.rights.clone().within(path("/d"), Permissions::ALL),
        sessions: Some(1),
        welcome: "Hello, Ann.".to_owned(),
        ..user
    }
}

struct Users {
    h: Harness,
    service: FtpService,
    told: Told,
    tree: MemoryTree,
    file: tempfile::NamedTempFile,
}

impl Users {
    fn new(settings: FtpSettings) -> Self {
        let (file, tree, told) = (password_file(), tree(), Told::default());
        let checker = Checker::new(file.path().to_owned(), CheckerSettings::default());
        let users = VirtualUsers::new(checker.expect("a checker"), [ann(&tree)]);
        let events: Vec<Rc<dyn Events>> = vec![Rc::new(told.clone())];
        let service = FtpService::new(settings, vec![Rc::new(users)], events);
        Self { h: Harness::new(), service, told, tree, file }
    }

    fn bench(mut self) -> Bench {
        let control = self.h.accept(&self.service);
        self.h.run();
        control.take();
        let Self { h, service, told, tree, file } = self;
        Bench { h, service, control, tree, told, passwords: Some(file) }
    }
}

/// Who guessed names was told which exist.
#[test]
fn a_wrong_name_and_a_wrong_password_get_one_answer() {
    let mut bench = Users::new(FtpSettings::default()).bench();
    let mut answers = Vec::new();
    for name in ["ann", "nobody"] {
        let first = bench.say(&format!("USER {name}"));
        assert_eq!(bench.say("PASS wrong"), "", "it takes a while");
        bench.h.advance(Duration::from_secs(2));
        answers.push((first, bench.control.take_text()));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].1.starts_with("530 "));
    assert_eq!(bench.told(), ["failed ann", "failed nobody"]);
    assert_eq!(bench.code("PASS secret"), 503, "without a name");
    bench.say("USER ann");
    assert_eq!(bench.say("PASS secret"), "230 Hello, Ann.\r\n");
    assert_eq!(bench.code("USER ann"), 503);
    assert_eq!(bench.code("PASS secret"), 503);
}

/// Nothing kept anybody from trying on.
#[test]
fn whoever_guesses_is_sent_away_and_then_kept_away() {
    let settings = FtpSettings { ban_tries: 6, ..FtpSettings::default() };
    let mut bench = Users::new(settings).bench();
    for round in 0..2 {
        if round > 0 {
            bench.control = bench.h.accept(&bench.service);
            bench.h.run();
            assert!(bench.control.take_text().starts_with("220 "));
        }
        for _ in 0..3 {
            assert!(!bench.control.is_gone());
            bench.say("USER ann");
            bench.say("PASS wrong");
            bench.h.advance(Duration::from_secs(2));
            assert!(bench.control.take_text().starts_with("530 "));
        }
        assert!(bench.control.is_gone());
    }
    let turned = bench.h.accept(&bench.service);
    bench.h.run();
    assert!(turned.take_text().starts_with("421 ") && turned.is_gone());
    bench.h.advance(Duration::from_secs(301));
    let later = bench.h.accept(&bench.service);
    bench.h.run();
    assert!(later.take_text().starts_with("220 "));
}

/// A ban held only for connections that came behind it, and nobody could lift it.
#[test]
fn a_ban_holds_for_sessions_that_are_there_is_shown_and_can_be_lifted() {
    let settings = FtpSettings { ban_tries: 2, ..FtpSettings::default() };
    let mut bench = Users::new(settings).bench();
    bench.h.handle().mount("ftp", bench.service.inspect());
    let other = bench.h.accept(&bench.service);
    for _ in 0..2 {
        bench.say("USER ann");
        bench.say("PASS wrong");
        bench.h.advance(Duration::from_secs(2));
    }
    other.send("USER ann\r\nPASS secret\r\n");
    bench.h.run();
    assert!(other.take_text().ends_with(
        "421 Too many logins from your address have failed; try \
                                         again later.\r\n"
    ));
    assert!(other.is_gone());
    let Outcome::Node(node) = bench.h.inspect("ftp/bans") else { panic!("it is mounted") };
    assert_eq!(node.children, ["198.51.100.1"]);
    let Outcome::Node(node) = bench.h.inspect("ftp/bans/198.51.100.1") else { panic!("banned") };
    assert_eq!(node.value("failed logins"), Some(&Value::Count(2)));
    let now = bench.h.handle().unix_time();
    let Some(Value::Date(until)) = node.value("until") else { panic!("{node:?}") };
    let left = until.saturating_sub(now);
    assert!(left <= Duration::from_secs(300) && left > Duration::from_secs(290), "{left:?}");
    let lifted = bench.h.act("ftp/bans/198.51.100.1", "lift", &[]);
    assert!(matches!(lifted, Outcome::Done(_)), "{lifted:?}");
    assert!(matches!(bench.h.inspect("ftp/bans/198.51.100.1"), Outcome::Missing(_)));
    let again = bench.h.accept(&bench.service);
    again.send("USER ann\r\nPASS secret\r\n");
    bench.h.run();
    assert!(again.take_text().contains("\r\n230 "));
}

/// It held the loop, whose tree held it, and neither was ever dropped.
#[test]
fn a_server_that_is_shown_holds_no_loop() {
    let bench = Bench::logged_in();
    bench.h.handle().mount("ftp", bench.service.inspect());
    let anonymous =
        Anonymous::with(Arc::new(bench.tree.clone()), Persona::Process, Permissions::ALL);
    let user: Rc<dyn Authorizer> = Rc::new(anonymous);
    let held = Rc::downgrade(&user);
    bench.service.replace(FtpSettings::default(), vec![user], Vec::new());
    drop(bench);
    assert!(held.upgrade().is_none());
}

#[test]
fn all_settings_are_shown() {
    let settings = FtpSettings {
        passive_ports: Some(5000..=5009),
        announce: vec![crate::Announcement {
            to: "10.0.0.0/8".parse().expect("a network"),
            address: crate::Announced::Name("ftp.example.org".to_owned()),
        }],
        ..FtpSettings::default()
    };
    let mut bench = Bench::with(settings);
    bench.h.handle().mount("ftp", bench.service.inspect());
    let Outcome::Node(node) = bench.h.inspect("ftp/settings") else { panic!("it is mounted") };
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    assert_eq!(node.value("passive ports").cloned(), text("5000-5009"));
    let told = node.value("announced to 10.0.0.0/8").cloned();
    assert_eq!(told, text("ftp.example.org (not known yet)"));
    assert_eq!(node.value("ban time"), Some(&Value::Time(Duration::from_secs(300))));
}

#[test]
fn rights_are_by_directory() {
    let mut bench = Users::new(FtpSettings::default()).bench();
    bench.say("USER ann");
    assert_eq!(bench.code("PASS secret"), 230);
    for (command, code) in [
        ("DELE a.txt", 550),
        ("MKD new", 550),
        ("SITE CHMOD 600 a.txt", 550),
        ("MFMT 20200101000000 a.txt", 550),
        ("RNFR a.txt", 550),
        ("RNFR d/b.txt", 350),
        ("RNTO out", 550),
        ("MKD d/new", 257),
        ("DELE d/b.txt", 250),
        ("SIZE a.txt", 213),
    ] {
        assert_eq!(bench.code(command), code, "{command}");
    }
    assert!(bench.put("STOR a.txt", b"x").starts_with("550 "));
    assert!(bench.put("APPE a.txt", b"x").starts_with("550 "));
    assert!(bench.put("STOR d/x", b"x").contains("226 "));
    let told = bench.say("MLST a.txt");
    assert!(told.contains("perm=r;"), "{told}");
}

#[test]
fn sessions_of_a_user_are_counted() {
    let mut bench = Users::new(FtpSettings::default()).bench();
    bench.say("USER ann");
    assert_eq!(bench.code("PASS secret"), 230);
    bench.h.handle().mount("ftp", bench.service.inspect());
    let Outcome::Node(node) = bench.h.inspect("ftp/users/ann") else { panic!("she is here") };
    assert_eq!(node.value("limit of sessions"), Some(&Value::Count(1)));
    let second = bench.h.accept(&bench.service);
    second.send("USER ann\r\nPASS secret\r\n");
    bench.h.run();
    assert!(second.take_text().contains("\r\n530 "));
    assert_eq!(bench.code("REIN"), 220);
    second.send("USER ann\r\nPASS secret\r\n");
    bench.h.run();
    assert!(second.take_text().contains("\r\n230 "));
    assert_eq!(bench.told(), ["login ann", "logout ann", "login ann"]);
    assert_eq!(bench.code("PWD"), 530);
}

/// A directory in which less is allowed was moved, with the one above it, to where more is.
#[test]
fn what_holds_for_a_directory_cannot_be_moved_away_from() {
    let mut bench = says(|tree| {
        let user = User::new("ann", Arc::new(tree.clone()), Persona::Process, Permissions::ALL);
        let nothing = "".parse().expect("no letters");
        let rights = user.rights.clone().within(path("/d/locked"), nothing);
        Verdict::Welcome(Rc::new(User { rights, ..user }))
    });
    bench.tree.insert(&path("/d/locked/secret"), "secret").expect("there is room");
    assert_eq!(bench.code("PASS secret"), 230);
    for directory in ["d", "d/locked", "/"] {
        assert_eq!(bench.code(&format!("RNFR {directory}")), 550, "{directory}");
    }
    assert_eq!(bench.code("RNTO e"), 503);
    assert_eq!(bench.code("RNFR d/b.txt"), 350);
    assert_eq!(bench.code("RNTO d/e.txt"), 250);
}

#[test]
fn too_many_sessions_are_turned_away() {
    let mut bench = Bench::with(FtpSettings { sessions_per_address: 1, ..FtpSettings::default() });
    let second = bench.h.accept(&bench.service);
    bench.h.run();
    assert!(second.take_text().starts_with("421 ") && second.is_gone());
    bench.control.close();
    bench.h.run();
    let third = bench.h.accept(&bench.service);
    bench.h.run();
    assert!(third.take_text().starts_with("220 "));
}

#[test]
fn what_the_server_shows() {
    let mut bench = Bench::logged_in();
    bench.h.handle().mount("ftp", bench.service.inspect());
    bench.fetch("RETR a.txt");
    let Outcome::Node(node) = bench.h.inspect("ftp") else { panic!("it is mounted") };
    for (name, number) in [("sessions", 1), ("users", 1), ("logins", 1), ("files sent", 1)] {
        assert_eq!(node.value(name), Some(&Value::Count(number)), "{name}");
    }
    let channel = bench.h.inspect(&bench.control.path());
    let Outcome::Node(node) = channel else { panic!("it is open") };
    assert_eq!(node.value("doing"), Some(&Value::Text("anonymous in /".to_owned())));
}

#[test]
fn a_session_is_small() {
    assert!(size_of::<crate::session::Session>() <= 320);
}

/// Says what it was made with.
struct Says(fn(&MemoryTree) -> Verdict, MemoryTree);

impl Authorizer for Says {
    fn decides(&self, _: &str) -> bool {
        true
    }

    fn authorize(
        &self,
        _: &str,
        _: &[u8],
        _: &medusa_core::Peer,
        _: &medusa_core::Handle,
        then: Box<dyn FnOnce(Verdict)>,
    ) {
        then(self.0(&self.1));
    }
}

fn says(verdict: fn(&MemoryTree) -> Verdict) -> Bench {
    let mut bench = Bench::new();
    let users: Vec<Rc<dyn Authorizer>> = vec![Rc::new(Says(verdict, bench.tree.clone()))];
    bench.service = FtpService::new(FtpSettings::default(), users, Vec::new());
    bench.control = bench.h.accept(&bench.service);
    bench.h.run();
    bench.control.take();
    bench.say("USER ann");
    bench
}

#[test]
fn whoever_logs_in_begins_at_home() {
    let mut bench = says(|tree| Verdict::Welcome(Rc::new(User { home: path("/d"), ..ann(tree) })));
    assert_eq!(bench.code("PASS secret"), 230);
    assert_eq!(bench.say("PWD"), "257 \"/d\" is the directory.\r\n");
    assert!(bench.fetch("NLST").0.starts_with(b"b.txt\r\n"));
    assert_eq!(bench.code("CDUP"), 250);
    // Home is not the root.
    for home in ["CWD", "CWD ~"] {
        assert_eq!(bench.code("CWD /"), 250);
        assert_eq!(bench.code(home), 250);
        assert_eq!(bench.say("PWD"), "257 \"/d\" is the directory.\r\n", "{home}");
    }
    // Somebody else begins at theirs.
    assert_eq!(bench.code("REIN"), 220);
    bench.say("USER ann");
    assert_eq!(bench.code("PASS secret"), 230);
    assert!(bench.say("PWD").contains("\"/d\""));
}

#[test]
fn a_right_password_without_a_home_is_told_so_at_once() {
    let mut bench = says(|_| Verdict::Homeless);
    let said = bench.say("PASS secret");
    assert!(said.starts_with("530 Your home directory cannot be entered"), "{said}");
    assert_eq!(bench.code("PWD"), 530);
}
