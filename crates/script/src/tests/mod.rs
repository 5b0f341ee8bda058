//! Scripts on the harness, under virtual time. Running time is real, and never asserted.

mod gotchas;
mod libraries;
mod patterns;
mod scheduling;
mod stores;

use std::cell::RefCell;
use std::rc::Rc;

use medusa_core::testing::Harness;

use crate::{Budget, Callable, Engine, Exceeded, Outcome, ScriptError, Value};

/// Memory of the interpreters in tests, in bytes.
const MEMORY: usize = 32 << 20;

/// A loop with an engine.
struct Scripts {
    h: Harness,
    engine: Engine,
}

impl Scripts {
    fn new() -> Self {
        let h = Harness::new();
        let engine = Engine::new(&h.handle(), MEMORY).expect("an interpreter can be made");
        Self { h, engine }
    }

    /// Calls a function and runs it to its end.
    fn call(&mut self, function: &Callable, args: &[Value]) -> Outcome {
        let ended = Rc::new(RefCell::new(None));
        let to = ended.clone();
        self.engine.call(function, args, Budget::default()).then(move |outcome| {
            to.replace(Some(outcome));
        });
        self.ended(&ended)
    }

    /// Lets time pass until a script has ended.
    fn ended(&mut self, ended: &RefCell<Option<Outcome>>) -> Outcome {
        while ended.borrow().is_none() {
            let wait = self.h.next_due().expect("something is due as long as a script runs");
            self.h.advance(wait);
        }
        ended.take().expect("it has ended")
    }

    /// Begins a script; what it ends with comes into the cell.
    fn begin(&mut self, source: &str, budget: Budget) -> Rc<RefCell<Option<Outcome>>> {
        let ended = Rc::new(RefCell::new(None));
        let script = match self.engine.load("test.lua", source.as_bytes()) {
            Ok(script) => script,
            Err(error) => panic!("{error}"),
        };
        let to = ended.clone();
        self.engine.call(&script, &[], budget).then(move |outcome| {
            to.replace(Some(outcome));
        });
        ended
    }

    /// Runs a script to its end, however much time it sleeps.
    fn run_with(&mut self, source: &str, budget: Budget) -> Outcome {
        let ended = self.begin(source, budget);
        self.ended(&ended)
    }

    fn run(&mut self, source: &str) -> Outcome {
        self.run_with(source, Budget::default())
    }

    /// The one value that a script returns.
    fn value(&mut self, source: &str) -> Value {
        match self.run(source).result {
            Ok(values) => values.into_iter().next().unwrap_or_default(),
            Err(error) => panic!("{error}\n{}", error.traceback()),
        }
    }

    /// What the error of a script says.
    fn error(&mut self, source: &str) -> String {
        self.run(source).result.expect_err("the script fails").to_string()
    }

    /// Which budget a script exceeds; the interpreter must serve others after it.
    fn exceeds(&mut self, source: &str, budget: Budget) -> Exceeded {
        let exceeded = match self.run_with(source, budget).result {
            Err(ScriptError::Exceeded(which)) => which,
            other => panic!("the script ends with {other:?}"),
        };
        assert_eq!(self.value("return 1 + 1"), Value::Integer(2));
        assert_eq!(self.engine.tasks(), 0);
        exceeded
    }
}

/// A budget with so many instructions, and time enough.
fn instructions(instructions: u64) -> Budget {
    let long = std::time::Duration::from_secs(600);
    Budget { instructions, time: long, within: 10 * long, ..Budget::default() }
}
