//! The functions of texts that match patterns, in place of the engine's own.

use std::rc::Weak;

use mlua::{IntoLua, IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

use crate::interpreter::{Interpreter, upgrade};
use crate::limits::{PATTERN_STEPS, SLOW_MATCH};
use crate::pattern::{self, Capture, Match, UNFINISHED};

/// Text, pattern, where to begin, and whether the pattern is searched for as it is.
type Args = (LuaString, LuaString, Option<i64>, Option<bool>);
/// Text, pattern, where to begin, where the last match ended, and whether it is to match there.
type Next = (LuaString, LuaString, usize, Option<usize>, bool);
/// Text, pattern, replacement, and how often.
type Replace = (LuaString, LuaString, LuaString, Option<i64>);

/// An index as scripts count, as one of ours; negative ones count from the end.
fn index(init: Option<i64>, len: usize) -> Option<usize> {
    let init = init.unwrap_or(1);
    let at = match init {
        1.. => init as usize - 1,
        0 => 0,
        _ => len.saturating_sub(init.unsigned_abs() as usize),
    };
    (at <= len).then_some(at)
}

/// The functions that match patterns.
pub(crate) fn add(lua: &Lua, host: &Table, weak: &Weak<Interpreter>) -> mlua::Result<()> {
    let of = weak.clone();
    let find = lua.create_function(move |lua, (text, pattern, init, plain): Args| {
        let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
        let Some(from) = index(init, text.len()) else {
            return (true, Value::Nil).into_lua_multi(lua);
        };
        if plain == Some(true) || !pattern.iter().any(|c| b"^$*+?.([%-".contains(c)) {
            return match memchr::memmem::find(&text[from..], &pattern) {
                Some(at) => (true, from + at + 1, from + at + pattern.len()).into_lua_multi(lua),
                None => (true, Value::Nil).into_lua_multi(lua),
            };
        }
        told(lua, &text, first(lua, &of, &text, &pattern, from)?, true)
    })?;
    host.raw_set("find", find)?;

    let of = weak.clone();
    let matches = lua.create_function(move |lua, (text, pattern, init, _): Args| {
        let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
        let Some(from) = index(init, text.len()) else {
            return (true, Value::Nil).into_lua_multi(lua);
        };
        told(lua, &text, first(lua, &of, &text, &pattern, from)?, false)
    })?;
    host.raw_set("match", matches)?;

    let of = weak.clone();
    let next = lua.create_function(move |lua, (text, pattern, at, last, only_here): Next| {
        let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
        let mut steps = PATTERN_STEPS;
        // Scripts count from 1, and name the end by its last byte.
        let from = at.saturating_sub(1);
        let found = pattern::find(&text, &pattern, from, only_here, last, &mut steps);
        charge(lua, &of, steps)?;
        told(lua, &text, found, true)
    })?;
    host.raw_set("next_match", next)?;

    let of = weak.clone();
    let replace = lua.create_function(move |lua, (text, pattern, with, most): Replace| {
        let mut steps = PATTERN_STEPS;
        let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0));
        let replaced = pattern::replace(
            &text.as_bytes(),
            &pattern.as_bytes(),
            &with.as_bytes(),
            most,
            &mut steps,
        );
        charge(lua, &of, steps)?;
        match replaced {
            Ok((text, count)) => (true, lua.create_string(text)?, count).into_lua_multi(lua),
            Err(why) => (false, why).into_lua_multi(lua),
        }
    })?;
    host.raw_set("replace", replace)
}

/// The first match of a pattern that may be anchored.
fn first(
    lua: &Lua,
    of: &Weak<Interpreter>,
    text: &[u8],
    pattern: &[u8],
    from: usize,
) -> mlua::Result<Result<Option<Match>, String>> {
    let mut steps = PATTERN_STEPS;
    let (pattern, anchored) = pattern::anchor(pattern);
    let found = pattern::find(text, pattern, from, anchored, None, &mut steps);
    charge(lua, of, steps)?;
    Ok(found)
}

/// Counts the steps of a match that was long.
fn charge(lua: &Lua, of: &Weak<Interpreter>, steps_left: u32) -> mlua::Result<()> {
    if PATTERN_STEPS - steps_left > SLOW_MATCH {
        upgrade(of)?.guard.look_soon(lua, u64::from(PATTERN_STEPS - steps_left) / 4)?;
    }
    Ok(())
}

/// What scripts are told of a search: its place and captures, or with `places` unset the captures
/// or the whole match; nil; or why it failed.
fn told(
    lua: &Lua,
    text: &[u8],
    found: Result<Option<Match>, String>,
    places: bool,
) -> mlua::Result<MultiValue> {
    match found {
        Ok(Some(found)) => {
            let mut values = if places {
                (true, found.start + 1, found.end).into_lua_multi(lua)?
            } else {
                true.into_lua_multi(lua)?
            };
            push_captures(lua, text, &found, !places, &mut values)?;
            Ok(values)
        }
        Ok(None) => (true, Value::Nil).into_lua_multi(lua),
        Err(why) => (false, why).into_lua_multi(lua),
    }
}

fn push_captures(
    lua: &Lua,
    text: &[u8],
    found: &Match,
    or_whole: bool,
    into: &mut MultiValue,
) -> mlua::Result<()> {
    if found.captures.is_empty() && or_whole {
        into.push_back(Value::String(lua.create_string(&text[found.start..found.end])?));
    }
    for capture in &found.captures {
        into.push_back(match capture {
            Capture::Range(from, until) => Value::String(lua.create_string(&text[*from..*until])?),
            Capture::Position(at) => (at + 1).into_lua(lua)?,
            Capture::Unfinished => {
                into.clear();
                into.push_back(Value::Boolean(false));
                into.push_back(Value::String(lua.create_string(UNFINISHED)?));
                return Ok(());
            }
        });
    }
    Ok(())
}
