//! What a script may use, and how it ends.

use std::fmt;
use std::time::Duration;

use crate::limits::MESSAGE_BYTES;

/// What one script may use. A script that it starts shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Instructions of the engine; counted in windows of [`crate::limits::WINDOW`].
    pub instructions: u64,
    /// Time that it runs. Waiting does not count.
    pub time: Duration,
    /// Time from its start to its end, waiting included.
    pub within: Duration,
    /// Bytes that it may print.
    pub output: usize,
}

impl Budget {
    /// For a handler of a request: 2 s of running, a minute in all, 64 KiB of output.
    pub const HANDLER: Self = Self {
        instructions: 1_000_000_000,
        time: Duration::from_secs(2),
        within: Duration::from_secs(60),
        output: 64 << 10,
    };

    /// For a statement that a person typed: 10 s of running, an hour in all, 256 KiB of output.
    pub const STATEMENT: Self = Self {
        instructions: 10_000_000_000,
        time: Duration::from_secs(10),
        within: Duration::from_secs(3600),
        output: 256 << 10,
    };
}

impl Default for Budget {
    fn default() -> Self {
        Self::HANDLER
    }
}

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// [`Budget::instructions`].
    Instructions,
    /// [`Budget::time`].
    Time,
    /// [`Budget::within`].
    Deadline,
    /// The memory of the interpreter, or the length of a single text.
    Memory,
    /// [`Budget::output`].
    Output,
    /// It ran too long inside a function of the engine, where it cannot be interrupted
    /// ([`crate::limits::UNINTERRUPTED`]).
    Uninterrupted,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instructions => "the script used up its budget of instructions",
            Self::Time => "the script used up its budget of running time",
            Self::Deadline => "the script did not end within its time",
            Self::Memory => {
                "the script used up the memory of its interpreter, or made a text that is too long"
            }
            Self::Output => "the script printed more than its budget of output",
            Self::Uninterrupted => {
                "the script ran too long inside a function of the engine (a metamethod called by \
                 one, for instance), where it cannot be interrupted"
            }
        })
    }
}

/// Why a script gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// It is not valid Lua.
    Syntax(Place),
    /// It raised an error that nothing caught.
    Failed(Place),
    /// A budget is used up.
    Exceeded(Exceeded),
    /// Somebody cancelled it.
    Cancelled,
    /// It could not be started; the text says why.
    Refused(String),
}

/// What went wrong in a script, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or what else the script is called.
    pub file: String,
    /// The line, counted from 1; 0 when it is not known.
    pub line: u32,
    /// What went wrong.
    pub message: String,
    /// The calls that led there, a line each; empty for mistakes in the text.
    pub traceback: String,
}

impl Place {
    /// Takes what the engine says apart: `FILE:LINE: MESSAGE`, and a traceback behind it.
    pub(crate) fn read(text: &str) -> Self {
        let (head, traceback) = text.split_once("\nstack traceback:\n").unwrap_or((text, ""));
        let traceback = traceback.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let place = |rest: &str| -> Option<(String, u32, String)> {
            let at = rest.match_indices(':').find_map(|(at, _)| {
                let digits = rest[at + 1..].find(|c: char| !c.is_ascii_digit())?;
                let line = rest[at + 1..at + 1 + digits].parse().ok()?;
                let message = rest[at + 1 + digits..].strip_prefix(": ")?;
                Some((rest[..at].to_owned(), line, message.to_owned()))
            })?;
            (!at.0.contains('\n')).then_some(at)
        };
        let (file, line, message) =
            place(head).unwrap_or_else(|| (String::new(), 0, head.to_owned()));
        Self { file, line, message: cut(message), traceback: cut(traceback) }
    }
}

/// Cuts a text that is longer than [`MESSAGE_BYTES`].
fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.file, self.line)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(place) | Self::Failed(place) => place.fmt(f),
            Self::Exceeded(what) => what.fmt(f),
            Self::Cancelled => f.write_str("the script was cancelled"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ScriptError {}

impl ScriptError {
    /// The calls that led to the error, a line each; empty when there are none.
    pub fn traceback(&self) -> &str {
        match self {
            Self::Syntax(place) | Self::Failed(place) => &place.traceback,
            _ => "",
        }
    }
}

/// Our error for the engine's.
pub(crate) fn failure(error: &mlua::Error) -> ScriptError {
    match error {
        mlua::Error::MemoryError(_) => ScriptError::Exceeded(Exceeded::Memory),
        mlua::Error::RuntimeError(text) if text.starts_with("not enough memory") => {
            ScriptError::Exceeded(Exceeded::Memory)
        }
        mlua::Error::RuntimeError(text) => ScriptError::Failed(Place::read(text)),
        mlua::Error::SyntaxError { message, .. } => ScriptError::Syntax(Place::read(message)),
        mlua::Error::CallbackError { traceback, cause } => match failure(cause) {
            ScriptError::Failed(place) => {
                let trace = traceback.trim_start_matches("stack traceback:\n");
                let text = format!("{}\nstack traceback:\n{trace}", place.message);
                ScriptError::Failed(Place::read(&text))
            }
            other => other,
        },
        other => ScriptError::Failed(Place::read(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart() {
        let place = Place::read("a:b.lua:12: no: way\nstack traceback:\n\t[C]: in x\n\ta: in y");
        assert_eq!((&*place.file, place.line, &*place.message), ("a:b.lua", 12, "no: way"));
        assert_eq!(place.traceback, "[C]: in x\na: in y");
        assert_eq!(place.to_string(), "a:b.lua:12: no: way");
        let plain = Place::read("just words");
        assert_eq!((&*plain.file, plain.line, &*plain.message), ("", 0, "just words"));
        assert!(Place::read(&"é".repeat(MESSAGE_BYTES)).message.len() <= MESSAGE_BYTES + 3);
    }
}
