//! Statements, their results, and what belongs to them.

use medusa_core::testing::Script;

use super::*;
use crate::wire::{NoticeKind, Unit};

#[test]
fn expressions_and_chunks() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let h = &mut bench.h;
    assert_eq!(c.values(h, "1 + 1"), "[2]");
    assert_eq!(c.values(h, "= 6 * 7"), "[42]");
    assert_eq!(c.values(h, "x = 5"), "[]");
    assert_eq!(c.values(h, "x, nil, 'a', 1.5, true"), "[5,null,\"a\",1.5,true]");
    assert_eq!(c.values(h, "local t = {}\nfor i = 1, 3 do t[i] = i end\nreturn t"), "[[1,2,3]]");
    assert_eq!(c.values(h, "{b = 1, a = {true, {}}}"), r#"[{"a":[true,{}],"b":1}]"#);
    assert_eq!(
        c.values(h, "0/0, 1/0, json.null, print, '\\255'"),
        "[\"nan\",\"inf\",null,\"function\",\"\u{fffd}\"]"
    );
    assert_eq!(c.values(h, "json.array()"), "[[]]");
    assert_eq!(c.values(h, "-- nothing"), "[]");
    let (printed, result) = c.run(h, "print('a', 1) print() return 3");
    assert_eq!((&*printed, json(&result.expect("it ends").values)), ("a\t1\n\n", "[3]".to_owned()));
}

#[test]
fn an_incomplete_statement_says_so_and_a_wrong_one_where() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    for code in ["for i = 1, 3 do", "f(", "x =", "1 +", "[[text", "function f()", "if x then y()"] {
        let failed = c.failure(&mut bench.h, code);
        assert!(failed.incomplete, "{code}: {failed:?}");
    }
    for code in ["x = )", "'abc", "end", "for x do"] {
        let failed = c.failure(&mut bench.h, code);
        assert!(!failed.incomplete && failed.line == 1, "{code}: {failed:?}");
    }
    let failed = c.failure(&mut bench.h, "\n\nerror('no')");
    assert_eq!((failed.line, &*failed.message), (3, "no"));
    let failed = c.failure(&mut bench.h, "local function f() nothing.x = 1 end f()");
    assert!(failed.message.contains("global 'nothing'"), "{failed:?}");
    assert!(failed.traceback.contains("statement:1:"), "{failed:?}");
    assert!(!failed.traceback.contains("console:"), "{failed:?}");
    let failed = c.failure(&mut bench.h, "look('nowhere')");
    assert_eq!(failed.message, "there is no `nowhere`");
    assert!(bench.audited().iter().all(|line| !line.contains("for i = 1, 3 do")), "it did not run");
}

#[test]
fn the_tree_is_looked_at_listed_and_acted_upon() {
    let mut bench = Bench::new();
    let others: Vec<_> = (0..3).map(|_| bench.h.open(Box::new(Script::new()))).collect();
    let mut c = bench.local();
    let h = &mut bench.h;
    assert_eq!(c.values(h, "look('knob')"), r#"[{"value":0,"actions":["set N","burn","secret"]}]"#);
    let (_, root) = c.run(h, "look()");
    let root = root.expect("the root");
    let below = json(std::slice::from_ref(root.values[0].at("below").expect("parts")));
    assert!(below.contains("\"reactor\"") && below.contains("\"knob\""), "{below}");

    let (_, list) = c.run(h, "channels()");
    let list = list.expect("a list");
    assert!(json(&list.values).starts_with("[[{\"name\":\""), "{}", json(&list.values));
    assert_eq!(list.units.get("sent"), Some(&Unit::Bytes));
    assert_eq!(list.units.get("age"), Some(&Unit::Seconds));
    assert_eq!(c.values(h, "channels():count()"), "[4]");
    assert_eq!(c.values(h, "channels{peer='unix'}:count(), channels('unknown'):count()"), "[1,3]");
    let code = "local n = 0 for name, node in channels() do n = n + (node.state == 'open' and 1 or 0) end return n";
    assert_eq!(c.values(h, code), "[4]");
    assert_eq!(c.values(h, "channels(function(n) return n.sent < 0 end):all()"), "[{}]");

    let name = others[0].path().trim_start_matches("channels/").to_owned();
    assert_eq!(
        c.text(h, &format!("pause '{name}'")),
        format!("channel {name} takes no input until it is resumed")
    );
    assert_eq!(c.text(h, "close(channels{peer='unknown'})"), "close: 3 channels");
    assert!(others.iter().all(Peer::is_gone));
    let failed = c.failure(h, &format!("close '{name}'"));
    assert!(failed.message.contains("there is no channel"), "{failed:?}");
    assert!(c.failure(h, "close(4.1)").message.contains("in quotes"));

    assert_eq!(c.text(h, "act('knob', 'set', 7)"), "set");
    assert_eq!(c.failure(h, "act('knob', 'set', 'x')").message, "that is no number");
    assert!(c.failure(h, "act('knob', 'st', 'x')").message.contains("set N"));
    assert_eq!(*bench.knob.borrow(), 7);
    assert!(c.values(&mut bench.h, "tree()").contains("\"knob\":\"knob\""));
}

#[test]
fn roles_are_kept() {
    let mut bench = Bench::new();
    let mut eye = bench.login("eye");
    let mut ops = bench.login("ops");
    let mut ann = bench.login("ann");
    let h = &mut bench.h;
    assert_eq!(eye.values(h, "look('knob').value"), "[0]");
    let failed = eye.failure(h, "act('knob', 'set', 1)");
    assert!(failed.message.contains("for those who may `operate`"), "{failed:?}");
    assert_eq!(ops.text(h, "act('knob', 'set', 2)"), "set");
    assert!(ops.failure(h, "act('knob', 'secret')").message.contains("`all`"));
    assert!(
        ops.failure(h, "pcall(act, 'knob', 'secret') act('sessions/1', 'close')")
            .message
            .contains("`all`")
    );
    assert_eq!(*bench.knob.borrow(), 2);
    assert_eq!(ann.text(&mut bench.h, "act('knob', 'secret')"), "burnt");
}

#[test]
fn every_statement_leaves_a_line() {
    let mut bench = Bench::new();
    let mut ops = bench.login("ops");
    ops.run(&mut bench.h, "act('knob', 'set', 2) print('x')").1.expect("it is done");
    ops.failure(&mut bench.h, "error('no')");
    assert_eq!(
        bench.audited(),
        [
            "session 1 of ops (operate) from 198.51.100.1:50000: \"act('knob', 'set', 2) \
             print('x')\" did \"knob set 2\", 0 ms of 0 ms, 2 B printed: done",
            "session 1 of ops (operate) from 198.51.100.1:50000: \"error('no')\", 0 ms of 0 ms, \
             0 B printed: no",
        ]
    );
}

#[test]
fn a_long_result_is_shown_page_by_page() {
    let mut bench = Bench::new();
    let others: Vec<_> = (0..120).map(|_| bench.h.open(Box::new(Script::new()))).collect();
    let mut c = bench.local();
    let mut shown = 0;
    let mut done = c.run(&mut bench.h, "channels('unknown')").1.expect("a list");
    loop {
        let Some(Value::List(rows)) = done.values.first() else { panic!("{done:?}") };
        shown += rows.len();
        if !done.more {
            break;
        }
        assert_eq!(rows.len(), crate::wire::ROWS as usize);
        c.last += 1;
        c.say(&FromClient::More(More { id: c.last, rows: None }));
        done = c.end(&mut bench.h, c.last).1.expect("more");
    }
    assert_eq!(shown, others.len());
    c.last += 1;
    c.say(&FromClient::More(More { id: c.last, rows: None }));
    let failed = c.end(&mut bench.h, c.last).1.expect_err("that was all");
    assert_eq!(failed.message, "there is nothing more to be shown");

    let code = "local t = {} for i = 1, 70 do t[('k%02d'):format(i)] = i end return t";
    let done = c.run(&mut bench.h, code).1.expect("a map");
    assert!(done.more && json(&done.values).ends_with("\"k50\":50}]"), "{}", json(&done.values));
    c.last += 1;
    c.say(&FromClient::More(More { id: c.last, rows: Some(7) }));
    let done = c.end(&mut bench.h, c.last).1.expect("more");
    assert!(done.more && json(&done.values).starts_with("[{\"k51\":51"), "{}", json(&done.values));
}

#[test]
fn what_is_deep_or_long_or_in_circles_is_cut() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    for code in [
        "local t = {} t.t = t return t",
        "local t = {} for i = 1, 1e3 do t = {t} end return t",
        "('x'):rep(500000)",
        "local t = {} for i = 1, 1e5 do t[i] = i end return {t}",
        "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(1000) end return {{t, t}}",
    ] {
        let done = c.run(&mut bench.h, code).1.expect(code);
        assert!(done.cut, "{code}");
        let mut line = Vec::new();
        FromServer::Done(done).write(&mut line);
        assert!(line.len() <= crate::wire::SERVER_LINE_BYTES, "{code}: {}", line.len());
    }
    // The worst that JSON makes of texts fits into a line too.
    let code = "local t = {} for i = 1, 1000 do t[i] = {('\\1'):rep(1000), 1e300, ['\\1'] = {}} end return t";
    let done = c.run(&mut bench.h, code).1.expect(code);
    assert!(done.more);
    let mut line = Vec::new();
    FromServer::Done(done).write(&mut line);
    assert!(line.len() <= crate::wire::SERVER_LINE_BYTES, "{}", line.len());
}

#[test]
fn a_statement_that_waits_can_be_cancelled_from_here_and_from_elsewhere() {
    let mut bench = Bench::new();
    let (mut c, mut other) = (bench.local(), bench.local());
    let id = c.begin("print('begun') sleep(1000)");
    assert!(matches!(c.hear(&mut bench.h), FromServer::Print(print) if print.text == "begun\n"));
    let busy = c.begin("1");
    let failed = c.end(&mut bench.h, busy).1.expect_err("one runs");
    assert!(failed.message.contains("statement 1 is running"), "{failed:?}");
    let code = "look('sessions/1').statement, look('sessions/1').state";
    assert_eq!(other.values(&mut bench.h, code), r#"["print('begun') sleep(1000)","busy"]"#);
    c.say(&FromClient::Cancel(Cancel { id: 9, run: id }));
    let all = c.all(&mut bench.h);
    let [FromServer::Failed(failed), FromServer::Done(done)] = &all[..] else { panic!("{all:?}") };
    assert!(failed.cancelled && failed.id == id && done.id == 9);

    let id = c.begin("sleep(1000)");
    bench.h.run();
    let said = other.text(&mut bench.h, "act('sessions/1', 'cancel')");
    assert_eq!(said, "the statement of session 1 was cancelled");
    assert!(c.end(&mut bench.h, id).1.expect_err("cancelled").cancelled);
    c.say(&FromClient::Cancel(Cancel { id: 77, run: id }));
    let failed = c.end(&mut bench.h, 77).1.expect_err("nothing runs");
    assert_eq!(failed.message, format!("no statement {id} is running"));
    assert_eq!(c.values(&mut bench.h, "'still here'"), "[\"still here\"]");
    assert!(bench.audited().iter().any(|line| line.ends_with("the statement was cancelled")));
}

#[test]
fn a_session_is_closed_from_another() {
    let mut bench = Bench::new();
    let (c, mut other) = (bench.local(), bench.local());
    assert_eq!(other.text(&mut bench.h, "act('sessions/1', 'close')"), "session 1 closed");
    bench.h.advance(Duration::from_millis(10));
    assert!(c.peer.is_gone());
    assert_eq!(other.values(&mut bench.h, "sessions():count()"), "[1]");
}

#[test]
fn a_log_is_followed_until_it_is_cancelled() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let id = c.begin("follow('access', 'GET')");
    bench.h.run();
    bench.log.line("GET /a");
    bench.log.line("PUT /b");
    bench.log.line("GET /c");
    let lines: Vec<_> = c.all(&mut bench.h).into_iter().map(|m| format!("{m:?}")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("GET /a") && lines[1].contains("GET /c"));
    c.say(&FromClient::Cancel(Cancel { id: 9, run: id }));
    assert_eq!(c.all(&mut bench.h).len(), 2);
    bench.log.line("GET /d");
    assert_eq!(c.all(&mut bench.h), []);
    assert!(bench.log.0.borrow().iter().all(|hear| hear.upgrade().is_none()), "nobody listens");
    assert!(c.failure(&mut bench.h, "follow('x')").message.contains("there is access"));
}

#[test]
fn a_client_that_reads_slowly_misses_lines_and_is_told() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    c.begin("follow()");
    bench.h.run();
    c.peer.set_write_room(0);
    for _ in 0..1000 {
        bench.log.line(&"x".repeat(1000));
        bench.h.run();
    }
    c.peer.grant_all();
    bench.h.run();
    bench.log.line("the last");
    let heard = c.all(&mut bench.h);
    assert!((200..400).contains(&heard.len()), "{}", heard.len());
    let Some(FromServer::Print(last)) = heard.last() else { panic!("nothing") };
    assert!(last.text.contains("lines left out") && last.text.ends_with("the last\n"), "{last:?}");
}

#[test]
fn words_are_completed_from_what_there_is() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let h = &mut bench.h;
    let names = |found: &(usize, Vec<String>)| found.1.join(" ");
    assert_eq!(c.complete(h, "x = chan"), (4, vec!["channels".to_owned()]));
    assert_eq!(names(&c.complete(h, "string.re")), "rep reverse");
    assert_eq!(c.complete(h, "look('kn"), (6, vec!["knob".to_owned()]));
    assert_eq!(names(&c.complete(h, "look(\"sessions/")), "1");
    assert_eq!(names(&c.complete(h, "act('knob', 's")), "secret set");
    assert_eq!(names(&c.complete(h, "help 'chan")), "channels");
    assert_eq!(names(&c.complete(h, "look('nowhere/")), "");
    c.run(h, "mine = {apple = 1, pear = 2, ['a b'] = 3}").1.expect("set");
    assert_eq!(names(&c.complete(h, "mine.")), "apple pear");
    let all = c.complete(h, "").1;
    assert!(all.len() > 20 && all.contains(&"mine".to_owned()), "{all:?}");
    // Also while a statement runs.
    c.begin("sleep(1)");
    h.run();
    assert_eq!(names(&c.complete(h, "confi")), "confirm");
}

#[test]
fn help_teaches() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let h = &mut bench.h;
    for code in ["help", "help()", "help 'channels'", "help(try)", "help 'roles'"] {
        let (printed, result) = c.run(h, code);
        assert!(
            result.expect(code).values.is_empty() && printed.lines().count() >= 3,
            "{code}: {printed}"
        );
    }
    let (printed, _) = c.run(h, "help 'knob'");
    assert!(printed.contains("value: What it is set to."), "{printed}");
    assert!(
        printed
            .contains("act(\"knob\", \"set\", N): Sets the number. (for `operate`, can be tried)"),
        "{printed}"
    );
    assert!(c.failure(h, "help 'nonsense'").message.contains("There is help on: act,"));
    // Every topic that the first page names exists.
    let (first, _) = c.run(h, "help");
    let topics = first.split("Topics: ").nth(1).expect("topics").trim_end().trim_end_matches('.');
    for topic in topics.split(", ") {
        c.run(h, &format!("help '{topic}'")).1.expect(topic);
    }
}

#[test]
fn a_session_is_resumed_after_its_connection_broke() {
    let mut bench = Bench::new();
    let mut c = bench.login("ann");
    c.values(&mut bench.h, "x = {1, f = function() return 'kept' end}");
    let token = c.welcome.as_ref().expect("a session").session.clone();
    c.peer.reset();
    bench.h.run();
    let resume = |id, session: &str| {
        FromClient::Resume(Resume { id, session: session.to_owned(), kept: None })
    };
    // Somebody else does not get it.
    let mut eve = bench.login("eye");
    eve.say(&resume(1, &token));
    assert!(eve.end(&mut bench.h, 1).1.is_err());
    let mut again = bench.login("ann");
    again.say(&resume(1, &token));
    again.end(&mut bench.h, 1).1.expect("it is there");
    assert_eq!(again.values(&mut bench.h, "x.f()"), "[\"kept\"]");
    // Also from a connection that does not know yet that it is broken.
    // It is known by the token that was heard last.
    let mut third = bench.login("ann");
    third.say(&resume(2, &token));
    third.end(&mut bench.h, 2).1.expect_err("the token was used");
    let token = again.welcome.as_ref().expect("a session").session.clone();
    third.say(&resume(1, &token));
    third.end(&mut bench.h, 1).1.expect("it is there");
    assert!(again.peer.is_gone());
    assert_eq!(third.values(&mut bench.h, "x.f()"), "[\"kept\"]");
    third.peer.close();
    bench.h.advance(crate::limits::RESUME_WITHIN + Duration::from_secs(1));
    let mut late = bench.login("ann");
    late.say(&resume(1, &token));
    let failed = late.end(&mut bench.h, 1).1.expect_err("it is over");
    assert!(failed.message.contains("not here any more"), "{failed:?}");
    // What is left of the deadline of the login.
    bench.h.advance(Duration::from_secs(31));
    assert_eq!(bench.h.next_due(), None, "nothing is left to be done");
}

#[test]
fn a_session_takes_its_plain_variables_to_the_next_process() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    c.values(&mut bench.h, "n, t, f = 5, {a = {1, 2}}, function() end");
    let token = c.welcome.clone().expect("a session").session;
    let id = c.begin("sleep(1) return 'done'");
    bench.h.run();
    bench.h.handle().retire(Duration::from_secs(60), || {});
    bench.h.run();
    assert!(!c.peer.is_gone(), "the statement may end");
    assert_eq!(json(&c.end(&mut bench.h, id).1.expect("it ends").values), "[\"done\"]");
    let FromServer::Notice(notice) = c.hear(&mut bench.h) else { panic!("no notice") };
    assert_eq!(notice.kind, NoticeKind::Moved);
    assert!(notice.text.ends_with("not taken along: f"), "{}", notice.text);

    let mut next = Bench::new();
    let mut c = next.local();
    c.say(&FromClient::Resume(Resume { id: 1, session: token, kept: notice.kept }));
    c.end(&mut next.h, 1).1.expect("taken over");
    assert_eq!(c.values(&mut next.h, "n, t.a[2], f, type(look)"), "[5,2,null,\"function\"]");
    // What was kept cannot replace what the console has of its own.
    let forged = Some("{\"look\":1,\"x\":2}".to_owned());
    c.say(&FromClient::Resume(Resume { id: 2, session: String::new(), kept: forged }));
    c.end(&mut next.h, 2).1.expect("taken over");
    assert_eq!(c.values(&mut next.h, "type(look), x"), "[\"function\",2]");
}

#[test]
fn when_the_server_stops_sessions_are_told() {
    let mut bench = Bench::new();
    let (mut idle, mut busy) = (bench.local(), bench.local());
    let id = busy.begin("sleep(1000)");
    bench.h.run();
    bench.h.handle().shutdown(Duration::from_secs(60));
    let FromServer::Notice(notice) = idle.hear(&mut bench.h) else { panic!("no notice") };
    assert_eq!((notice.kind, &*notice.text), (NoticeKind::Stopping, "the server stops"));
    assert!(busy.end(&mut bench.h, id).1.expect_err("it had its time").cancelled);
    assert!(matches!(busy.hear(&mut bench.h), FromServer::Notice(_)));
    bench.h.run();
    assert!(idle.peer.is_gone() && busy.peer.is_gone() && bench.h.has_stopped());
}

#[test]
fn requests_that_come_together_are_answered_in_turn_and_before_the_end() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let mut all = Vec::new();
    for id in 1..=20 {
        FromClient::Run(Run { id, code: format!("{id}"), rows: None }).write(&mut all);
    }
    all.pop();
    c.peer.send(&all);
    c.peer.close_write();
    for id in 1..=20 {
        assert_eq!(json(&c.end(&mut bench.h, id).1.expect("done").values), format!("[{id}]"));
    }
    bench.h.run();
    assert!(c.peer.is_gone());
}

#[test]
fn an_idle_session_does_nothing() {
    let mut bench = Bench::new();
    let mut c = bench.login("ann");
    c.values(&mut bench.h, "1");
    bench.h.advance(Duration::from_secs(120));
    assert_eq!(bench.h.next_due(), None);
    assert!(!c.peer.is_gone());
}

#[test]
fn lines_that_are_no_requests_are_told_and_cost_nothing() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    for line in [
        "nonsense\n",
        "{}\n",
        "{\"run\":{\"id\":1}}\n",
        "{\"run\":{\"id\":0,\"code\":\"1\"}}\n",
        "{\"login\":{\"data\":\"\"}}\n",
    ] {
        c.peer.send(line);
        let FromServer::Failed(failed) = c.hear(&mut bench.h) else { panic!("{line}") };
        assert_eq!(failed.id, 0, "{line}");
    }
    assert_eq!(c.values(&mut bench.h, "1"), "[1]");
    c.peer.send("x".repeat(crate::wire::CLIENT_LINE_BYTES + 2));
    let FromServer::Failed(failed) = c.hear(&mut bench.h) else { panic!("taken") };
    assert!(failed.message.contains("longer than 262144 bytes"), "{failed:?}");
}
