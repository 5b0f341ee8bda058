//! What the rest of the server sees of scripts: an engine that loads and calls them.

use std::fmt;
use std::rc::Rc;

use medusa_core::Handle;
use mlua::Function;
use mlua::chunk::ChunkMode;

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
        let refused = |message: String| {
            let file = file.to_owned();
            ScriptError::Syntax(Place { file, line: 0, message, traceback: String::new() })
        };
        if source.len() > SOURCE_BYTES {
            return Err(refused(format!("the script is longer than {SOURCE_BYTES} bytes")));
        }
        // A first line that names an interpreter is for the shell.
        let source = if source.starts_with(b"#") {
            &source[memchr::memchr(b'\n', source).unwrap_or(source.len())..]
        } else {
            source
        };
        let environment = self.0.environment().map_err(|e| failure(&e))?;
        let chunk = self.0.lua.load(source).set_name(format!("@{file}"));
        // Compiled scripts are not verified by the engine, so only texts are taken.
        let chunk = chunk.set_mode(ChunkMode::Text).set_environment(environment);
        let function = chunk.into_function().map_err(|e| failure(&e))?;
        Ok(Callable { interpreter: self.0.clone(), function })
    }

    /// Calls a function of a script. It runs for a slice at once, unless it is called from inside
    /// a script: then, and for all that is left of it, when the loop comes round.
    pub fn call(&self, function: &Callable, arguments: &[Value], budget: Budget) -> Begun {
        if !Rc::ptr_eq(&self.0, &function.interpreter) {
            let why = "the function is one of another engine".to_owned();
            return Begun::Ended(Outcome::refused(ScriptError::Refused(why)));
        }
        match self.0.give_all(arguments) {
            Ok(arguments) => Tasks::begin(&self.0, &function.function, arguments, budget),
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
}
