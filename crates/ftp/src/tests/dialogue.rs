//! Each command, and what is said to it.

use medusa_core::testing::{How, same_for_every_split};

use super::*;

#[test]
fn a_dialogue_is_the_same_however_it_is_split() {
    let begin = || {
        let (mut h, tree, told) = (Harness::new(), tree(), Told::default());
        let control = h.accept(&service(FtpSettings::default(), &tree, &told));
        (h, control)
    };
    let input =
        b"user ftp\r\nPASS x\r\nPWD\r\nCWD d\r\n\xff\xf4\xff\xf2ABOR\r\nSIZE b.txt\nMKD \"\r\n\
                  RNFR b.txt\r\nRNTO e\r\nOPTS MLST type;\r\nMLST e\r\nNONSENSE\r\nQUIT\r\n";
    let output = String::from_utf8(same_for_every_split(input, true, begin)).expect("text");
    let codes: Vec<_> = output.lines().filter_map(|line| line.get(..4)).collect();
    let expected = [
        "220 ", "331 ", "230 ", "257 ", "250 ", "226 ", "213 ", "257 ", "350 ", "250 ", "200 ",
        "250-", " typ", "250 ", "500 ", "221 ",
    ];
    assert_eq!(codes, expected, "{output}");
    assert!(output.contains("257 \"/d/\"\"\" is made.\r\n"), "{output}");
}

#[test]
fn every_command_has_an_answer_in_every_state() {
    let arguments = ["", " ", " x", " /", " ..", " 1 2", " 20010101000000 a.txt", " \u{e4}*[?"];
    for spec in crate::commands::TABLE {
        for argument in arguments {
            for prepare in ["", "REST 3", "RNFR a.txt", "EPSV", "PORT 198,51,100,1,200,1"] {
                let mut bench = Bench::logged_in();
                if !prepare.is_empty() {
                    bench.say(prepare);
                }
                let text = bench.say(&format!("{}{argument}", spec.verb));
                let code = text.get(..3).and_then(|code| code.parse::<u16>().ok());
                assert!(code.is_some_and(|c| (100..600).contains(&c)), "{}: {text}", spec.verb);
                assert!(text.ends_with("\r\n"));
            }
            let mut bench = Bench::new();
            bench.h.run();
            bench.control.take();
            let code = bench.code(&format!("{}{argument}", spec.verb));
            assert!((200..600).contains(&code), "before login {} gives {code}", spec.verb);
        }
    }
}

#[test]
fn directories_are_walked() {
    let mut bench = Bench::logged_in();
    assert_eq!(bench.say("PWD"), "257 \"/\" is the directory.\r\n");
    for (command, code, directory) in [
        ("CDUP", 250, "/"),
        ("CWD ..", 250, "/"),
        ("CWD d", 250, "/d"),
        ("CWD none", 550, "/d"),
        ("CWD b.txt", 550, "/d"),
        ("CWD ../..", 553, "/d"),
        ("XCUP", 250, "/"),
        ("XCWD /d/", 250, "/d"),
        ("CWD", 250, "/"),
    ] {
        assert_eq!(bench.code(command), code, "{command}");
        assert!(bench.say("XPWD").starts_with(&format!("257 \"{directory}\" ")), "{command}");
    }
}

/// A message could be larger than any reply, end it, or show what a user may not see.
#[test]
fn a_directory_has_a_message_for_whoever_enters() {
    let mut bench = Bench::logged_in();
    let insert = |bench: &Bench, name: &str, text: &str| {
        bench.tree.insert(&path(name), text.as_bytes().to_vec()).expect("there is room");
    };
    assert_eq!(bench.say("CWD d"), "250 You are there.\r\n");
    insert(&bench, "/d/.message", "Welcome.\r\n250 Not the end.\n\x07\n");
    assert_eq!(
        bench.say("CWD /d"),
        "250-Welcome.\r\n250-250 Not the end.\r\n250-?\r\n250 You are there.\r\n"
    );
    for hidden in ["RETR .message", "SIZE .message", "DELE .message"] {
        assert_eq!(bench.code(hidden), if hidden.starts_with("RETR") { 425 } else { 550 });
    }
    insert(&bench, "/d/.message", &"x".repeat(10_000));
    let said = bench.say("CWD /d");
    assert_eq!(said.len(), 4 + crate::limits::MESSAGE_BYTES + 2 + "250 You are there.\r\n".len());
    insert(&bench, "/d/.message", &"x\n".repeat(1000));
    assert_eq!(bench.say("CWD /d").lines().count(), crate::limits::MESSAGE_LINES + 1);
    insert(&bench, "/.hidden/.message", "secret");
    assert_eq!(bench.code("CWD /.hidden"), 550);

    // Whoever goes up enters too, and whoever logs in.
    insert(&bench, "/.message", "The root.");
    assert_eq!(bench.say("CDUP"), "250-The root.\r\n250 You are there.\r\n");
    bench.say("REIN");
    bench.say("USER ftp");
    assert_eq!(bench.say("PASS x"), "230-The root.\r\n230 Logged in.\r\n");

    let mut bench = Bench::with(FtpSettings { message: String::new(), ..FtpSettings::default() });
    insert(&bench, "/.message", "The root.");
    insert(&bench, "/d/.message", "Welcome.");
    bench.h.run();
    bench.control.take();
    bench.say("USER ftp");
    assert_eq!(bench.say("PASS x"), "230 Logged in.\r\n");
    assert_eq!(bench.say("CWD d"), "250 You are there.\r\n");
}

/// Whoever had not logged in began anew again and again, and stayed for ever.
#[test]
fn beginning_anew_gives_nobody_more_time_to_log_in() {
    let mut bench = Bench::new();
    bench.h.run();
    bench.control.take();
    for _ in 0..3 {
        bench.h.advance(Duration::from_secs(25));
        bench.control.send("REIN\r\n");
        bench.h.run();
    }
    assert!(bench.control.take_text().contains("\r\n421 ") && bench.control.is_gone());
}

#[test]
fn files_are_changed() {
    let mut bench = Bench::logged_in();
    for (command, answer) in [
        ("SIZE d/b.txt", "213 3"),
        ("SIZE a.txt", "213 10"),
        ("TYPE I", "200"),
        ("SIZE a.txt", "213 8"),
        ("SIZE d", "550"),
        ("MDTM a.txt", "213 20010909014640"),
        ("MFMT 20200102030405 a.txt", "213 Modify=20200102030405; /a.txt"),
        ("MDTM a.txt", "213 20200102030405"),
        ("MDTM 20200102030406 a.txt", "213 "),
        ("SITE UTIME 20200102030407 a.txt", "213 "),
        ("SITE UTIME a.txt 20010101000000 20200102030408 20010101000000 UTC", "213 "),
        ("MDTM a.txt", "213 20200102030408"),
        ("MFMT 2020 a.txt", "501"),
        ("SITE CHMOD 600 a.txt", "200"),
        ("SITE CHMOD 999 a.txt", "501"),
        ("SITE CHMOD 600", "501"),
        ("SITE UMASK 077", "504"),
        ("MKD new", "257 \"/new\""),
        ("MKD new", "550"),
        ("RMD d", "550"),
        ("RMD new", "250"),
        ("RNTO x", "503"),
        ("RNFR none", "550"),
        ("RNFR a.txt", "350"),
        ("NOOP", "200"),
        ("RNTO x", "503"),
        ("RNFR a.txt", "350"),
        ("RNTO d/x", "250"),
        ("DELE d/x", "250"),
        ("DELE d/x", "550"),
        ("DELE d", "550"),
    ] {
        let text = bench.say(command);
        assert!(text.starts_with(answer), "{command}: {text}");
    }
}

#[test]
fn settings_of_a_session() {
    let mut bench = Bench::logged_in();
    for (command, answer) in [
        ("TYPE L 8", "200"),
        ("TYPE E", "504"),
        ("MODE S", "200"),
        ("MODE B", "504"),
        ("STRU F", "200"),
        ("STRU R", "504"),
        ("SYST", "215 UNIX Type: L8"),
        ("CLNT x", "200"),
        ("OPTS UTF8 ON", "200"),
        ("OPTS UTF8 OFF", "504"),
        ("OPTS MLST size;nonsense;", "200 MLST OPTS size;"),
        ("MLST a.txt", "250-Facts:\r\n size=8; /a.txt\r\n250 End"),
        ("OPTS MLST", "200 MLST OPTS"),
        ("OPTS HASH", "200 SHA-256"),
        ("OPTS HASH crc32", "200 CRC32"),
        ("OPTS HASH X", "501"),
        ("HELP RETR", "214 Syntax: RETR <path>"),
        ("HELP X", "502"),
        ("ALLO 5", "202"),
        ("ACCT x", "202"),
        ("SITE X", "504"),
        ("SITE HELP", "214-"),
        ("STAT", "211-Status:"),
    ] {
        let text = bench.say(command);
        assert!(text.starts_with(answer), "{command}: {text}");
    }
    let features = bench.say("FEAT");
    assert!(features.contains("\r\n HASH SHA-256;SHA-1;MD5;CRC32*\r\n"), "{features}");
    let help = bench.say("HELP");
    assert!(crate::commands::TABLE.iter().all(|spec| help.contains(spec.verb)), "{help}");
}

#[test]
fn check_sums_of_files_and_of_parts() {
    let mut bench = Bench::logged_in();
    for (command, answer) in [
        (
            "HASH d/b.txt",
            "213 SHA-256 0-3 62cb81b5904a262ffaeed02abef36bfc540b09f964b8b0b636662f77ffce6714 /d/b.txt",
        ),
        ("OPTS HASH MD5", "200"),
        ("HASH d/b.txt", "213 MD5 0-3 9dfd70fdf15a3cb1ea00d7799ac6651b /d/b.txt"),
        ("OPTS HASH SHA-1", "200"),
        ("HASH d/b.txt", "213 SHA-1 0-3 917ee46db0cda4c4739bb176b3cf68880f7dba95 /d/b.txt"),
        ("OPTS HASH CRC32", "200"),
        ("RANG 0 2", "350"),
        ("HASH a.txt", "213 CRC32 0-3 7a6c86f1 /a.txt"),
        ("RANG 0 8", "350"),
        ("HASH a.txt", "501"),
        ("HASH a.txt", "213 CRC32 0-8 "),
        ("RANG 2 1", "501"),
        ("RANG 0 18446744073709551615", "501"),
        ("RANG -1 2", "501"),
        ("RANG 1 0", "350"),
        ("HASH d", "550"),
    ] {
        let text = bench.say(command);
        assert!(text.starts_with(answer), "{command}: {text}");
    }
}

/// A line over the limit was cut, and its tail run as a command.
#[test]
fn the_tail_of_an_overlong_line_is_no_command() {
    let mut bench = Bench::logged_in();
    let line = format!("CWD {}DELE a.txt", "x".repeat(crate::wire::MAX_LINE_BYTES as usize - 4));
    assert_eq!(bench.say(&line), "500 The line is too long.\r\n");
    assert!(bench.content("/a.txt").is_some());
    assert_eq!(bench.code("NOOP"), 200);
}

/// Requests of HTTP, which any page can have a browser send, were taken for commands.
#[test]
fn a_request_of_http_ends_the_connection() {
    for request in ["GET / HTTP/1.1", "POST /\r\nUSER ftp\r\nPASS x\r\nDELE a.txt", "\x16\x03\x01"]
    {
        let mut bench = Bench::new();
        bench.h.run();
        bench.control.take();
        assert_eq!(bench.say(request), "500 This is an FTP server.\r\n");
        bench.h.advance(Duration::from_secs(60));
        assert!(bench.control.is_gone());
        assert!(bench.content("/a.txt").is_some());
    }
}

/// A number that did not fit became another one.
#[test]
fn a_restart_that_is_no_position_is_refused() {
    let mut bench = Bench::logged_in();
    for bad in ["-1", "+1", "x", "9223372036854775808", "99999999999999999999", "1 2", ""] {
        assert_eq!(bench.code(&format!("REST {bad}")), 501, "{bad}");
    }
    assert_eq!(bench.code("REST 9223372036854775807"), 350);
    bench.say("TYPE I");
    let (content, said) = bench.fetch("RETR a.txt");
    assert!(content.is_empty() && said.starts_with("554 "), "{said}");
}

#[test]
fn whoever_says_nothing_is_sent_away() {
    let mut bench = Bench::new();
    bench.h.run();
    bench.control.take();
    bench.h.advance(Duration::from_secs(59));
    // Commands alone are no login.
    assert_eq!(bench.code("NOOP"), 200);
    bench.h.advance(Duration::from_secs(3));
    assert!(bench.control.take_text().starts_with("421 "));
    assert_eq!(bench.control.closed(), Some(How::Fin));

    let mut bench = Bench::logged_in();
    bench.h.advance(Duration::from_secs(299));
    assert_eq!(bench.code("NOOP"), 200);
    bench.h.advance(Duration::from_secs(299));
    assert!(!bench.control.is_gone());
    bench.h.advance(Duration::from_secs(3));
    assert!(bench.control.take_text().starts_with("421 "));
    assert!(bench.control.is_gone());
}

/// A session lost its login and its directory when the server was replaced.
#[test]
fn a_session_outlives_its_listener_until_it_is_idle() {
    let mut bench = Bench::logged_in();
    assert_eq!(bench.code("CWD d"), 250);
    bench.h.handle().retire(Duration::from_secs(3600), || {});
    bench.h.run();
    for _ in 0..3 {
        bench.h.advance(Duration::from_secs(29));
        assert_eq!(bench.fetch("RETR b.txt").0, b"bee");
        assert_eq!(bench.control.take_text(), "");
    }
    bench.h.advance(Duration::from_secs(32));
    assert!(bench.control.take_text().starts_with("421 Another "));
    assert!(bench.control.is_gone());
}

#[test]
fn a_server_that_goes_down_lets_a_transfer_end() {
    let mut idle = Bench::logged_in();
    idle.h.handle().shutdown(Duration::from_secs(60));
    idle.h.run();
    assert!(idle.control.take_text().starts_with("421 "));

    let mut bench = Bench::logged_in();
    let data = bench.data();
    assert!(bench.say("STOR new").starts_with("125 "));
    bench.h.handle().shutdown(Duration::from_secs(60));
    bench.h.run();
    assert_eq!(bench.control.take_text(), "");
    data.send("content");
    data.close_write();
    bench.h.run();
    let said = bench.control.take_text();
    assert!(said.starts_with("226 ") && said.contains("\r\n221 "), "{said}");
    assert_eq!(bench.content("/new").as_deref(), Some(&b"content"[..]));
}
