//! What the rest of the server sees of scripts: an engine that loads and calls them.

use std::fmt;
use std::rc::{Rc, Weak};

use medusa_core::Handle;
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, StdLib, Table};

use crate::call::{Begun, Outcome};
use crate::error::{Budget, Place, ScriptError, failure};
use crate::interpreter::Interpreter;
use crate::library::{self, Library};
use crate::limits::SOURCE_BYTES;
use crate::tasks::Tasks;
use crate::value::Value;

/// An interpreter on the loop's thread; cheap to clone. All scripts of one engine share its
/// memory, but nothing else that they could change.
#[derive(Clone)]
pub struct Engine(Rc<Interpreter>);

/// A function of a script, or a whole script: it can be called as often as one likes.
#[derive(Clone)]
pub struct Callable {
    pub(crate) interpreter: Rc<Interpreter>,
    pub(crate) function: Function,
}

impl Callable {
    /// The engine that it is of.
    pub fn engine(&self) -> Engine {
        Engine(self.interpreter.clone())
    }
}

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callable")
    }
}

impl Engine {
    /// Makes an interpreter that may use `memory` bytes, with the standard libraries.
    pub fn new(handle: &Handle, memory: usize) -> Result<Self, ScriptError> {
        let made = Interpreter::new(memory, Tasks::new(handle.clone())).map_err(|e| failure(&e))?;
        let engine = Self(made);
        for library in library::standard(handle) {
            engine.add(library)?;
        }
        Ok(engine)
    }

    /// Adds a library to all scripts that are loaded from now on.
    pub fn add(&self, library: Library) -> Result<(), ScriptError> {
        self.0.add(library).map_err(|e| failure(&e))
    }

    /// Compiles a script under the name of its file. Nothing of it runs; called, it runs from
    /// top to bottom, and its results are what it returns. It has globals of its own.
    pub fn load(&self, file: &str, source: &[u8]) -> Result<Callable, ScriptError> {
        let environment = self.0.environment().map_err(|e| failure(&e))?;
        let function = compile(&self.0.lua, file, source, Some(environment))?;
        Ok(Callable { interpreter: self.0.clone(), function })
    }

    /// Calls a function of a script. It runs for a slice at once, unless it is called from inside
    /// a script: then, and for all that is left of it, when the loop comes round.
    pub fn call(&self, function: &Callable, arguments: &[Value], budget: Budget) -> Begun {
        self.call_for(0, function, arguments, budget)
    }

    /// Calls a function of a script for an owner: a number other than 0, by which the scripts that
    /// come of it are known together.
    pub fn call_for(
        &self,
        owner: u64,
        function: &Callable,
        arguments: &[Value],
        budget: Budget,
    ) -> Begun {
        self.begin(owner, function, arguments, budget, false)
    }

    /// The same for what must not wait for anything, as a script that is being loaded: where it
    /// would, an error is raised in it.
    pub fn call_hurried(
        &self,
        owner: u64,
        function: &Callable,
        arguments: &[Value],
        budget: Budget,
    ) -> Begun {
        self.begin(owner, function, arguments, budget, true)
    }

    fn begin(
        &self,
        owner: u64,
        function: &Callable,
        arguments: &[Value],
        budget: Budget,
        hurries: bool,
    ) -> Begun {
        if !Rc::ptr_eq(&self.0, &function.interpreter) {
            let why = "the function is one of another engine".to_owned();
            return Begun::Ended(Outcome::refused(ScriptError::Refused(why)));
        }
        match self.0.give_all(arguments) {
            Ok(arguments) => {
                Tasks::begin(&self.0, owner, &function.function, arguments, budget, hurries)
            }
            Err(error) => Begun::Ended(Outcome::refused(failure(&error))),
        }
    }

    /// Has `output` hear what scripts print, when they print it, instead of whoever hears how they
    /// end. It is called from inside of them and must not call this engine. Budgets count as before.
    pub fn stream_output(&self, output: impl Fn(&[u8]) + 'static) {
        *self.0.output.borrow_mut() = Some(Rc::new(output));
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.0.guard.used()
    }

    /// Scripts that run or wait.
    pub fn tasks(&self) -> usize {
        self.0.tasks.len()
    }

    /// Scripts of this owner that run or wait.
    pub fn tasks_of(&self, owner: u64) -> usize {
        self.0.tasks.count_of(owner)
    }

    /// The owner of the script that runs this moment, for functions that it calls; 0 is none.
    pub fn owner(&self) -> u64 {
        self.0.tasks.owner()
    }

    /// Cancels all scripts of this owner.
    pub fn cancel_all(&self, owner: u64) {
        Tasks::cancel_all(&self.0, owner);
    }

    /// A reference that does not keep the engine.
    pub fn downgrade(&self) -> WeakEngine {
        WeakEngine(Rc::downgrade(&self.0))
    }
}

/// An engine that may be gone: what its own libraries hold of it.
#[derive(Clone)]
pub struct WeakEngine(Weak<Interpreter>);

impl WeakEngine {
    /// The engine, if it is still there.
    pub fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(Engine)
    }
}

/// Compiles a script and throws it away, to learn whether it is valid Lua. It needs no loop.
///
/// # Errors
///
/// [`ScriptError::Syntax`], with line and message.
pub fn check(file: &str, source: &[u8]) -> Result<(), ScriptError> {
    let lua = Lua::new_with(StdLib::NONE, LuaOptions::new()).map_err(|e| failure(&e))?;
    compile(&lua, file, source, None).map(|_| ())
}

fn compile(
    lua: &Lua,
    file: &str,
    source: &[u8],
    environment: Option<Table>,
) -> Result<Function, ScriptError> {
    if source.len() > SOURCE_BYTES {
        let message = format!("the script is longer than {SOURCE_BYTES} bytes");
        let file = file.to_owned();
        return Err(ScriptError::Syntax(Place {
            file,
            line: 0,
            message,
            traceback: String::new(),
        }));
    }
    // A first line that names an interpreter is for the shell.
    let source = if source.starts_with(b"#") {
        &source[memchr::memchr(b'\n', source).unwrap_or(source.len())..]
    } else {
        source
    };
    // Compiled scripts are not verified by the engine, so only texts are taken.
    let mut chunk = lua.load(source).set_name(format!("@{file}")).set_mode(ChunkMode::Text);
    if let Some(environment) = environment {
        chunk = chunk.set_environment(environment);
    }
    chunk.into_function().map_err(|e| failure(&e))
}
