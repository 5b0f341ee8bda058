//! What can be done with a part of the tree, by whom, and what comes of it.
//!
//! The one design choice: an answer is an object that the action takes along. So an action may
//! end whenever it likes, can say how it is undone, and one that loses its answer refuses.

use std::fmt;

use crate::handle::{Handle, Heard};
use crate::inspect::Outcome;

/// What somebody may do with a running server; each level has all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// See everything, change nothing.
    Look,
    /// What operating takes: connections, logs, what is plugged in, reloads.
    Operate,
    /// Everything.
    All,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Look, Self::Operate, Self::All];

    /// Its word: `look`, `operate`, `all`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Operate => "operate",
            Self::All => "all",
        }
    }

    /// The level of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that can be done with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// What it is told, a word for each argument: `NAME [SECONDS]`, where `[WORD]` may be left
    /// out and the last may be any number (`WORD...`, at least one, or `[WORD...]`).
    pub arguments: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// What it takes to do it.
    pub level: Level,
    /// It says how to undo itself.
    pub undoable: bool,
}

impl Action {
    /// Makes an action for this level that cannot be undone.
    pub const fn new(
        level: Level,
        name: &'static str,
        arguments: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, arguments, about, level, undoable: false }
    }

    /// The same, which can be undone.
    #[must_use]
    pub const fn undoable(self) -> Self {
        Self { undoable: true, ..self }
    }

    /// How it is written: its name and what it is told.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments).trim_end().to_owned()
    }

    /// Whether it can be told so many things.
    fn takes(&self, count: usize) -> bool {
        let words = || self.arguments.split_ascii_whitespace();
        let least = words().filter(|word| !word.starts_with('[')).count();
        let many = words().any(|word| word.trim_end_matches(']').ends_with("..."));
        count >= least && (many || count <= words().count())
    }
}

/// Whether one of `actions` may be carried out so; says why not.
pub(super) fn check(
    actions: &[Action],
    action: &str,
    arguments: usize,
    level: Level,
) -> Result<(), String> {
    let Some(found) = actions.iter().find(|a| a.name == action) else {
        let all: Vec<_> = actions.iter().map(Action::usage).collect();
        let all = match all.as_slice() {
            [] => "nothing can be done here".to_owned(),
            all => format!("there are: {}", all.join(", ")),
        };
        return Err(format!("there is no action `{}` here; {all}", action.escape_debug()));
    };
    if level < found.level {
        return Err(format!("`{action}` is for those who may `{}`, not `{level}`", found.level));
    }
    if !found.takes(arguments) {
        return Err(format!("with {arguments} arguments this cannot be done: {}", found.usage()));
    }
    Ok(())
}

/// Something was done.
#[derive(Debug)]
pub struct Done {
    /// What, in one sentence.
    pub said: String,
    /// How to undo it.
    pub undo: Option<Undo>,
}

/// Undoes what was done, if it still can be; says what that did, or why it cannot be.
pub struct Undo(Box<dyn FnOnce() -> Result<String, String>>);

impl Undo {
    /// Does it.
    pub fn run(self) -> Result<String, String> {
        (self.0)()
    }
}

impl fmt::Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undo")
    }
}

/// Takes the answer of an action; one that is dropped has refused.
pub struct Answer {
    handle: Handle,
    then: Option<Heard<Outcome>>,
}

impl Answer {
    pub(super) fn new(handle: &Handle, then: Heard<Outcome>) -> Self {
        Self { handle: handle.clone(), then: Some(then) }
    }

    /// It is done, for good.
    pub fn done(self, said: impl Into<String>) {
        self.give(Outcome::Done(Done { said: said.into(), undo: None }));
    }

    /// It is done, and `undo` undoes it.
    pub fn undoable(
        self,
        said: impl Into<String>,
        undo: impl FnOnce() -> Result<String, String> + 'static,
    ) {
        let undo = Some(Undo(Box::new(undo)));
        self.give(Outcome::Done(Done { said: said.into(), undo }));
    }

    /// It is not done, and why.
    pub fn refused(self, why: impl Into<String>) {
        self.give(Outcome::Refused(why.into()));
    }

    /// It is done for good, or not done.
    pub fn result(self, result: Result<String, String>) {
        match result {
            Ok(said) => self.done(said),
            Err(why) => self.refused(why),
        }
    }

    fn give(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    /// Later, so that whoever hears it finds nothing borrowed by whoever answers, nor a panic.
    fn send(&mut self, outcome: Outcome) {
        if let Some(then) = self.then.take() {
            self.handle.later(move |_| then(outcome));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(Outcome::Refused("it was given up before it ended".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_an_action_says_how_many_arguments_it_takes() {
        let takes = |arguments, counts: &[usize]| {
            let action = Action::new(Level::Look, "a", arguments, "");
            let taken: Vec<_> = (0..5).filter(|&count| action.takes(count)).collect();
            assert_eq!(taken, counts, "{arguments}");
        };
        takes("", &[0]);
        takes("NAME", &[1]);
        takes("NAME [SECONDS]", &[1, 2]);
        takes("[NAME] [SECONDS]", &[0, 1, 2]);
        takes("NAME...", &[1, 2, 3, 4]);
        takes("NAME [MORE...]", &[1, 2, 3, 4]);
        takes("[MORE...]", &[0, 1, 2, 3, 4]);
    }

    #[test]
    fn levels_are_ordered_and_have_words() {
        assert!(Level::Look < Level::Operate && Level::Operate < Level::All);
        for level in Level::ALL {
            assert_eq!(Level::of(level.as_str()), Some(level));
        }
        assert_eq!(Level::of("root"), None);
    }
}
