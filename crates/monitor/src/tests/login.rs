//! Who gets in, and all who do not.

use medusa_core::Service as _;
use medusa_core::testing::How;

use super::*;
use crate::limits::{FAILED_LOGIN_DELAY, HALF_OPEN};
use crate::wire::LoginKind;

#[test]
fn the_servers_own_user_is_known_on_a_unix_socket() {
    let mut bench = Bench::without_operators();
    let mut console = bench.connect(Address::Unix);
    let hello = console.hello(&mut bench.h);
    assert_eq!((&*hello.server, hello.login), ("medusa test", LoginKind::None));
    let FromServer::Welcome(welcome) = console.hear(&mut bench.h) else { panic!("no welcome") };
    assert_eq!((welcome.role, welcome.data), (Role::All, None));
    assert_eq!(console.values(&mut bench.h, "1 + 1"), "[2]");
}

#[test]
fn operators_log_in_with_their_passwords_and_get_their_roles() {
    let mut bench = Bench::new();
    for (name, role) in [("ann", Role::All), ("ops", Role::Operate), ("eye", Role::Look)] {
        let mut console = bench.remote();
        assert_eq!(console.hello(&mut bench.h).login, LoginKind::ScramSha256);
        let welcome = console.try_login(&mut bench.h, name, name).expect("the right password");
        assert_eq!((&*welcome.operator, welcome.role), (name, role));
        assert_eq!(console.values(&mut bench.h, "'hi'"), "[\"hi\"]");
    }
}

/// Connects, fails to log in as told, and says when and with which words that ended.
fn refused(bench: &mut Bench, name: &str, password: &str) -> (Duration, String) {
    let mut console = bench.remote();
    console.hello(&mut bench.h);
    let begin = bench.h.now();
    let why = console.try_login(&mut bench.h, name, password).expect_err("it is wrong");
    let took = bench.h.now() - begin;
    console.peer.close_write();
    bench.h.run();
    assert!(console.peer.is_gone(), "the connection ends");
    (took, why)
}

#[test]
fn a_wrong_password_and_a_name_that_does_not_exist_are_told_alike_and_late() {
    let mut bench = Bench::new();
    let wrong = refused(&mut bench, "ann", "guess");
    assert_eq!(wrong.1, "wrong name or password");
    assert!(wrong.0 >= FAILED_LOGIN_DELAY);
    let node = bench.sessions();
    assert_eq!(node.value("failed logins"), Some(&Field::Count(1)));
    // Nobody's challenge asks for more iterations than a test should take; its proof is wrong
    // whatever it is.
    let mut console = bench.remote();
    console.hello(&mut bench.h);
    let first = |nonce: &str| FromClient::Login(LoginData { data: format!("n,,n=eve,r={nonce}") });
    console.say(&first("a"));
    let FromServer::Challenge(challenge) = console.hear(&mut bench.h) else { panic!("refused") };
    let nonce = challenge.data.split(',').next().expect("a nonce").to_owned();
    let proof = format!("c=biws,{nonce},p={}=", "A".repeat(43));
    console.say(&FromClient::Proof(LoginData { data: proof }));
    let FromServer::Refused(told) = console.hear(&mut bench.h) else { panic!("let in") };
    assert_eq!(told.why, wrong.1);
    // The salt of a name that does not exist stays the same, as a real one does.
    let salt = |data: &str| data.split(',').nth(1).map(str::to_owned);
    let mut again = bench.remote();
    again.hello(&mut bench.h);
    again.say(&first("b"));
    let FromServer::Challenge(second) = again.hear(&mut bench.h) else { panic!("refused") };
    assert_eq!(salt(&second.data), salt(&challenge.data));
    assert_eq!(bench.sessions().value("open"), Some(&Field::Count(0)));
}

#[test]
fn a_login_that_was_listened_to_cannot_be_played_again() {
    let mut bench = Bench::new();
    let mut console = bench.remote();
    console.hello(&mut bench.h);
    let (client, first) = Client::new("ann", "nonce".to_owned());
    let first = FromClient::Login(LoginData { data: first });
    console.say(&first);
    let FromServer::Challenge(challenge) = console.hear(&mut bench.h) else { panic!("refused") };
    let (_, last) = client.answer(&challenge.data, "ann").expect("a challenge");
    let last = FromClient::Proof(LoginData { data: last });
    console.say(&last);
    assert!(matches!(console.hear(&mut bench.h), FromServer::Welcome(_)));

    let mut thief = bench.remote();
    thief.hello(&mut bench.h);
    thief.say(&first);
    assert!(matches!(thief.hear(&mut bench.h), FromServer::Challenge(_)));
    thief.say(&last);
    let FromServer::Refused(refused) = thief.hear(&mut bench.h) else { panic!("let in") };
    assert_eq!(refused.why, "wrong name or password");
    // Nor can a second proof be tried on the same connection.
    thief.say(&last);
    assert_eq!(thief.all(&mut bench.h), []);
}

#[test]
fn a_login_reads_the_same_wherever_it_is_split_and_ends_wherever_it_is_cut() {
    let mut login = Vec::new();
    FromClient::Login(LoginData { data: "n,,n=ann,r=abc".to_owned() }).write(&mut login);
    for at in 0..=login.len() {
        let mut bench = Bench::new();
        let mut console = bench.remote();
        console.hello(&mut bench.h);
        console.peer.send_split(&login, &[at]);
        assert!(matches!(console.hear(&mut bench.h), FromServer::Challenge(_)), "{at}");

        let cut = bench.remote();
        bench.h.run();
        cut.peer.send(&login[..at]);
        cut.peer.close_write();
        bench.h.run();
        assert!(cut.peer.is_gone(), "{at}");
        assert_eq!(bench.sessions().value("half open"), Some(&Field::Count(1)), "{at}");
    }
}

#[test]
fn nothing_is_run_before_the_login() {
    let mut bench = Bench::new();
    for line in [
        "{\"run\":{\"id\":1,\"code\":\"act('knob', 'set', 7)\"}}\n",
        "hello\n",
        "GET / HTTP/1.1\r\n",
    ] {
        let mut console = bench.remote();
        console.hello(&mut bench.h);
        console.peer.send(line);
        assert!(matches!(console.hear(&mut bench.h), FromServer::Refused(_)), "{line}");
        console.peer.send(line);
        assert_eq!(console.all(&mut bench.h), []);
    }
    assert_eq!(*bench.knob.borrow(), 0);
    let mut console = bench.remote();
    console.hello(&mut bench.h);
    console.peer.send("x".repeat(crate::wire::LOGIN_LINE_BYTES + 2));
    let FromServer::Refused(refused) = console.hear(&mut bench.h) else { panic!("taken") };
    assert_eq!(refused.why, "the line is longer than 4096 bytes");
}

#[test]
fn a_login_has_its_time() {
    let mut bench = Bench::new();
    let mut console = bench.remote();
    console.hello(&mut bench.h);
    bench.h.advance(Duration::from_secs(29));
    assert_eq!(console.all(&mut bench.h), []);
    bench.h.advance(Duration::from_secs(2));
    let FromServer::Refused(refused) = console.hear(&mut bench.h) else { panic!("it waits") };
    assert_eq!(refused.why, "the login took longer than 30 s");
}

#[test]
fn a_hundred_half_open_logins_keep_nobody_out() {
    let mut bench = Bench::new();
    let half: Vec<Console> = (0..100).map(|_| bench.remote()).collect();
    bench.h.run();
    assert_eq!(bench.sessions().value("half open"), Some(&Field::Count(HALF_OPEN as u64)));
    let gone = half.iter().filter(|console| console.peer.is_gone()).count();
    assert_eq!(gone, 100 - HALF_OPEN, "the oldest made room");
    let mut console = bench.login("ann");
    assert_eq!(console.values(&mut bench.h, "look('sessions')['half open']"), "[63]");
    bench.h.advance(Duration::from_secs(31));
    for console in &half {
        console.peer.close_write();
    }
    bench.h.run();
    assert!(half.iter().all(|console| console.peer.is_gone()));
    assert_eq!(bench.sessions().value("half open"), Some(&Field::Count(0)));
}

#[test]
fn a_file_of_operators_that_cannot_be_used_lets_nobody_in() {
    let mut bench = Bench::new();
    std::fs::write(bench.operators(), "ann:all:secret\n").expect("written");
    assert_eq!(refused(&mut bench, "ann", "ann").1, "nobody can log in");
}

#[test]
fn there_are_only_so_many_sessions() {
    let mut bench = Bench::with(MonitorSettings { sessions: 2, ..MonitorSettings::default() });
    let mut first = bench.login("ann");
    let _second = bench.login("eye");
    let mut third = bench.remote();
    third.hello(&mut bench.h);
    let why = third.try_login(&mut bench.h, "ops", "ops").expect_err("there are two");
    assert!(why.starts_with("there are 2 sessions already"), "{why}");
    // One whose connection is gone makes room.
    first.values(&mut bench.h, "1");
    first.peer.close();
    bench.h.run();
    bench.login("ops");
    assert!(matches!(third.peer.closed(), Some(How::Fin)));
    assert_eq!(bench.monitor.name(), "monitor");
}
