//! Quotas: what is past them is refused with 552, and leaves nothing.

use medusa_core::inspect::{Outcome, Value};
use medusa_core::limits::COLLECTOR_BUFFER_BYTES;
use medusa_fs::Quota;

use super::*;
use crate::User;

/// Somebody may store so many bytes, and 8 entries; the tree has 14 bytes in 4 of them.
fn bench(bytes: u64) -> Bench {
    let (mut h, tree, told) = (Harness::new(), tree(), Told::default());
    let inside = Arc::new(tree.clone());
    let user = User::new("ann", inside, Persona::Process, Permissions::ALL);
    let user = user.with_quota(Quota { bytes: Some(bytes), files: Some(8) });
    let settings = FtpSettings::default();
    let events: Vec<Rc<dyn Events>> = vec![Rc::new(told.clone())];
    let service = FtpService::new(settings, vec![Rc::new(Anonymous::new(user))], events);
    h.handle().mount("ftp", service.inspect());
    let control = h.accept(&service);
    let mut bench = Bench { h, service, control, tree, told, passwords: None };
    bench.log_in();
    assert_eq!(bench.code("TYPE I"), 200);
    bench
}

#[test]
fn an_upload_past_the_quota_leaves_nothing() {
    let mut bench = bench(1000);
    assert_eq!(bench.say("SITE QUOTA"), "200 You use 14 of 1000 bytes and 4 of 8 files.\r\n");
    let said = bench.put("STOR big", &[7; 987]);
    assert!(said.contains("552 ") && !said.contains("226 "), "{said}");
    assert_eq!(bench.content("/big"), None);
    assert!(bench.told().contains(&"Received /big 987 incomplete".to_owned()));
    assert!(bench.put("STOR big", &[7; 986]).contains("226 "));
    assert!(bench.say("STAT").contains("You use 1000 of 1000 bytes and 5 of 8 files."));
    // Before anything is sent.
    assert_eq!(bench.put("STOR more", b"x").get(..3), Some("552"));
    assert!(bench.put("APPE a.txt", b"x").starts_with("552 "));
    assert_eq!(bench.content("/a.txt").map(|c| c.len()), Some(8));
    assert_eq!(bench.code("DELE a.txt"), 250);
    assert!(bench.put("APPE big", b"12345678").contains("226 "));
    assert_eq!(bench.code("DELE big"), 250);
    assert_eq!(bench.say("SITE QUOTA"), "200 You use 6 of 1000 bytes and 3 of 8 files.\r\n");
    for n in 0..5 {
        assert_eq!(bench.code(&format!("MKD n{n}")), 257);
    }
    assert_eq!(bench.code("MKD n5"), 552);
    assert!(bench.put("STOR more", b"x").starts_with("552 "));
    let Outcome::Node(node) = bench.h.inspect("ftp/users/ann") else { panic!("she is here") };
    assert_eq!(node.value("used bytes"), Some(&Value::Bytes(6)));
    assert_eq!(node.value("quota of files"), Some(&Value::Count(8)));
}

/// What one session stores counts for all sessions of the user at once.
#[test]
fn sessions_of_a_user_share_a_quota() {
    let mut bench = bench(300_000);
    let other = bench.h.accept(&bench.service);
    other.send("USER ftp\r\nPASS x\r\nTYPE I\r\nSITE QUOTA\r\n");
    bench.h.run();
    assert!(other.take_text().contains("You use 14 of 300000 bytes"));
    let data = bench.data();
    bench.say("STOR half");
    data.send(vec![1; COLLECTOR_BUFFER_BYTES]);
    bench.h.run();
    other.send("SITE QUOTA\r\n");
    bench.h.run();
    // Also before it is whole; what has come last is not written yet.
    let written = format!("You use {} of 300000 bytes", 14 + COLLECTOR_BUFFER_BYTES);
    assert!(other.take_text().contains(&written));
    data.reset();
    bench.h.run();
    other.send("SITE QUOTA\r\n");
    bench.h.run();
    assert!(other.take_text().contains("You use 14 of 300000 bytes"));
}

/// Nobody waits for ever to be counted: a client that goes, or a job that is lost, changes nothing.
#[test]
fn who_cannot_be_counted_comes_in_nevertheless() {
    let mut bench = bench(1000);
    bench.h.hold_jobs();
    let other = bench.h.accept(&bench.service);
    other.send("USER ftp\r\nPASS x\r\n");
    bench.h.run();
    assert!(!other.take_text().contains("230 "), "it is being counted");
    bench.h.lose_job(0, medusa_core::handle::JobLost::QueueFull);
    bench.h.run();
    assert!(other.take_text().contains("230 "));
    let gone = bench.h.accept(&bench.service);
    gone.send("USER ftp\r\nPASS x\r\n");
    bench.h.run();
    gone.reset();
    bench.h.run();
    bench.h.run_jobs();
    bench.h.run();
    assert!(gone.is_gone());
}
