//! Statements that would never end, or take everything: each ends in its budget, by name.

use medusa_script::Budget;

use super::*;
use crate::wire;

/// Runs a statement with little time, and says which budget has ended it.
fn ended_by(code: &str) -> Option<wire::Budget> {
    ended_within(Budget { time: Duration::from_millis(150), ..Budget::STATEMENT }, code)
}

fn ended_within(statement: Budget, code: &str) -> Option<wire::Budget> {
    let mut bench = Bench::with(MonitorSettings { statement, ..MonitorSettings::default() });
    let mut c = bench.local();
    let mut other = bench.local();
    let id = c.begin(code);
    bench.h.turn();
    // Others have their turn between its slices.
    assert_eq!(other.values(&mut bench.h, "1"), "[1]");
    let (printed, result) = c.end(&mut bench.h, id);
    assert!(printed.len() <= statement.output);
    let failed = result.expect_err(code);
    // The session goes on.
    assert_eq!(c.values(&mut bench.h, "'well'"), "[\"well\"]");
    if failed.budget.is_none() {
        eprintln!("{code}: {}", failed.message);
    }
    failed.budget
}

#[test]
fn an_endless_loop() {
    assert_eq!(ended_by("while true do end"), Some(wire::Budget::Time));
    assert_eq!(ended_by("while true do pcall(error) end"), Some(wire::Budget::Time));
    assert_eq!(ended_by("for n in function() return 1 end do end"), Some(wire::Budget::Time));
}

#[test]
fn an_endless_allocation() {
    assert_eq!(
        ended_within(
            Budget::STATEMENT,
            "local t = {} for i = 1, 1e12 do t[i] = ('x'):rep(100000) .. i end"
        ),
        Some(wire::Budget::Memory)
    );
}

#[test]
fn a_giant_output() {
    let by = |code| ended_within(Budget { output: 20_000, ..Budget::STATEMENT }, code);
    assert_eq!(by("while true do print(('x'):rep(1000)) end"), Some(wire::Budget::Output));
    assert_eq!(by("while true do print('x') end"), Some(wire::Budget::Output));
}

#[test]
fn a_text_of_ten_gigabytes_is_refused_at_once() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let failed = c.failure(&mut bench.h, "string.rep('x', 10 * 1024 * 1024 * 1024)");
    assert!(failed.message.contains("resulting string too large"), "{failed:?}");
}

#[test]
fn a_catastrophic_pattern() {
    let mut bench = Bench::new();
    let mut c = bench.local();
    let failed = c.failure(&mut bench.h, "string.find(('a'):rep(1e4), '.-.-.-.-b$')");
    assert!(failed.message.contains("pattern"), "{failed:?}");
    let again = "while true do pcall(string.find, ('a'):rep(1e4), '.-.-.-.-b$') end";
    assert_eq!(ended_by(again), Some(wire::Budget::Time));
}

#[test]
fn a_sort_with_an_endless_comparator() {
    let code = "table.sort({3, 1, 2}, function() while true do end end)";
    assert_eq!(ended_by(code), Some(wire::Budget::Time));
}

#[test]
fn a_result_that_never_ends_to_be_shown() {
    let code = "setmetatable({}, {__show = function() while true do end end})";
    assert_eq!(ended_by(code), Some(wire::Budget::Time));
    assert_eq!(ended_by("list('', function() while true do end end)"), Some(wire::Budget::Time));
}
