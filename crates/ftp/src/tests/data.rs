//! Data connections: what goes over them, who may have one, and how they end.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use medusa_core::Peer as From;
use medusa_core::testing::How;

use super::*;
use crate::limits::{PASSIVE_PORTS, PASSIVE_TRIES};
use crate::{Announced, Announcement, Authorizer};

#[test]
fn files_come_in_both_types_and_from_any_position() {
    let mut bench = Bench::logged_in();
    assert_eq!(bench.fetch("RETR a.txt").0, b"one\r\ntwo\r\n");
    bench.say("REST 4");
    assert_eq!(bench.fetch("RETR a.txt").0, b"\ntwo\r\n", "counted as it is sent");
    bench.say("TYPE I");
    let (content, said) = bench.fetch("RETR a.txt");
    assert_eq!(content, b"one\ntwo\n");
    assert_eq!(said, "125 Here it comes (8 bytes).\r\n226 All was transferred.\r\n");
    bench.say("REST 4");
    assert_eq!(bench.fetch("RETR a.txt").0, b"two\n");
    assert_eq!(bench.fetch("RETR a.txt").0, b"one\ntwo\n", "a position is for one transfer");
    let transfers = bench.told();
    assert_eq!(transfers[1..3], ["Sent /a.txt 10 complete", "Sent /a.txt 6 complete"]);
    for (name, code) in [("none", "550 "), ("d", "550 ")] {
        let (content, said) = bench.fetch(&format!("RETR {name}"));
        assert!(content.is_empty() && said.starts_with(code), "{said}");
    }
    assert!(bench.say("RETR a.txt").starts_with("125 "), "the port of the failed one is there yet");
    bench.say("ABOR");
    assert_eq!(bench.code("RETR a.txt"), 425, "nobody said where to");
}

#[test]
fn uploads_take_their_names_when_they_are_complete() {
    let mut bench = Bench::logged_in();
    bench.say("TYPE I");
    let data = bench.data();
    assert_eq!(bench.code("STOR a.txt"), 125);
    data.send("hal");
    bench.h.run();
    assert_eq!(bench.content("/a.txt").as_deref(), Some(&b"one\ntwo\n"[..]), "the old one");
    data.send("ves");
    data.close_write();
    bench.h.run();
    assert_eq!(bench.control.take_text(), "226 All was transferred.\r\n");
    assert_eq!(bench.content("/a.txt").as_deref(), Some(&b"halves"[..]));
    assert!(bench.put("APPE a.txt", b" and more").contains("226 "));
    bench.say("REST 1");
    assert!(bench.put("STOR a.txt", b"I").contains("226 "));
    assert_eq!(bench.content("/a.txt").as_deref(), Some(&b"hIlves and more"[..]));
    bench.say("TYPE A");
    assert!(bench.put("STOR t", b"a\r\nb\rc\r\n").contains("226 "));
    assert_eq!(bench.content("/t").as_deref(), Some(&b"a\nb\rc\n"[..]));
    bench.say("REST 1");
    assert_eq!(bench.code("STOR t"), 504);
    let said = bench.put("STOU", b"unique");
    let name =
        said.strip_prefix("125 FILE: ").and_then(|rest| rest.lines().next()).expect("a name");
    assert_eq!(bench.content(&format!("/{name}")).as_deref(), Some(&b"unique"[..]));
    assert!(bench.put("STOR d", b"x").starts_with("550 "), "a directory");
    assert!(bench.put("STOR none/x", b"x").starts_with("550 "));
}

/// An upload that broke off left half a file under its name, and was told to be complete.
#[test]
fn an_upload_that_breaks_leaves_nothing_and_says_so() {
    for how in ["reset", "ABOR", "stall", "quit"] {
        let mut bench = Bench::logged_in();
        let data = bench.data();
        assert_eq!(bench.code("STOR new"), 125);
        data.send("half");
        bench.h.run();
        match how {
            "reset" => data.reset(),
            "ABOR" => bench.control.send("ABOR\r\n"),
            "stall" => bench.h.advance(Duration::from_secs(120)),
            _ => bench.control.close(),
        }
        bench.h.run();
        let said = bench.control.take_text();
        match how {
            "ABOR" => assert!(said.starts_with("426 ") && said.contains("\r\n226 "), "{said}"),
            "quit" => assert!(bench.control.is_gone() && data.is_gone()),
            _ => assert!(said.starts_with("426 "), "{how}: {said}"),
        }
        assert_eq!(bench.content("/new"), None, "{how}");
        let told = bench.told();
        assert!(told.contains(&"Received /new 4 incomplete".to_owned()), "{how}: {told:?}");
    }
}

/// The log said of downloads that were broken off that nothing had been sent.
#[test]
fn what_was_sent_before_the_end_is_told() {
    for how in ["ABOR", "quit"] {
        let mut bench = Bench::logged_in();
        bench.say("TYPE I");
        let data = bench.data();
        data.set_write_room(3);
        bench.say("RETR a.txt");
        match how {
            "ABOR" => assert!(bench.say("ABOR").starts_with("426 ")),
            _ => bench.control.close(),
        }
        bench.h.run();
        let told = bench.told();
        let sent: Vec<_> = told.iter().filter(|line| line.starts_with("Sent ")).collect();
        assert_eq!(sent, ["Sent /a.txt 3 incomplete"], "{how}");
    }
}

/// An upload was told to be broken off while it took its name.
#[test]
fn what_has_come_wholly_is_not_broken_off() {
    for how in ["ABOR", "quit"] {
        let mut bench = Bench::logged_in();
        bench.say("TYPE I");
        let data = bench.data();
        bench.say("STOR new");
        bench.h.hold_jobs();
        data.send("whole");
        data.close_write();
        bench.h.run();
        match how {
            "ABOR" => assert_eq!(bench.say("ABOR"), "", "it waits for the end"),
            _ => bench.control.close(),
        }
        bench.h.run();
        while bench.h.jobs() > 0 {
            bench.h.run_job(0);
            bench.h.run();
        }
        if how == "ABOR" {
            let said = bench.control.take_text();
            assert_eq!(said, "226 All was transferred.\r\n226 There was nothing to break off.\r\n");
        }
        assert_eq!(bench.content("/new").as_deref(), Some(&b"whole"[..]), "{how}");
        let told = bench.told();
        assert!(told.contains(&"Received /new 5 complete".to_owned()), "{how}: {told:?}");
    }
}

/// A transfer whose client left as soon as it had all was told to be incomplete.
#[test]
fn what_is_told_of_whoever_leaves_at_the_end_is_what_they_got() {
    for first in ["data", "control"] {
        let mut bench = Bench::logged_in();
        bench.say("TYPE I");
        let data = bench.data();
        data.set_write_room(3);
        bench.say("RETR a.txt");
        if first == "control" {
            bench.control.close();
        }
        data.grant_all();
        bench.control.close();
        bench.h.run();
        let got = data.take().len();
        let how = if got == 8 { "complete" } else { "incomplete" };
        let told = bench.told();
        assert!(told.contains(&format!("Sent /a.txt {got} {how}")), "{first}: {told:?}");
    }
}

/// A disk that was full was told to have taken the file.
#[test]
fn a_full_disk_is_told() {
    let mut bench = Bench::logged_in();
    bench.say("TYPE I");
    let said = bench.put("STOR big", &vec![7; 2 << 20]);
    assert!(said.contains("452 ") && !said.contains("226 "), "{said}");
    assert_eq!(bench.content("/big"), None);
    assert_eq!(bench.code("NOOP"), 200);
}

/// 226 was sent while data was still on its way.
#[test]
fn a_transfer_is_complete_when_all_has_left() {
    let mut bench = Bench::logged_in();
    bench.say("TYPE I");
    let data = bench.data();
    data.set_write_room(3);
    assert!(!bench.say("RETR a.txt").contains("226 "));
    data.grant(4);
    bench.h.run();
    assert_eq!(bench.control.take_text(), "");
    data.grant(1);
    bench.h.run();
    assert!(bench.control.take_text().starts_with("226 "));

    let data = bench.data();
    data.set_write_room(3);
    bench.say("RETR a.txt");
    data.reset();
    bench.h.run();
    assert!(bench.control.take_text().starts_with("426 "));
    let told = bench.told();
    assert_eq!(told.last().map(String::as_str), Some("Sent /a.txt 3 incomplete"));
}

#[test]
fn a_transfer_that_nobody_takes_is_broken_off() {
    let mut bench = Bench::logged_in();
    let data = bench.data();
    data.set_write_room(1);
    bench.say("RETR a.txt");
    bench.h.advance(Duration::from_secs(61));
    assert!(bench.control.take_text().starts_with("426 "));
    assert_eq!(data.closed(), Some(How::Reset));
}

#[test]
fn beside_a_transfer_only_abor_and_stat_are_answered() {
    let mut bench = Bench::logged_in();
    let data = bench.data();
    bench.say("STOR new");
    let status = bench.say("STAT");
    assert!(status.contains("/new is on its way"), "{status}");
    assert_eq!(bench.say("SIZE new"), "");
    assert_eq!(bench.say("PWD"), "", "input rests");
    data.send("x");
    data.close_write();
    bench.h.run();
    let said = bench.control.take_text();
    let codes: Vec<_> = said.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["226", "213", "257"], "in their order");
}

/// A client connected and the first connection that came was taken for its.
#[test]
fn a_stranger_gets_no_data_and_does_not_take_the_clients_place() {
    let mut bench = Bench::logged_in();
    let address = bench.port();
    let stranger = From::V4([203, 0, 113, 7].into(), 50_000);
    assert!(bench.h.connect_from(stranger, &address).is_none());
    assert!(bench.say("RETR a.txt").starts_with("150 "));
    assert!(bench.h.connect_from(stranger, &address).is_none());
    let data = bench.h.connect_to(&address).expect("it listens still");
    bench.h.run();
    assert_eq!(data.take(), b"one\r\ntwo\r\n");
    assert!(bench.control.take_text().starts_with("226 "));
    assert!(!bench.h.listening().contains(&address), "it was for one connection");
}

/// PORT with any address made the server connect wherever a client liked.
#[test]
fn data_goes_to_the_clients_own_address_only() {
    let mut bench = Bench::logged_in();
    for (command, code) in [
        ("PORT 198,51,100,2,200,1", 501),
        ("PORT 198,51,100,1,3,255", 501),
        ("PORT 198,51,100,1,0,25", 501),
        ("PORT 127,0,0,1,200,1", 501),
        ("PORT nonsense", 501),
        ("EPRT |1|198.51.100.2|51201|", 501),
        ("EPRT |1|198.51.100.1|25|", 501),
        ("EPRT |2|::1|51201|", 501),
        ("EPRT |3|x|51201|", 522),
    ] {
        assert_eq!(bench.code(command), code, "{command}");
        assert_eq!(bench.code("RETR a.txt"), 425, "{command}");
    }
    assert!(bench.h.connects().is_empty());
    for command in ["PORT 198,51,100,1,200,1", "EPRT |2|::ffff:198.51.100.1|51201|"] {
        assert_eq!(bench.code(command), 200);
        assert!(bench.say("RETR a.txt").starts_with("150 "));
        let outgoing = bench.h.take_connect().expect("it connects");
        assert_eq!(outgoing.address().to_string(), "198.51.100.1:51201");
        let data = outgoing.accept(&mut bench.h);
        bench.h.run();
        assert_eq!(data.take(), b"one\r\ntwo\r\n");
        assert!(bench.control.take_text().starts_with("226 "));
    }
    bench.say("PORT 198,51,100,1,200,1");
    bench.say("STOR new");
    let outgoing = bench.h.take_connect().expect("it connects");
    outgoing.refuse(&mut bench.h, std::io::ErrorKind::ConnectionRefused);
    bench.h.run();
    assert!(bench.control.take_text().starts_with("425 "));
    assert_eq!(bench.code("NOOP"), 200);
}

#[test]
fn active_mode_can_be_off() {
    let mut bench = Bench::with(FtpSettings { active: false, ..FtpSettings::default() });
    bench.log_in();
    assert_eq!(bench.code("PORT 198,51,100,1,200,1"), 502);
    assert_eq!(bench.code("EPRT |1|198.51.100.1|51201|"), 502);
}

/// EPSV ALL was forgotten by the next command.
#[test]
fn epsv_all_is_kept_for_the_session() {
    let mut bench = Bench::logged_in();
    assert_eq!(bench.code("EPSV ALL"), 200);
    for command in ["PASV", "PORT 198,51,100,1,200,1", "EPRT |1|198.51.100.1|51201|"] {
        assert_eq!(bench.code(command), 501, "{command}");
    }
    assert_eq!(bench.fetch("RETR a.txt").0, b"one\r\ntwo\r\n");
    assert_eq!(bench.code("EPSV 2"), 522);
    assert_eq!(bench.code("EPSV x"), 501);
    assert_eq!(bench.code("PASV"), 501);
}

#[test]
fn a_data_connection_that_does_not_come_is_waited_for_so_long() {
    let mut bench = Bench::logged_in();
    let address = bench.port();
    assert!(bench.say("STOR new").starts_with("150 "));
    bench.h.advance(Duration::from_secs(31));
    assert!(bench.control.take_text().starts_with("425 "));
    assert!(!bench.h.listening().contains(&address));
    assert_eq!(bench.code("NOOP"), 200);
    let data = bench.data();
    data.close();
    bench.h.run();
    assert!(bench.say("STOR new").contains("425 ") || bench.content("/new").is_some());
}

fn announcement(to: &str, address: Announced) -> Announcement {
    Announcement { to: to.parse().expect("a network"), address }
}

/// A name that could not be looked up for a moment left passive mode without an address.
#[test]
fn an_address_is_announced_by_name_and_the_last_one_is_kept() {
    let known: Arc<Mutex<Option<IpAddr>>> = Arc::default();
    let (asked, count) = (known.clone(), Arc::new(AtomicUsize::new(0)));
    let times = count.clone();
    let resolve = move |name: &str| {
        assert_eq!(name, "ftp.example.org");
        count.fetch_add(1, Ordering::Relaxed);
        let found = *asked.lock().expect("nobody panics");
        Ok(vec![IpAddr::V6(Ipv6Addr::LOCALHOST), found.ok_or(std::io::ErrorKind::NotFound)?])
    };
    let name = Announced::Name("ftp.example.org".to_owned());
    let settings = FtpSettings {
        passive_ports: Some(61_000..=61_000),
        announce: vec![announcement("198.51.100.0/24", name)],
        ..FtpSettings::default()
    };
    let mut bench = Bench::new();
    let anonymous =
        Anonymous::with(Arc::new(bench.tree.clone()), Persona::Process, Permissions::ALL);
    let users: Vec<Rc<dyn Authorizer>> = vec![Rc::new(anonymous)];
    bench.service =
        FtpService::resolving(settings.clone(), users.clone(), Vec::new(), Arc::new(resolve));
    bench.control = bench.h.accept(&bench.service);
    bench.log_in();
    let passive = |bench: &mut Bench| {
        let said = bench.say("PASV");
        said.split(['(', ')']).nth(1).map_or(said.clone(), str::to_owned)
    };
    let address = |text: &str| Some(text.parse().expect("an address"));
    assert!(passive(&mut bench).starts_with("425 "));
    *known.lock().expect("nobody panics") = address("192.0.2.1");
    assert!(passive(&mut bench).starts_with("425 "), "it was asked for a moment ago");
    bench.h.advance(Duration::from_secs(11));
    assert_eq!(passive(&mut bench), "192,0,2,1,238,72");
    *known.lock().expect("nobody panics") = address("192.0.2.2");
    assert_eq!(passive(&mut bench), "192,0,2,1,238,72");
    bench.h.advance(Duration::from_secs(200));
    bench.say("NOOP");
    bench.h.advance(Duration::from_secs(101));
    assert_eq!(passive(&mut bench), "192,0,2,1,238,72", "nobody waits for the new one");
    assert_eq!(passive(&mut bench), "192,0,2,2,238,72");
    *known.lock().expect("nobody panics") = None;
    bench.h.advance(Duration::from_secs(200));
    bench.say("NOOP");
    bench.h.advance(Duration::from_secs(101));
    for _ in 0..2 {
        assert_eq!(passive(&mut bench), "192,0,2,2,238,72");
    }
    assert_eq!(times.load(Ordering::Relaxed), 4);
    bench.service.replace(settings, users, Vec::new());
    assert_eq!(passive(&mut bench), "192,0,2,2,238,72", "it is known yet");
}

#[test]
fn passive_ports_come_from_the_range_and_an_address_is_announced() {
    let mut bench = Bench::with(FtpSettings {
        passive_ports: Some(61_000..=61_001),
        announce: vec![
            announcement("203.0.113.0/24", Announced::Address([192, 0, 2, 1].into())),
            announcement("198.51.100.0/24", Announced::Address([192, 0, 2, 2].into())),
        ],
        ..FtpSettings::default()
    });
    bench.log_in();
    for _ in 0..20 {
        let said = bench.say("PASV");
        assert!(said.starts_with("227 Entering Passive Mode (192,0,2,2,238,7"), "{said}");
    }
    assert_eq!(bench.h.listening().len(), 1, "each closes the one before");
    let mut others: Vec<_> = Vec::new();
    for expected in ["229", "425"] {
        let control = bench.h.accept(&bench.service);
        control.send("USER ftp\r\nPASS x\r\nEPSV\r\n");
        bench.h.run();
        let said = control.take_text();
        assert_eq!(said.lines().last().map(|line| &line[..3]), Some(expected), "{said}");
        others.push(control);
    }
    others[0].close();
    bench.h.run();
    others[1].send("EPSV\r\n");
    bench.h.run();
    assert!(others[1].take_text().starts_with("229 "), "a port is free again");
}

#[test]
fn a_port_that_another_program_has_is_passed_over() {
    let mut bench =
        Bench::with(FtpSettings { passive_ports: Some(61_000..=61_009), ..FtpSettings::default() });
    bench.log_in();
    for _ in 0..9 {
        bench.h.fail_bind(std::io::ErrorKind::AddrInUse);
    }
    assert_eq!(bench.code("EPSV"), 229);
    for _ in 0..12 {
        bench.h.fail_bind(std::io::ErrorKind::AddrInUse);
    }
    assert_eq!(bench.code("EPSV"), 425);
}

#[test]
fn without_a_range_the_system_chooses_only_when_the_default_one_is_taken() {
    let mut bench = Bench::logged_in();
    let port = |bench: &mut Bench| -> u16 {
        let said = bench.say("EPSV");
        said.split('|')
            .nth(3)
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("{said}"))
    };
    let first = port(&mut bench);
    assert!(PASSIVE_PORTS.contains(&first), "{first}");
    assert!((0..20).any(|_| port(&mut bench) != first), "nobody knows which comes next");
    for _ in 0..PASSIVE_TRIES {
        bench.h.fail_bind(std::io::ErrorKind::AddrInUse);
    }
    let chosen = port(&mut bench);
    assert!(!PASSIVE_PORTS.contains(&chosen), "{chosen}");
}

#[test]
fn listings_in_their_forms() {
    let mut bench = Bench::logged_in();
    let lines = |(bytes, said): (Vec<u8>, String)| {
        assert!(said.contains("226 "), "{said}");
        let text = String::from_utf8(bytes).expect("text");
        let mut lines: Vec<_> = text.split_terminator("\r\n").map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let names = lines(bench.fetch("NLST -la d"));
    assert_eq!(names, ["d/b.txt", "d/c.bin"], "what RETR can be told");
    assert_eq!(lines(bench.fetch("NLST d/*.t?t")), ["d/b.txt"]);
    assert_eq!(lines(bench.fetch("NLST ./d/b.txt")), ["./d/b.txt"]);
    for here in ["NLST", "NLST -l", "NLST .", "NLST *"] {
        assert_eq!(lines(bench.fetch(here)), ["a.txt", "d"], "{here}");
    }
    assert_eq!(lines(bench.fetch("NLST /")), ["/a.txt", "/d"]);
    assert_eq!(lines(bench.fetch("NLST *.none")), Vec::<String>::new());
    assert_eq!(lines(bench.fetch("NLST a.txt")), ["a.txt"]);
    let long = lines(bench.fetch("LIST"));
    assert!(long[0].starts_with("-rw-rw-rw-    1 ") && long[0].ends_with(" 8 Sep  9  2001 a.txt"));
    assert!(long[1].starts_with("drwxrwxrwx"), "{long:?}");
    assert_eq!(lines(bench.fetch("LIST a.txt")).len(), 1);
    let facts = lines(bench.fetch("MLSD d"));
    assert!(facts[0].starts_with("type=file;size=3;modify=20010909014640;perm=adfrw;"));
    for (command, code) in [("MLSD a.txt", "550"), ("LIST none", "550"), ("NLST none", "550")] {
        let (bytes, said) = bench.fetch(command);
        assert!(bytes.is_empty() && said.starts_with(code), "{command}: {said}");
    }
    let status = bench.say("STAT d");
    assert_eq!(status.lines().count(), 4, "{status}");
    assert!(bench.say("STAT none").starts_with("550 "));
}

#[test]
fn a_large_listing_is_made_as_it_is_taken() {
    let mut bench = Bench::logged_in();
    for n in 0..3000 {
        bench.tree.insert(&path(&format!("/many/file-{n}")), "").expect("there is room");
    }
    let data = bench.data();
    data.set_write_room(1000);
    bench.say("MLSD many");
    bench.h.hold_jobs();
    data.grant_all();
    bench.h.run();
    assert!(bench.h.jobs() <= 1, "one step ahead and no more");
    while bench.h.jobs() > 0 {
        bench.h.run_jobs();
        bench.h.run();
    }
    let text = String::from_utf8(data.take()).expect("text");
    assert_eq!(text.lines().count(), 3000);
    assert!(bench.control.take_text().contains("226 "));
}
