//! Each way to escape a budget that is known, tested by its name.

use super::{MEMORY, Scripts, instructions};
use crate::{Budget, Exceeded, ScriptError};

/// Scripts that would never end. Each ends by its instructions, whatever it does to catch that.
#[test]
fn endless_loops_end_wherever_they_stand() {
    let mut scripts = Scripts::new();
    for source in [
        "while true do end",
        "repeat until false",
        "::again:: goto again",
        "local function f() return f() end f()",
        // An error raised by the hook could be caught.
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do pcall(error) end",
        "local ok = pcall(function() while true do end end) while true do end",
        // In a metamethod, called by an instruction and by a function of the engine.
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
        "local t = setmetatable({}, {__eq = function() while true do end end}) \
         return t == setmetatable({}, getmetatable(t))",
        "local t = setmetatable({}, {__close = function() while true do end end}) \
         do local x <close> = t end",
        "local t = setmetatable({}, {__concat = function() while true do end end}) return t .. 'x'",
        // With an endless iterator.
        "for _ in function() return 1 end do end",
        "for _ in pairs(setmetatable({}, {__pairs = function() return function() return 1 end end})) do end",
        "for i = 1, math.huge do end",
        // In coroutines, whose callbacks the hook must find.
        "coroutine.wrap(function() while true do end end)()",
        "local co = coroutine.create(function() while true do end end) \
         while true do coroutine.resume(co) end",
        "while true do coroutine.wrap(function() coroutine.yield() end)() end",
        "local function nest(n) if n == 0 then while true do end end \
         coroutine.wrap(nest)(n - 1) end nest(50)",
        "while true do pcall(coroutine.wrap(function() pcall(function() while true do end end) end)) end",
        // Functions of C that call back.
        "table.sort({3, 2, 1}, function() while true do end end)",
        "(('x'):rep(100)):gsub('.', function() while true do end end)",
        "load('while true do end')()",
        "local co = coroutine.create(function() local x <close> = setmetatable({}, \
         {__close = function() while true do end end}) coroutine.yield() end) \
         coroutine.resume(co) coroutine.close(co)",
        // Functions of C that would not call back for ages.
        "table.move({}, 1, math.maxinteger - 1, 2)",
        "local t = {} for i = 1, 200000 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
    ] {
        // Where nothing can be interrupted, the time limit there may come first.
        let exceeded = scripts.exceeds(source, instructions(3_000_000));
        assert!(
            matches!(exceeded, Exceeded::Instructions | Exceeded::Uninterrupted),
            "{source}: {exceeded:?}"
        );
    }
}

#[test]
fn an_endless_loop_inside_a_function_of_the_engine_ends() {
    let mut scripts = Scripts::new();
    for source in [
        "tostring(setmetatable({}, {__tostring = function() while true do end end}))",
        "print(setmetatable({}, {__tostring = function() while true do end end}))",
        "string.format('%s', setmetatable({}, {__tostring = function() while true do end end}))",
        "table.concat(setmetatable({}, {__len = function() while true do end end}))",
        "table.unpack(setmetatable({}, {__index = function() while true do end end}), 1, 10)",
        // What is raised there can be caught there, but not for ever.
        "tostring(setmetatable({}, {__tostring = function() \
         while true do pcall(function() while true do end end) end end}))",
        "tostring(setmetatable({}, {__tostring = function() \
         while true do pcall(coroutine.wrap(function() while true do end end)) end end}))",
    ] {
        let exceeded = scripts.exceeds(source, instructions(50_000_000));
        assert!(
            matches!(exceeded, Exceeded::Instructions | Exceeded::Uninterrupted),
            "{source}: {exceeded:?}"
        );
    }
}

/// It inherits the hook, and the hook must find its data there too.
#[test]
fn a_coroutine_of_a_script_does_not_escape_the_hook() {
    let mut scripts = Scripts::new();
    for source in [
        "coroutine.wrap(function() while true do end end)()",
        "coroutine.resume(coroutine.create(function() while true do end end)) return 'escaped'",
        "local co = coroutine.wrap(function() coroutine.yield() while true do end end) co() co()",
    ] {
        assert_eq!(scripts.exceeds(source, instructions(1_000_000)), Exceeded::Instructions);
    }
}

#[test]
fn no_pcall_catches_what_the_hook_does() {
    let mut scripts = Scripts::new();
    for source in [
        "pcall(function() while true do end end) return 'caught'",
        "xpcall(function() while true do end end, function() return 'caught' end) return 'caught'",
        "pcall(pcall, pcall, function() while true do end end) return 'caught'",
    ] {
        assert_eq!(scripts.exceeds(source, instructions(1_000_000)), Exceeded::Instructions);
    }
}

#[test]
fn a_sort_with_an_endless_comparator_ends() {
    let mut scripts = Scripts::new();
    for source in [
        "table.sort({3, 2, 1}, function() while true do end end)",
        "pcall(table.sort, {3, 2, 1}, function() while true do end end) return 'caught'",
        "coroutine.wrap(function() table.sort({3, 2, 1}, function() while true do end end) end)()",
        "coroutine.wrap(function() pcall(table.sort, {3, 2, 1}, \
         function() while true do end end) end)() return 'caught'",
    ] {
        assert_eq!(scripts.exceeds(source, instructions(1_000_000)), Exceeded::Instructions);
    }
}

/// The engine's limit of memory is one of the interpreter, so a console's is not the extensions'.
#[test]
fn what_uses_up_one_interpreter_takes_nothing_from_another() {
    let (mut console, mut extensions) = (Scripts::new(), Scripts::new());
    assert_eq!(extensions.value("kept = {1, 2, 3} return #kept"), 3i64.into());
    let source = "kept = {} while true do kept[#kept + 1] = {} end";
    assert_eq!(console.exceeds(source, instructions(100_000_000)), Exceeded::Memory);
    assert!(extensions.engine.memory() < MEMORY / 2);
    let source = "local t = {} for i = 1, 10000 do t[i] = {} end return #t";
    assert_eq!(extensions.value(source), 10_000i64.into());
}

#[test]
fn an_endless_loop_ends_by_its_time() {
    let mut scripts = Scripts::new();
    let time = std::time::Duration::from_millis(20);
    let budget = Budget { time, ..instructions(u64::MAX) };
    assert_eq!(scripts.exceeds("while true do end", budget), Exceeded::Time);
}

#[test]
fn time_is_running_time_and_waiting_has_a_deadline() {
    let mut scripts = Scripts::new();
    let hour = std::time::Duration::from_secs(3600);
    let budget = Budget { within: 2 * hour, ..Budget::default() };
    let slept = scripts.run_with("sleep(3600) return 'slept'", budget);
    assert_eq!(slept.result, Ok(vec!["slept".into()]));
    let budget = Budget { within: hour / 2, ..Budget::default() };
    assert_eq!(scripts.exceeds("while true do sleep(60) end", budget), Exceeded::Deadline);
}

/// Scripts that would use up all memory. `pcall` must not hide it.
#[test]
fn endless_allocations_end() {
    let mut scripts = Scripts::new();
    for source in [
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} for i = 1, math.huge do t[i] = ('x'):rep(1000) .. i end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t = {t} end",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end",
        "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(100000) end \
         for i = 1, 1000000 do t[1000 + i] = t[1] .. i end",
        "local t = {} for i = 1, 10000 do t[i] = ('x'):rep(10000) end table.concat(t)",
        "string.format(('%s'):rep(100), table.unpack((function() local t = {} \
         for i = 1, 100 do t[i] = ('x'):rep(1000000) end return t end)()))",
        "string.pack('c1000000000', 'x')",
        "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
        "while true do coroutine.resume(coroutine.create(function() local s = 'x' \
         while true do s = s .. s end end)) end",
        "local s = ('x'):rep(1000000) string.format('%q', s .. s)",
    ] {
        let budget = instructions(100_000_000);
        assert_eq!(scripts.exceeds(source, budget), Exceeded::Memory, "{source}");
        assert!(scripts.engine.memory() <= MEMORY + (1 << 20));
    }
}

#[test]
fn string_rep_of_10_gb_is_refused() {
    let mut scripts = Scripts::new();
    for source in [
        "('x'):rep(10000000000)",
        "string.rep('xxxxx', 2000000000)",
        "string.rep('', 10000000000, 'x')",
        "string.rep('x', math.maxinteger)",
    ] {
        assert!(scripts.error(source).contains("resulting string too large"), "{source}");
    }
}

#[test]
fn catastrophic_patterns_end() {
    let mut scripts = Scripts::new();
    for source in [
        "string.find(('a'):rep(1e4), '.-.-.-.-b$')",
        "string.match(('a'):rep(1e4), ('a*'):rep(20) .. 'b')",
        "string.gsub(('a'):rep(1e4), '(.-.-.-.-)b', 'x')",
        "for _ in string.gmatch(('a'):rep(1e4), '.-.-.-.-b') do end",
        "string.gsub(('a'):rep(1e4), '.-.-.-.-b', function() end)",
        "string.find(('('):rep(1e6), '%b()')",
    ] {
        assert!(scripts.error(source).contains("steps to match"), "{source}");
    }
    // Again and again, each within its steps.
    let source = "while true do pcall(string.find, ('a'):rep(1e4), '.-.-.-.-b$') end";
    assert_eq!(scripts.exceeds(source, instructions(3_000_000)), Exceeded::Instructions);
}

#[test]
fn a_giant_output_ends() {
    let mut scripts = Scripts::new();
    for source in [
        "while true do print(('x'):rep(1000)) end",
        "while true do pcall(print, 'x') end",
        "coroutine.wrap(function() while true do pcall(print, 'x') end end)()",
    ] {
        assert_eq!(scripts.exceeds(source, instructions(u64::MAX)), Exceeded::Output, "{source}");
    }
    let outcome =
        scripts.run_with("while true do print('x') end", Budget { output: 9, ..Budget::default() });
    assert_eq!(&outcome.output[..], b"x\nx\nx\nx\nx");
}

#[test]
fn deep_recursion_is_an_error() {
    let mut scripts = Scripts::new();
    for source in [
        "local function f() return 1 + f() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
        "local function f() pcall(f) error('x') end f()",
        "local function f() return coroutine.wrap(f)() end f()",
        "return tostring(setmetatable({}, {__tostring = function(t) return tostring(t) end}))",
        "return load(('('):rep(300) .. '1' .. (')'):rep(300))()",
        "return ('x'):gsub('x', function(x) return x:gsub('x', 'y') and error('deep') end)",
    ] {
        let result = scripts.run_with(source, instructions(2_000_000)).result;
        assert!(
            matches!(result, Err(ScriptError::Failed(_) | ScriptError::Exceeded(_))),
            "{source}: {result:?}"
        );
        assert_eq!(scripts.value("return 7"), 7i64.into());
    }
}

#[test]
fn errors_that_are_no_texts_are_reported() {
    let mut scripts = Scripts::new();
    for source in [
        "error()",
        "error(nil)",
        "error({})",
        "error(true)",
        "error(function() end)",
        "error(setmetatable({}, {__tostring = function() error('again') end}))",
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
        "error(setmetatable({}, {__tostring = function() return {} end}))",
        "error(coroutine.create(function() end))",
        "coroutine.wrap(function() error({}) end)()",
        "error('\\0\\255')",
    ] {
        let result = scripts.run(source).result;
        assert!(
            matches!(result, Err(ScriptError::Failed(_) | ScriptError::Exceeded(_))),
            "{source}: {result:?}"
        );
        assert_eq!(scripts.value("return 7"), 7i64.into());
    }
}

#[test]
fn finalizers_are_not_to_be_had() {
    let mut scripts = Scripts::new();
    assert!(scripts.error("setmetatable({}, {__gc = function() end})").contains("__gc"));
    // Set later, it does not count.
    let source = "local called = false \
        for i = 1, 10000 do local m = {} setmetatable({}, m) m.__gc = function() called = true end end \
        local t = {} for i = 1, 100000 do t = {} end return called";
    assert_eq!(scripts.value(source), false.into());
}

#[test]
fn a_cancelled_script_runs_nothing_more() {
    let mut scripts = Scripts::new();
    let source = "local x <close> = setmetatable({}, {__close = function() closed = true end}) \
        pcall(function() while true do end end) caught = true";
    assert_eq!(scripts.exceeds(source, instructions(100_000)), Exceeded::Instructions);
}

#[test]
fn compiled_scripts_are_refused() {
    let mut scripts = Scripts::new();
    assert_eq!(scripts.value("return string.dump"), crate::Value::Nil);
    assert_eq!(scripts.value("return load('\\27Lua', 'x', 'b')"), crate::Value::Nil);
    let error = scripts.engine.load("x.lua", b"\x1bLua").expect_err("it is refused");
    assert!(matches!(error, ScriptError::Syntax(_)), "{error:?}");
    // Nor by what reads in pieces.
    assert!(scripts.error("load(function() return '\\27Lua' end)").contains("string expected"));
}

#[test]
fn nothing_reaches_the_system() {
    let mut scripts = Scripts::new();
    for name in
        ["os", "io", "package", "debug", "require", "dofile", "loadfile", "collectgarbage", "warn"]
    {
        let source = format!("return {name} == nil and _G['{name}'] == nil");
        assert_eq!(scripts.value(&source), true.into(), "{name}");
    }
    assert_eq!(scripts.value("return getmetatable('')"), false.into());
}

#[test]
fn one_script_cannot_change_what_another_finds() {
    let mut scripts = Scripts::new();
    scripts.run(
        "x = 1 string.rep = nil table.sort = nil _G.pcall = nil coroutine.wrap = error \
         rawset(_G, 'print', error) json.encode = nil",
    );
    let source = "return x == nil and string.rep ~= nil and table.sort ~= nil and pcall ~= nil \
        and ('x'):rep(2) == 'xx' and coroutine.wrap ~= error and json.encode ~= nil";
    assert_eq!(scripts.value(source), true.into());
    assert!(scripts.error("local s = '' s.rep = 1").contains("attempt to index"));
}

#[test]
fn string_format_has_no_tricks() {
    let mut scripts = Scripts::new();
    for source in [
        "string.format('%9999999999d', 1)",
        "string.format('%n', 1)",
        "string.format('%*d', 1, 1)",
        "string.format('%' .. ('0'):rep(1000) .. 'd', 1)",
    ] {
        assert!(matches!(scripts.run(source).result, Err(ScriptError::Failed(_))), "{source}");
    }
    assert_eq!(
        scripts.value("return ('%5.2f|%q|%-4s|'):format(1.5, 'a\\n', 'x')"),
        " 1.50|\"a\\\n\"|x   |".into()
    );
}

#[test]
fn a_chunk_that_a_script_loads_has_a_limit() {
    let mut scripts = Scripts::new();
    let source = "local f, why = load(('x = 1 '):rep(20000)) return f == nil and why";
    assert_eq!(scripts.value(source), "the chunk is longer than a script may load".into());
    assert_eq!(scripts.value("return load('return ...', 'c', 't')(5)"), 5i64.into());
    assert_eq!(scripts.value("return load('return x', 'c', 't', {x = 6})()"), 6i64.into());
}
