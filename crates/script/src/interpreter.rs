//! One interpreter: the engine's state with its guard, and the functions that replace its own.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Instant;

use mlua::{Function, IntoLuaMulti, Lua, LuaOptions, MultiValue, StdLib, Table, Thread, Variadic};

use crate::guard::Guard;
use crate::library::{Host, Library};
use crate::limits::{LOADED_BYTES, SLOW_CALL, SPARE_THREADS, TEXT_BYTES};
use crate::tasks::{Answer, Tasks};
use crate::texts;
use crate::value::{Value, give, take};

/// What runs once in each new interpreter.
const PRELUDE: &str = include_str!("prelude.lua");

/// An interpreter.
pub(crate) struct Interpreter {
    pub(crate) guard: Guard,
    pub(crate) tasks: Tasks,
    /// Marks tables that are lists, whatever they hold.
    pub(crate) lists: Table,
    environment: Function,
    add: Function,
    finish: Function,
    spare: RefCell<Vec<Thread>>,
    /// Takes what scripts print, when they print it.
    pub(crate) output: RefCell<Option<Output>>,
    pub(crate) lua: Lua,
}

/// Hears what a script prints.
pub(crate) type Output = Rc<dyn Fn(&[u8])>;

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.guard.remove(&self.lua);
    }
}

impl Interpreter {
    /// Makes an interpreter that may use so many bytes of memory.
    pub(crate) fn new(memory: usize, tasks: Tasks) -> mlua::Result<Rc<Self>> {
        let libraries =
            StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::MATH;
        // The engine's own `pcall` stays, for only that lets a script yield inside of it.
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
        let guard = Guard::new(&lua, memory)?;
        let lists = lua.create_table()?;
        lists.raw_set("__metatable", false)?;
        let made = Rc::new_cyclic(|weak: &Weak<Self>| -> Self {
            let (environment, add, finish) =
                prelude(&lua, weak).expect("the prelude runs in a new interpreter");
            Self {
                guard,
                tasks,
                lists,
                environment,
                add,
                finish,
                spare: RefCell::default(),
                output: RefCell::default(),
                lua,
            }
        });
        Ok(made)
    }

    /// The globals of a new script.
    pub(crate) fn environment(&self) -> mlua::Result<Table> {
        self.environment.call(())
    }

    /// Adds a library to all scripts that are loaded from now on.
    pub(crate) fn add(self: &Rc<Self>, library: Library) -> mlua::Result<()> {
        let lua = &self.lua;
        let (nows, laters) = (lua.create_table()?, lua.create_table()?);
        let values = lua.create_table()?;
        for (name, value) in &library.values {
            values.raw_set(*name, give(lua, &self.lists, value)?)?;
        }
        for (name, host) in library.functions {
            let weak = Rc::downgrade(self);
            match host {
                Host::Now(f) => {
                    let f = lua.create_function(move |lua, args: Variadic<mlua::Value>| {
                        let (of, began) = (upgrade(&weak)?, Instant::now());
                        let result = arguments(&of, &args).and_then(|args| f(&args));
                        let answer = answer(lua, &of, result);
                        look_if_slow(&of, lua, began)?;
                        answer
                    })?;
                    nows.raw_set(name, f)?;
                }
                Host::Later(f) => {
                    let f = lua.create_function(move |lua, args: Variadic<mlua::Value>| {
                        let of = upgrade(&weak)?;
                        match arguments(&of, &args) {
                            Err(why) => (mlua::Value::Nil, false, why).into_lua_multi(lua),
                            Ok(args) => {
                                asked(lua, &of, Tasks::await_in(&of, |later| f(&args, later)))
                            }
                        }
                    })?;
                    laters.raw_set(name, f)?;
                }
            }
        }
        self.add.call::<()>((library.name, nows, laters, values))?;
        if let Some(source) = library.source {
            let make: Function = lua.load(source).set_name(format!("={}", library.name)).eval()?;
            self.finish.call::<()>((library.name, make))?;
        }
        Ok(())
    }

    /// A coroutine for a script; one that is kept, if there is one.
    pub(crate) fn thread(&self, function: &Function) -> mlua::Result<Thread> {
        match self.spare.borrow_mut().pop() {
            Some(thread) => {
                thread.reset(function.clone())?;
                Ok(thread)
            }
            None => self.lua.create_thread(function.clone()),
        }
    }

    /// Keeps a coroutine that has come to its end by itself.
    pub(crate) fn keep(&self, thread: Thread) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_THREADS && thread.is_finished() {
            spare.push(thread);
        }
    }

    /// The engine's values for ours.
    pub(crate) fn give_all(&self, values: &[Value]) -> mlua::Result<MultiValue> {
        // One more, for what a script is resumed with stands behind how it went.
        let mut all = MultiValue::with_capacity(values.len() + 1);
        for value in values {
            all.push_back(give(&self.lua, &self.lists, value)?);
        }
        Ok(all)
    }
}

pub(crate) fn upgrade(weak: &Weak<Interpreter>) -> mlua::Result<Rc<Interpreter>> {
    weak.upgrade().ok_or_else(|| mlua::Error::runtime("the interpreter is not there yet"))
}

fn arguments(of: &Rc<Interpreter>, args: &[mlua::Value]) -> Result<Vec<Value>, String> {
    args.iter().map(|value| take(of, value)).collect()
}

/// `true` and the results, or `false` and why not.
fn answer(lua: &Lua, of: &Interpreter, result: Answer) -> mlua::Result<MultiValue> {
    match result {
        Ok(values) => {
            let mut all = MultiValue::with_capacity(values.len() + 1);
            all.push_back(mlua::Value::Boolean(true));
            for value in &values {
                all.push_back(give(lua, &of.lists, value)?);
            }
            Ok(all)
        }
        Err(why) => (false, why).into_lua_multi(lua),
    }
}

/// The number of the answer that a script waits for; or nothing, and the answer.
fn asked(lua: &Lua, of: &Interpreter, asked: Result<u64, Answer>) -> mlua::Result<MultiValue> {
    match asked {
        Ok(token) => token.into_lua_multi(lua),
        Err(result) => {
            let mut values = answer(lua, of, result)?;
            values.push_front(mlua::Value::Nil);
            Ok(values)
        }
    }
}

/// Runs the prelude: what makes globals, what adds a library, what finishes one.
fn prelude(lua: &Lua, weak: &Weak<Interpreter>) -> mlua::Result<(Function, Function, Function)> {
    let host = lua.create_table()?;
    host.raw_set("text_bytes", TEXT_BYTES)?;
    host.raw_set("loaded_bytes", LOADED_BYTES)?;
    texts::add(lua, &host, weak)?;
    let of = weak.clone();
    let emit = lua.create_function(move |_, text: mlua::LuaString| {
        Ok(Tasks::emit(&upgrade(&of)?, &text.as_bytes()))
    })?;
    host.raw_set("emit", emit)?;
    let of = weak.clone();
    let look = lua.create_function(move |lua, ()| upgrade(&of)?.guard.look_soon(lua, 0))?;
    host.raw_set("look", look)?;
    let of = weak.clone();
    let sleep = lua.create_function(move |lua, seconds: mlua::Value| {
        let seconds = seconds.as_f64().or_else(|| seconds.as_integer().map(|n| n as f64));
        match seconds {
            Some(seconds) if seconds >= 0.0 => {
                let of = upgrade(&of)?;
                asked(lua, &of, Tasks::sleep(&of, seconds))
            }
            _ => (mlua::Value::Nil, false, "sleep takes a number of seconds, 0 or more")
                .into_lua_multi(lua),
        }
    })?;
    host.raw_set("sleep", sleep)?;
    let of = weak.clone();
    let start = lua.create_function(move |lua, (f, args): (mlua::Value, MultiValue)| {
        let mlua::Value::Function(f) = f else {
            return (false, "start takes a function and its arguments").into_lua_multi(lua);
        };
        match Tasks::start_child(&upgrade(&of)?, &f, args) {
            Ok(id) => (true, id).into_lua_multi(lua),
            Err(why) => (false, why.to_string()).into_lua_multi(lua),
        }
    })?;
    host.raw_set("start", start)?;
    let of = weak.clone();
    let wait = lua.create_function(move |lua, id: u64| {
        let of = upgrade(&of)?;
        asked(lua, &of, Tasks::wait_for(&of, id))
    })?;
    host.raw_set("wait", wait)?;
    let of = weak.clone();
    let cancel =
        lua.create_function(move |_, id: u64| Ok((true, Tasks::cancel(&upgrade(&of)?, id))))?;
    host.raw_set("cancel", cancel)?;
    lua.load(PRELUDE).set_name("=medusa").call(host)
}

/// Has the clock looked at, if what began then has taken long.
fn look_if_slow(of: &Interpreter, lua: &Lua, began: Instant) -> mlua::Result<()> {
    if began.elapsed() > SLOW_CALL { of.guard.look_soon(lua, 0) } else { Ok(()) }
}
