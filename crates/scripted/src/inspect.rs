//! What the inspection tree shows of scripts, and what can be done with them there.

use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::Handle;
use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value};
use medusa_script::ScriptError;
use medusa_script::limits::SOURCE_BYTES;

use crate::host::Host;
use crate::script::{Script, explained};
use crate::scripts::Scripts;

/// What can be done with all of them.
const ALL: &[Action] = &[
    Action::new(
        Level::All,
        "load",
        "NAME FILE",
        "Loads a file as the next version of a script, or as a new one that acts on events and \
         timers.",
    ),
    Action::new(
        Level::All,
        "define",
        "NAME TEXT",
        "Loads a text as `load` does a file. It lasts until the server ends.",
    ),
    Action::new(
        Level::Operate,
        "drop",
        "NAME",
        "Ends a script with all that it is doing, until the configuration is loaded again.",
    ),
];

/// What can be done with one.
const ONE: &[Action] = &[
    Action::new(Level::Operate, "reload", "", "Reads its file again and takes the new version."),
    Action::new(
        Level::Operate,
        "cancel",
        "",
        "Ends the calls of its functions that run or wait; it stays loaded.",
    ),
];

/// Reads a script's file on a helper thread.
fn read(handle: &Handle, file: String, then: impl FnOnce(Result<Bytes, String>) + 'static) {
    let work = move || -> io::Result<Vec<u8>> {
        let mut source = Vec::new();
        File::open(file)?.take(SOURCE_BYTES as u64 + 1).read_to_end(&mut source)?;
        Ok(source)
    };
    handle.run(work, move |source| {
        then(match source {
            Ok(Ok(source)) => Ok(source.into()),
            Ok(Err(error)) => Err(format!("cannot read the file: {error}")),
            Err(lost) => Err(lost.to_string()),
        });
    });
}

/// Says what came of loading.
fn tell(answer: Answer, name: &str, loaded: Result<(), ScriptError>) {
    match loaded {
        Ok(()) => answer.done(format!("script {name} is loaded")),
        Err(error) => answer.refused(format!("nothing has changed: {}", explained(&error))),
    }
}

/// The scripts as the inspection tree has them.
pub struct Shown(pub Rc<Scripts>);

/// One of them.
struct One(Rc<Script>);

impl Inspect for Shown {
    fn node(&self) -> Node {
        let engine = self.0.host.get().map(Host::engine);
        let node = Node::new("scripts")
            .field("memory", Value::Bytes(engine.map_or(0, |e| e.memory() as u64)))
            .field("most memory", Value::Bytes(self.0.options().memory as u64))
            .field("running", Value::Count(engine.map_or(0, |e| e.tasks() as u64)));
        let children = self.0.all().iter().map(|script| script.name().to_owned()).collect();
        Node { children, ..node }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        self.0.find(name).map(|script| Rc::new(One(script)) as Rc<dyn Inspect>)
    }

    fn actions(&self) -> &'static [Action] {
        ALL
    }

    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        let scripts = self.0.clone();
        match (action, arguments) {
            ("load", [name, file]) => {
                let (name, shown) = (name.clone(), file.clone());
                read(&self.0.handle, file.clone(), move |source| match source {
                    Ok(source) => {
                        let told = name.clone();
                        let then = move |loaded| tell(answer, &told, loaded);
                        scripts.load_by_hand(&name, &shown, source, then);
                    }
                    Err(why) => answer.refused(why),
                });
            }
            ("define", [name, text]) => {
                let (told, source) = (name.clone(), Bytes::copy_from_slice(text.as_bytes()));
                scripts.load_by_hand(name, name, source, move |loaded| tell(answer, &told, loaded));
            }
            ("drop", [name]) if scripts.drop_script(name) => {
                answer.done(format!("script {name} has ended"));
            }
            ("drop", [name]) => answer.refused(format!("there is no script `{name}`")),
            _ => answer.refused(format!("there is no action `{action}` here")),
        }
    }
}

impl Inspect for One {
    fn node(&self) -> Node {
        let script = &self.0;
        let (calls, errors, last_error) = script.figures();
        let state = if script.version().is_some() { "loaded" } else { "not loaded" };
        Node::new("script")
            .field("file", Value::Text(script.plan().file))
            .field("purpose", Value::Text(script.purpose().to_owned()))
            .field("state", Value::Text(state.to_owned()))
            .field("loads", Value::Count(script.loads()))
            .field("calls", Value::Count(calls))
            .field("errors", Value::Count(errors))
            .field("last error", Value::Text(last_error))
            .field("running", Value::Count(script.running() as u64))
    }

    fn actions(&self) -> &'static [Action] {
        ONE
    }

    fn act(&self, action: &str, _: &[String], answer: Answer) {
        let script = self.0.clone();
        match action {
            "reload" => {
                let (file, handle) = (script.plan().file, script.host().0.handle.clone());
                read(&handle, file, move |source| match source {
                    Ok(source) => {
                        let name = script.name().to_owned();
                        script.load(source, move |loaded| tell(answer, &name, loaded));
                    }
                    Err(why) => answer.refused(why),
                });
            }
            "cancel" => answer.done(format!("{} calls have ended", script.cancel_calls())),
            _ => answer.refused(format!("there is no action `{action}` here")),
        }
    }
}
