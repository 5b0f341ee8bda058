//! Scripts that wait, for time, for answers and for each other; and being cancelled.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Scripts, instructions};
use crate::limits::{CHILDREN, TASKS};
use crate::{Begun, Budget, Exceeded, Later, Library, ScriptError, Value};

#[test]
fn a_script_sleeps_without_holding_up_others() {
    let mut scripts = Scripts::new();
    let slow = scripts.begin("sleep(2) return 'slow'", Budget::default());
    let quick = scripts.begin("sleep(1) return 'quick'", Budget::default());
    scripts.h.advance(Duration::from_millis(1500));
    assert!(slow.borrow().is_none());
    assert_eq!(quick.take().expect("it has ended").result, Ok(vec!["quick".into()]));
    scripts.h.advance(Duration::from_secs(1));
    assert_eq!(slow.take().expect("it has ended").result, Ok(vec!["slow".into()]));
    assert_eq!(scripts.h.next_due(), None, "nothing is left to be done");
}

#[test]
fn what_is_printed_can_be_heard_at_once_and_counts_all_the_same() {
    let mut scripts = Scripts::new();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let to = heard.clone();
    scripts.engine.stream_output(move |text| to.borrow_mut().extend_from_slice(text));
    let budget = Budget { output: 9, ..Budget::default() };
    let ended = scripts.begin("print('ab') sleep(1) while true do print('x') end", budget);
    assert_eq!(*heard.borrow(), b"ab\n");
    scripts.h.advance(Duration::from_secs(2));
    let outcome = ended.take().expect("it has ended");
    assert_eq!(outcome.result, Err(ScriptError::Exceeded(Exceeded::Output)));
    assert_eq!((&heard.borrow()[..], &outcome.output[..]), (&b"ab\nx\nx\nx\n"[..], &b""[..]));
}

#[test]
fn a_script_that_runs_long_lets_others_have_their_turn() {
    let mut scripts = Scripts::new();
    let long = scripts.begin("while true do end", instructions(u64::MAX));
    assert!(long.borrow().is_none(), "the first slice has ended");
    assert_eq!(scripts.value("return 1"), 1i64.into());
    let wait = scripts.h.next_due().expect("the next slice is due");
    scripts.h.advance(wait);
    assert!(long.borrow().is_none());
}

#[test]
fn sleeping_works_in_coroutines_within_coroutines_and_within_pcall() {
    let mut scripts = Scripts::new();
    let source = r"
        local got = {}
        local inner = function() sleep(1) coroutine.yield('inner') sleep(1) return 'end' end
        local outer = coroutine.wrap(function()
            local co = coroutine.wrap(inner)
            coroutine.yield(co())
            coroutine.yield(select(2, pcall(co)))
            sleep(1)
            for x in coroutine.wrap(function() sleep(1) coroutine.yield(1) coroutine.yield(2) end) do
                coroutine.yield(x)
            end
        end)
        for value in outer do got[#got + 1] = tostring(value) end
        table.sort(got, function(a, b) sleep(0.1) return a < b end)
        return table.concat(got, ' ')
    ";
    assert_eq!(scripts.value(source), "1 2 end inner".into());
    let source = "return (('abc'):gsub('.', function(c) sleep(1) return c:upper() end))";
    assert_eq!(scripts.value(source), "ABC".into());
}

#[test]
fn a_long_computation_in_a_coroutine_comes_to_its_result() {
    let mut scripts = Scripts::new();
    // Slices end in the middle of it.
    let source = "local function sum(n) local s = 0 for i = 1, n do s = s + i end return s end \
        local co = coroutine.wrap(function() coroutine.yield(sum(5000000)) return 'end' end) \
        return co(), co()";
    let result = scripts.run_with(source, instructions(u64::MAX)).result;
    assert_eq!(result, Ok(vec![12_500_002_500_000i64.into(), "end".into()]));
}

#[test]
fn coroutines_work_as_they_do_in_lua() {
    let mut scripts = Scripts::new();
    let source = r"
        local co = coroutine.create(function(a, b)
            local c = coroutine.yield(a + b)
            local d, e = coroutine.yield(c * 2)
            coroutine.yield()
            return d + e
        end)
        local log = {}
        local function note(...) log[#log + 1] = table.concat({ tostring(select('#', ...)), ... }, ',') end
        note(select(2, coroutine.resume(co, 1, 2)))
        note(select(2, coroutine.resume(co, 10)))
        note(select(2, coroutine.resume(co, 3, 4)))
        note(select(2, coroutine.resume(co)))
        note(select(2, coroutine.resume(co)))
        note(coroutine.status(co))
        local bad = coroutine.wrap(function() error('bad', 0) end)
        note(select(2, pcall(bad)))
        note(tostring(coroutine.isyieldable()))
        note(tostring(coroutine.close(coroutine.create(print))))
        return table.concat(log, ' ')
    ";
    let expected = "1,3 1,20 0 1,7 1,cannot resume dead coroutine 1,dead 1,bad 1,true 1,true";
    assert_eq!(scripts.value(source), expected.into());
    let error = scripts.error("coroutine.yield(1)");
    assert!(error.contains("outside a coroutine"), "{error}");
}

#[test]
fn the_host_answers_later_or_at_once() {
    let mut scripts = Scripts::new();
    let waiting: Rc<RefCell<Vec<Later>>> = Rc::default();
    let to = waiting.clone();
    let library = Library::new("host")
        .later("ask", move |_, later| to.borrow_mut().push(later))
        .later("now", |args, later| later.answer(Ok(args.to_vec())))
        .later("fails", |_, later| later.answer(Err("no luck".to_owned())))
        .later("never", |_, later| drop(later));
    scripts.engine.add(library).expect("it can be added");
    assert_eq!(scripts.value("return host.now('x')"), "x".into());
    let error = scripts.error("local x = host.fails() return x");
    assert!(error.contains("test.lua:1: no luck"), "{error}");
    assert!(scripts.error("return host.never()").contains("gave no answer"));
    let asked = scripts.begin("local a, b = host.ask() return b .. a", Budget::default());
    scripts.h.run();
    assert!(asked.borrow().is_none());
    let later = waiting.borrow_mut().pop().expect("it was asked");
    assert!(later.is_wanted());
    later.answer(Ok(vec!["a".into(), "b".into()]));
    scripts.h.run();
    assert_eq!(asked.take().expect("it has ended").result, Ok(vec!["ba".into()]));
    // An error can be caught, and whoever has gone is not answered.
    let asked = scripts.begin("return pcall(host.ask)", Budget::default());
    let later = waiting.borrow_mut().pop().expect("it was asked");
    later.answer(Err("refused".to_owned()));
    scripts.h.run();
    let result = asked.take().expect("it has ended").result;
    assert!(matches!(&result, Ok(values) if values[0] == false.into()), "{result:?}");
}

#[test]
fn a_job_of_a_helper_thread_answers_a_script() {
    let mut scripts = Scripts::new();
    let handle = scripts.h.handle();
    let library = Library::new("job").later("double", move |args, later| {
        let n = args[0].as_integer().unwrap_or(0);
        handle.run(
            move || n * 2,
            move |result| {
                later.answer(result.map(|n| vec![n.into()]).map_err(|e| e.to_string()));
            },
        );
    });
    scripts.engine.add(library).expect("it can be added");
    scripts.h.hold_jobs();
    let asked = scripts.begin("return job.double(21)", Budget::default());
    scripts.h.run();
    assert!(asked.borrow().is_none());
    scripts.h.run_jobs();
    scripts.h.run();
    assert_eq!(asked.take().expect("it has ended").result, Ok(vec![42i64.into()]));
}

#[test]
fn a_script_waits_for_others() {
    let mut scripts = Scripts::new();
    let source = r"
        local function work(name, seconds) sleep(seconds) return name end
        local slow, quick = start(work, 'slow', 3), start(work, 'quick', 1)
        local bad = start(error, 'bad')
        local stopped = start(sleep, 1000)
        sleep(0)
        stopped:cancel()
        return table.concat({ slow:wait(), quick:wait(), tostring(select(2, pcall(bad.wait, bad))),
            select(2, pcall(stopped.wait, stopped)) }, ' ')
    ";
    let value = scripts.value(source);
    let Value::Text(text) = value else { panic!("{value:?}") };
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.starts_with("slow quick bad "), "{text}");
    assert!(text.contains("cancelled"), "{text}");
}

#[test]
fn what_a_script_starts_shares_its_budget() {
    let mut scripts = Scripts::new();
    let source =
        "local function again() start(again) end again() sleep(1) while true do sleep(1) end";
    let budget = Budget { within: Duration::from_secs(100), ..instructions(1_000_000) };
    let ended = scripts.run_with(source, budget).result;
    assert!(matches!(ended, Err(ScriptError::Exceeded(_))), "{ended:?}");
    scripts.h.advance(Duration::from_secs(200));
    assert_eq!(scripts.engine.tasks(), 0);
    let source = "for i = 1, 100000 do start(sleep, 1) end";
    let error = scripts.error(source);
    assert!(error.contains(&CHILDREN.to_string()), "{error}");
}

#[test]
fn a_script_is_cancelled_while_it_waits_and_between_slices() {
    for source in ["sleep(1000)", "while true do end", "pcall(sleep, 1000) while true do end"] {
        let mut scripts = Scripts::new();
        let script = scripts.engine.load("x", source.as_bytes()).expect("it compiles");
        let Begun::Running(running) = scripts.engine.call(&script, &[], instructions(u64::MAX))
        else {
            panic!("it does not end")
        };
        let ended = Rc::new(RefCell::new(None));
        let to = ended.clone();
        running.then(move |outcome| _ = to.replace(Some(outcome)));
        scripts.h.advance(Duration::from_millis(2));
        assert!(running.is_running());
        running.cancel();
        assert!(!running.is_running());
        assert_eq!(ended.take().expect("it has ended").result, Err(ScriptError::Cancelled));
        scripts.h.advance(Duration::from_millis(2));
        assert_eq!(scripts.engine.tasks(), 0);
        assert_eq!(scripts.h.next_due(), None, "its timers are gone");
    }
}

#[test]
fn only_so_many_scripts_run_at_once() {
    let mut scripts = Scripts::new();
    let script = scripts.engine.load("x", b"sleep(1)").expect("it compiles");
    let mut refused = 0;
    for _ in 0..=TASKS {
        match scripts.engine.call(&script, &[], Budget::default()) {
            Begun::Ended(outcome) => {
                refused += 1;
                let error = outcome.result.expect_err("it is refused");
                assert!(
                    matches!(error, ScriptError::Refused(_) | ScriptError::Exceeded(_)),
                    "{error:?}"
                );
            }
            Begun::Running(_) => {}
        }
    }
    assert!(refused > 0);
    scripts.h.advance(Duration::from_secs(2));
    assert_eq!(scripts.engine.tasks(), 0);
}

#[test]
fn an_error_says_file_line_and_traceback() {
    let mut scripts = Scripts::new();
    let error = scripts.run("local function inner()\n  error('oh no')\nend\n\ninner()").result;
    let Err(ScriptError::Failed(place)) = error else { panic!("{error:?}") };
    assert_eq!((&*place.file, place.line, &*place.message), ("test.lua", 2, "oh no"));
    assert!(place.traceback.contains("test.lua:5"), "{}", place.traceback);
    let error = scripts.engine.load("bad.lua", b"x = 1\ny = = 2").expect_err("it is no Lua");
    let ScriptError::Syntax(place) = error else { panic!("{error:?}") };
    assert_eq!((&*place.file, place.line), ("bad.lua", 2));
    let error = scripts.error("\n\nlocal x = nil + 1");
    assert!(error.starts_with("test.lua:3: attempt to perform arithmetic"), "{error}");
}

#[test]
fn functions_of_a_script_are_called_again_and_again() {
    let mut scripts = Scripts::new();
    let source = b"local n = 0 return function(by) n = n + by return n end";
    let script = scripts.engine.load("x", source).expect("it compiles");
    let result = scripts.call(&script, &[]).result;
    let Ok([Value::Function(count)]) = result.as_deref() else { panic!("{result:?}") };
    for n in 1..1000i64 {
        assert_eq!(scripts.call(count, &[1i64.into()]).result, Ok(vec![n.into()]));
    }
}

#[test]
fn a_function_of_the_host_that_panics_costs_the_script() {
    let mut scripts = Scripts::new();
    let library = Library::new("host").function("panic", |_| panic!("a mistake"));
    scripts.engine.add(library).expect("it can be added");
    assert!(scripts.error("host.panic()").contains("panicked"));
    assert_eq!(scripts.value("return 1"), 1i64.into());
    assert_eq!(scripts.engine.tasks(), 0);
}

/// A script's slice could end between asking and waiting; an answer that came then was lost, and the
/// script waited for ever.
#[test]
fn an_answer_that_comes_between_asking_and_waiting_is_not_lost() {
    let mut scripts = Scripts::new();
    let handle = scripts.h.handle();
    let slow = Library::new("slow").later("ask", move |_, later| {
        // Its slice is over when it comes back.
        let began = std::time::Instant::now();
        while began.elapsed() < crate::limits::SLICE {}
        handle.later(move |_| later.answer(Ok(vec![Value::from(1i64)])));
    });
    scripts.engine.add(slow).expect("it is added");
    let source =
        "local n = 0 for i = 1, 100 do for _ = 1, i do end n = n + slow.ask() end return n";
    // On a busy machine its running time is mostly that of others.
    let budget = Budget { time: Duration::from_secs(3600), ..Budget::default() };
    assert_eq!(scripts.run_with(source, budget).result, Ok(vec![100i64.into()]));
}
