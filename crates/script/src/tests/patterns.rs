//! Patterns and the replaced functions, against the engine's own.

use mlua::{Function, Lua, MultiValue};
use proptest::prelude::*;

use super::Scripts;
use crate::Value;

/// Calls a function of texts in an untouched Lua; errors are one value.
fn reference(lua: &Lua, name: &str, args: &[&str]) -> Option<String> {
    let source = format!("return function(...) return {SHOW}({name}, ...) end");
    let f: Function = lua.load(source).eval().expect("it compiles");
    let args: MultiValue =
        args.iter().map(|a| mlua::Value::String(lua.create_string(a).expect("a string"))).collect();
    f.call(args).expect("errors are caught")
}

/// What a function returned, as one text; nothing when it fails.
const SHOW: &str = "(function(f, ...) \
    local r = table.pack(pcall(f, ...)) \
    if not r[1] then return nil end \
    for i = 1, r.n do r[i] = type(r[i]) .. ':' .. tostring(r[i]) end \
    return table.concat(r, '|') end)";

/// Collects all that an iterator gives.
const ALL: &str = "(function(s, p) local all = {} \
    for a, b in string.gmatch(s, p) do all[#all + 1] = tostring(a) .. ',' .. tostring(b) end \
    return table.concat(all, ';') end)";

/// Replaces by a function, and by a table.
const BY_FUNCTION: &str =
    "(function(s, p) return string.gsub(s, p, function(a, b) return b or '<' .. a .. '>' end) end)";
const BY_TABLE: &str =
    "(function(s, p) return string.gsub(s, p, {a = 'A', ab = false, [1] = 'P'}) end)";

fn pattern() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        Just("a"),
        Just("b"),
        Just("."),
        Just("%a"),
        Just("%d"),
        Just("%A"),
        Just("[ab]"),
        Just("[^a]"),
        Just("[a-c%d]"),
        Just("[]a]"),
        Just("%bab"),
        Just("%f[%a]"),
        Just("()"),
        Just("(a)"),
        Just("(.-)"),
        Just("(%w*)"),
        Just("%1"),
        Just("^"),
        Just("$"),
        Just("%."),
        Just("("),
        Just(")"),
        Just("["),
        Just("%"),
        Just("-"),
    ];
    let quantity =
        prop_oneof![4 => Just(""), 1 => Just("*"), 1 => Just("+"), 1 => Just("-"), 1 => Just("?")];
    prop::collection::vec((item, quantity), 0..5)
        .prop_map(|parts| parts.into_iter().flat_map(|(i, q)| [i, q]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn patterns_match_as_in_lua(text in "[ab1. ]{0,12}", pattern in pattern(), with in "[a%01x]{0,4}") {
        thread_local! {
            static BOTH: (Lua, std::cell::RefCell<Scripts>) =
                (Lua::new(), std::cell::RefCell::new(Scripts::new()));
        }
        BOTH.with(|(lua, scripts)| {
            let mut scripts = scripts.borrow_mut();
            for (name, args) in [
                ("string.find", vec![&*text, &*pattern]),
                ("string.match", vec![&*text, &*pattern]),
                ("string.gsub", vec![&*text, &*pattern, &*with]),
                (ALL, vec![&*text, &*pattern]),
                (BY_FUNCTION, vec![&*text, &*pattern]),
                (BY_TABLE, vec![&*text, &*pattern]),
            ] {
                let theirs = reference(lua, name, &args);
                let source = format!("return {SHOW}({name}, ...)");
                let script = scripts.engine.load("x", source.as_bytes()).expect("it compiles");
                let values: Vec<Value> = args.iter().map(|a| Value::from(*a)).collect();
                let ours = scripts.call(&script, &values).result.expect("errors are caught").into_iter().next();
                let ours = match ours {
                    Some(Value::Text(text)) => Some(String::from_utf8_lossy(&text).into_owned()),
                    _ => None,
                };
                // A pattern that lacks a parenthesis is refused, even if nobody uses what is lacking.
                if ours.is_none() && reference(lua, "string.find", &args[..2]).is_none() {
                    continue;
                }
                assert_eq!(ours, theirs, "{name} {args:?}");
            }
        });
    }
}

#[test]
fn texts_and_tables_behave_as_in_lua() {
    let lua = Lua::new();
    let mut scripts = Scripts::new();
    for source in [
        "return ('a.b.c'):find('.', 1, true)",
        "return ('abc'):find('b', -2)",
        "return ('abc'):find('', 10)",
        "return ('abc'):find('', 4)",
        "return ('x=1, y=2'):gsub('(%w+)=(%w+)', '%2=%1')",
        "return ('hello'):gsub('l', 'L', 1)",
        "return ('hello'):gsub('', '-')",
        "return string.rep(12, 3, ','), ('x'):rep(0), ('x'):rep(-1), ('ab'):rep(2)",
        "return string.find(123, 2), string.match(123, '%d')",
        "local t = {3, 1, 2} table.sort(t) return table.concat(t, ',')",
        "local t = {} for i = 1, 500 do t[i] = (i * 7919) % 1009 end table.sort(t, function(a, b) return a > b end) return table.concat(t, ',')",
        "local t = {1, 2, 3} table.insert(t, 1, 0) table.insert(t, 4) return table.concat(t, ','), table.remove(t, 1), table.remove(t), table.concat(t, ',')",
        "return table.concat(table.move({1, 2, 3, 4}, 2, 4, 1), ','), table.concat(table.move({1, 2, 3}, 1, 3, 2), ',')",
        "return select('#', table.unpack(table.move({1, 2}, 1, 2, 3, {}), 3, 4))",
        "return pcall(error, 'x', 0)",
        "return select(2, xpcall(function() error('x', 0) end, function(e) return e .. '!' end))",
        "return utf8.char(228, 8364), utf8.len('äö')",
    ] {
        let source = format!("return {SHOW}(function() {source} end)");
        let theirs: Option<String> = lua.load(&source).eval().expect("it runs");
        assert!(theirs.is_some(), "{source}");
        let ours = scripts.value(&source);
        assert_eq!(ours, Value::from(theirs.expect("it returns")), "{source}");
    }
}

#[test]
fn sorting_by_nonsense_ends_and_loses_nothing() {
    let mut scripts = Scripts::new();
    let source = "local t = {} for i = 1, 1000 do t[i] = i end \
        table.sort(t, function() return math.random() < 0.5 end) \
        local sum = 0 for i = 1, 1000 do sum = sum + t[i] end return sum";
    assert_eq!(scripts.value(source), 500_500i64.into());
}
