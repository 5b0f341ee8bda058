//! Changes that are tried.

use super::*;
use crate::wire::NoticeKind;

#[test]
fn a_change_that_nobody_confirms_is_undone() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let code = "try(30, function() act('knob', 'set', 1) act('knob', 'set', 2) end)";
    let said = c.text(&mut bench.h, code);
    assert_eq!(said, "2 changes made; undone in 30 s unless you confirm()");
    assert_eq!(c.values(&mut bench.h, "look('sessions/1')['to confirm']"), "[2]");
    bench.h.advance(Duration::from_secs(29));
    assert_eq!(*bench.knob.borrow(), 2);
    bench.h.advance(Duration::from_secs(2));
    assert_eq!(*bench.knob.borrow(), 0);
    let FromServer::Notice(notice) = c.hear(&mut bench.h) else { panic!("no notice") };
    assert_eq!(
        (notice.kind, &*notice.text),
        (NoticeKind::Undone, "nobody confirmed in time: 2 changes undone")
    );
    assert_eq!(c.failure(&mut bench.h, "confirm()").message, "there is nothing to be confirmed");
}

#[test]
fn a_change_that_is_confirmed_stays_and_one_that_is_undone_does_not() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    c.text(&mut bench.h, "try(30, act, 'knob', 'set', 1)");
    assert_eq!(c.text(&mut bench.h, "confirm()"), "1 change kept");
    bench.h.advance(Duration::from_secs(60));
    assert_eq!(*bench.knob.borrow(), 1);
    c.text(&mut bench.h, "try(30, act, 'knob', 'set', 5)");
    assert!(
        c.failure(&mut bench.h, "try(30, act, 'knob', 'set', 6)")
            .message
            .contains("confirm() or undo() first")
    );
    assert_eq!(c.text(&mut bench.h, "undo()"), "1 change undone");
    assert_eq!(*bench.knob.borrow(), 1);
    assert_eq!(c.text(&mut bench.h, "try(30, function() end)"), "nothing was changed");
    assert_eq!(bench.h.next_due(), None);
    // Another operator may decide too.
    c.text(&mut bench.h, "try(30, act, 'knob', 'set', 7)");
    let mut other = bench.login("ops");
    assert_eq!(other.text(&mut bench.h, "act('sessions/1', 'confirm')"), "1 change kept");
    assert_eq!(*bench.knob.borrow(), 7);
}

#[test]
fn what_fails_on_the_way_is_undone_at_once() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    for end in
        ["error('oh')", "while true do end", "act('knob', 'burn')", "try(1, print)", "undo()"]
    {
        let code = format!("try(30, function() act('knob', 'set', 1) {end} end)");
        let failed = c.failure(&mut bench.h, &code);
        assert!(failed.message.ends_with("what it had tried: 1 change undone"), "{failed:?}");
        assert_eq!(*bench.knob.borrow(), 0, "{end}");
    }
    let failed = c.failure(&mut bench.h, "try(30, act, 'knob', 'burn')");
    assert!(failed.message.contains("cannot be undone, so it cannot be tried"), "{failed:?}");
    // An error that is caught leaves nothing behind either.
    c.run(&mut bench.h, "pcall(try, 30, function() act('knob', 'set', 3) error() end)")
        .1
        .expect("caught");
    assert_eq!(*bench.knob.borrow(), 0);
    let id = c.begin("try(30, function() act('knob', 'set', 1) sleep(1000) end)");
    bench.h.run();
    assert_eq!(*bench.knob.borrow(), 1);
    c.say(&FromClient::Cancel(Cancel { id: 99, run: id }));
    c.all(&mut bench.h);
    assert_eq!(*bench.knob.borrow(), 0);
    for wrong in ["try()", "try(0, print)", "try('x', print)", "try(1)"] {
        assert!(c.failure(&mut bench.h, wrong).message.contains("bad argument"), "{wrong}");
    }
}

#[test]
fn a_trial_outlasts_a_broken_connection_and_is_undone_in_its_time() {
    let mut bench = Bench::new();
    let mut c = bench.login("ann");
    c.text(&mut bench.h, "try(30, act, 'knob', 'set', 1)");
    c.peer.reset();
    bench.h.advance(Duration::from_secs(29));
    assert_eq!(*bench.knob.borrow(), 1);
    bench.h.advance(Duration::from_secs(2));
    assert_eq!(*bench.knob.borrow(), 0);
    // A session that is ended has no time to wait for.
    let mut c = bench.login("ann");
    c.text(&mut bench.h, "try(3000, act, 'knob', 'set', 1)");
    c.peer.reset();
    bench.h.advance(crate::limits::RESUME_WITHIN + Duration::from_secs(1));
    assert_eq!(*bench.knob.borrow(), 0);
}
