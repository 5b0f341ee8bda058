//! Timers and events, and scripts that are replaced as a whole.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use medusa_core::inspect::{Inspect, Outcome, Value as Field};
use medusa_core::testing::Harness;
use medusa_script::{Budget, Value};

use super::{MEMORY, plan};
use crate::desk::DUTIES;
use crate::inspect::Shown;
use crate::scripts::{Loaded, NotLoaded, Scripts};
use crate::{Returns, ScriptPlan, ScriptsOptions};

struct Server {
    h: Harness,
    scripts: Rc<Scripts>,
}

impl Server {
    fn new() -> Self {
        let h = Harness::new();
        let scripts = Scripts::new(&h.handle(), ScriptsOptions { memory: MEMORY, store: None });
        h.handle().mount("scripts", Rc::new(Shown(scripts.clone())));
        Self { h, scripts }
    }

    fn load(&mut self, sources: &[&str]) -> Result<Loaded, NotLoaded> {
        let plans = sources.iter().enumerate().map(|(at, source)| named(&at.to_string(), source));
        let loaded = Rc::new(RefCell::new(None));
        let to = loaded.clone();
        self.scripts.load(plans.collect(), true, move |result| drop(to.replace(Some(result))));
        loaded.take().expect("nothing waits")
    }

    fn replace(&mut self, sources: &[&str]) {
        let loaded = self.load(sources).expect("they are good");
        self.scripts.replace(&loaded);
        self.h.run();
    }

    /// What the shared table has under this name.
    fn shared(&mut self, name: &str) -> Value {
        self.scripts.shared(name)
    }

    fn field(&self, script: &str, name: &str) -> Field {
        let script = Shown(self.scripts.clone()).child(script).expect("it is there");
        script.node().value(name).expect("it is shown").clone()
    }
}

fn named(name: &str, source: &str) -> ScriptPlan {
    plan(name, source, Returns::Anything, Budget::HANDLER)
}

#[test]
fn timers_call_again_and_again_once_or_daily() {
    let mut server = Server::new();
    server.replace(&["timers.every(2, function() shared.add('every') end)
        timers.after(3, function() shared.add('after') end)
        local mine mine = timers.every(1, function() if shared.add('until') == 2 then
            shared.cancelled = timers.cancel(mine) end end)
        timers.at('00:00', function() shared.add('daily') end)"]);
    server.h.advance(Duration::from_secs(11));
    for (name, count) in [("every", 5), ("after", 1), ("until", 2)] {
        assert_eq!(server.shared(name), Value::Integer(count), "{name}");
    }
    assert_eq!(server.shared("cancelled"), Value::Boolean(true));
    server.h.advance(Duration::from_secs(2 * 24 * 3600));
    let Value::Integer(2..=3) = server.shared("daily") else { panic!("once a day") };
}

#[test]
fn a_timer_whose_last_call_has_not_ended_is_passed_over() {
    let mut server = Server::new();
    server.replace(&["timers.every(1, function() shared.add('begun') sleep(2.5) end)"]);
    server.h.advance(Duration::from_millis(6500));
    assert_eq!(server.shared("begun"), Value::Integer(2));
}

#[test]
fn a_timer_that_fails_goes_on_and_is_counted() {
    let mut server = Server::new();
    server.replace(&["timers.every(1, function() error('bad timer') end)"]);
    server.h.advance(Duration::from_millis(3500));
    assert_eq!(server.field("0", "calls"), Field::Count(3));
    assert_eq!(server.field("0", "errors"), Field::Count(3));
    let Field::Text(error) = server.field("0", "last error") else { panic!() };
    assert!(error.contains("test.lua:1: bad timer"), "{error}");
}

#[test]
fn events_are_heard_by_all_who_listen() {
    let mut server = Server::new();
    let hears = "events.on('ftp.login', function(about) shared.who = about.user sleep(1) \
                 shared.add('heard') end)";
    server.replace(&[hears, &format!("-- another\n{hears}")]);
    let about = || Value::Map(vec![("user".into(), "anna".into())]);
    server.scripts.emit("ftp.login", about);
    server.scripts.emit("ftp.logout", about);
    server.h.advance(Duration::from_secs(2));
    assert_eq!(server.shared("who"), "anna".into());
    assert_eq!(server.shared("heard"), Value::Integer(2));
}

#[test]
fn what_a_script_may_ask_for_has_a_limit() {
    let mut server = Server::new();
    let source = format!("for i = 1, {DUTIES} + 1 do timers.every(1, function() end) end");
    let error = server.load(&[&source]).err().expect("it is too much").error.to_string();
    assert!(error.contains("at most 100 timers and events"), "{error}");
    for wrong in [
        "timers.every(0, print)",
        "timers.every(1)",
        "timers.after(-1, print)",
        "timers.after(0/0, print)",
        "timers.at('25:00', print)",
        "events.on('x', 'y')",
        "timers.every(1e300, print)",
    ] {
        server.load(&[wrong]).err().expect(wrong);
    }
}

#[test]
fn scripts_are_replaced_as_a_whole() {
    let mut server = Server::new();
    let counts = "timers.every(1, function() shared.add('a') end)";
    server.replace(&[counts, "timers.every(1, function() shared.add('b') end)"]);
    server.h.advance(Duration::from_millis(1500));
    // One that fails takes the others with it, and nothing has changed.
    let new = "timers.every(1, function() shared.add('c') end)";
    let failed = server.load(&[counts, new, "error('no')"]).err().expect("one is bad");
    assert_eq!(failed.place, 2);
    server.h.advance(Duration::from_secs(1));
    assert_eq!((server.shared("a"), server.shared("b")), (2i64.into(), 2i64.into()));
    assert_eq!(server.shared("c"), Value::Nil);
    let before = server.scripts.find("0").expect("it is there");
    server.replace(&[counts, new]);
    assert!(Rc::ptr_eq(&before, &server.scripts.find("0").expect("it is there")));
    server.h.advance(Duration::from_millis(1200));
    assert_eq!((server.shared("a"), server.shared("b")), (3i64.into(), 2i64.into()));
    assert_eq!(server.shared("c"), 1i64.into());
    server.replace(&[]);
    assert_eq!(server.h.next_due(), None, "nothing of them is left");
}

#[test]
fn a_dropped_script_does_nothing_more() {
    let mut server = Server::new();
    server.replace(&["timers.every(1, function() shared.add('n') sleep(10) shared.add('m') end)"]);
    server.h.advance(Duration::from_millis(1500));
    assert_eq!(server.field("0", "running"), Field::Count(1));
    server.scripts.find("0").expect("it is there").drop_all();
    server.h.advance(Duration::from_secs(60));
    assert_eq!((server.shared("n"), server.shared("m")), (1i64.into(), Value::Nil));
    assert_eq!(server.field("0", "running"), Field::Count(0));
}

/// What comes of an action on the part `scripts`: what is said, and whether it was done.
fn act(server: &mut Server, path: &str, action: &str, arguments: &[&str]) -> (bool, String) {
    match server.h.act(path, action, arguments) {
        Outcome::Done(done) => (true, done.said),
        Outcome::Refused(why) => (false, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scripts_are_defined_loaded_anew_and_dropped_by_hand() {
    let mut server = Server::new();
    server.replace(&["timers.every(1, function() shared.add('n') end)"]);
    let text = "timers.every(1, function() shared.add('mine') end)";
    let told = act(&mut server, "scripts", "define", &["mine", text]);
    assert_eq!(told, (true, "script mine is loaded".to_owned()));
    server.h.advance(Duration::from_millis(2500));
    assert_eq!(server.shared("mine"), Value::Integer(2));
    // A mistake leaves the old version, and says where it is.
    let (done, why) = act(&mut server, "scripts", "define", &["mine", "x = = 1"]);
    assert!(!done && why.contains("nothing has changed: mine:1: "), "{why}");
    server.h.advance(Duration::from_secs(1));
    assert_eq!(server.shared("mine"), Value::Integer(3));
    // What was loaded by hand outlasts a reload.
    server.replace(&[]);
    server.h.advance(Duration::from_secs(1));
    assert_eq!(server.shared("mine"), Value::Integer(4));
    let told = act(&mut server, "scripts", "drop", &["mine"]);
    assert_eq!(told, (true, "script mine has ended".to_owned()));
    server.h.advance(Duration::from_secs(5));
    assert_eq!(server.shared("mine"), Value::Integer(4));
    assert!(!act(&mut server, "scripts", "drop", &["mine"]).0);
    assert!(!act(&mut server, "scripts", "define", &["a/b", ""]).0);
}

#[test]
fn a_file_is_loaded_by_hand_and_read_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("mine.lua");
    let file = path.to_str().expect("a text");
    let mut server = Server::new();
    let (done, why) = act(&mut server, "scripts", "load", &["mine", file]);
    assert!(!done && why.contains("cannot read the file"), "{why}");
    for (version, source) in ["shared.v = 1", "shared.v = 2", "shared.v = 3 error('no')"]
        .into_iter()
        .zip(1..)
        .map(|(s, n)| (n, s))
    {
        std::fs::write(&path, source).expect("it is written");
        let (done, said) = match version {
            1 => act(&mut server, "scripts", "load", &["mine", file]),
            _ => act(&mut server, "scripts/mine", "reload", &[]),
        };
        assert_eq!(done, version < 3, "{said}");
        assert_eq!(server.shared("v"), Value::Integer(version));
    }
    assert_eq!(server.field("mine", "loads"), Field::Count(2));
    let (done, said) = act(&mut server, "scripts/mine", "cancel", &[]);
    assert!(done && said == "0 calls have ended", "{said}");
}

#[test]
fn scripts_by_hand_have_a_limit() {
    let mut server = Server::new();
    for n in 0..=crate::scripts::BY_HAND {
        let (done, said) = act(&mut server, "scripts", "define", &[&n.to_string(), ""]);
        assert_eq!(done, n < crate::scripts::BY_HAND, "{said}");
    }
}
