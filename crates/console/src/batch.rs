//! Statements without a person: from the command line, or from standard input.
//!
//! The one design choice: the first statement that fails ends it, so that a script never goes on
//! from what it does not have.

use std::io::{self, BufRead, Write};

use medusa_monitor::wire::{Done, Failed, FromServer, MAX_ROWS, Value};

use crate::fault;
use crate::limits::{GATHERED, STATEMENT};
use crate::link::{Link, Trouble};
use crate::lua;
use crate::screen::{Screen, paint};
use crate::show::Show;
use crate::text;

/// What came of a run of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of them ended well.
    Fine,
    /// One has failed, which was told.
    Failed,
}

/// Why there is no end that could be told: no connection, or nothing that takes the output.
pub type Broken = String;

/// Runs statements and shows what they give.
#[derive(Debug)]
pub struct Batch {
    link: Link,
    /// Each value is a line of JSON; whatever is no value goes to standard error.
    json: bool,
}

impl Batch {
    /// Runs on this session.
    pub fn new(link: Link, json: bool) -> Self {
        Self { link, json }
    }

    /// Runs statements, each given as a whole.
    pub fn all(&mut self, statements: &[String]) -> Result<End, Broken> {
        for code in statements {
            if let Err(trouble) = self.run(code) {
                return self.told(trouble, code);
            }
        }
        Ok(End::Fine)
    }

    /// Runs the statements of a text, one a line, unless it goes on in the next.
    pub fn input(&mut self, mut input: impl BufRead) -> Result<End, Broken> {
        let mut code = String::new();
        loop {
            let before = code.len();
            let room = (STATEMENT + 1 - before) as u64;
            let read = io::Read::take(&mut input, room).read_line(&mut code);
            read.map_err(|e| format!("cannot read standard input: {e}"))?;
            if code.len() > STATEMENT {
                let message = format!(
                    "the statement is too long: {STATEMENT} bytes is the limit; take it apart"
                );
                let failed = Failed { message, ..Failed::default() };
                return self.told(Trouble::Failed(failed), "");
            }
            let ended = code.len() == before;
            if lua::is_blank(&code) {
                if ended {
                    return Ok(End::Fine);
                }
                code.clear();
                continue;
            }
            if !ended && lua::is_open(&code) {
                continue;
            }
            match self.run(code.trim_end()) {
                Ok(()) => code.clear(),
                // It goes on, and more may follow.
                Err(Trouble::Failed(failed)) if failed.incomplete && !ended => {}
                Err(trouble) => return self.told(trouble, code.trim_end()),
            }
        }
    }

    fn run(&mut self, code: &str) -> Result<(), Trouble> {
        let json = self.json;
        let (mut broken, mut in_line) = (Ok(()), false);
        let mut print = |said: &str| {
            in_line = !said.ends_with('\n');
            if broken.is_ok() {
                // JSON is for a program, which wants nothing else on standard output.
                let said = text::lines(said);
                broken = if json { put(io::stderr(), &said) } else { put(io::stdout(), &said) };
            }
        };
        let done = self.link.run(code, MAX_ROWS, &mut print)?;
        broken.map_err(Trouble::Lost)?;
        let done = self.gather(done)?;
        let mut out = String::new();
        if in_line && !json {
            out.push('\n');
        }
        if json {
            for value in &done.values {
                out.push_str(&serde_json::to_string(value).expect("values can be written"));
                out.push('\n');
            }
        } else {
            let screen = Screen::output();
            let show = Show { cells: screen.cells, paint: screen.paint, units: &done.units };
            done.values.iter().for_each(|value| out.push_str(&show.value(value)));
        }
        put(io::stdout(), &out).map_err(Trouble::Lost)?;
        if done.cut {
            let note = "note: parts of the result are too deep or too long and were left out\n";
            put(io::stderr(), note).map_err(Trouble::Lost)?;
        }
        Ok(())
    }

    /// A result with all its rows.
    fn gather(&mut self, mut done: Done) -> Result<Done, Trouble> {
        while done.more && rows(&done) < GATHERED {
            let next = self.link.more(MAX_ROWS)?;
            (done.more, done.cut) = (next.more, done.cut | next.cut);
            done.units.extend(next.units);
            match (done.values.first_mut(), next.values.into_iter().next()) {
                (Some(Value::List(list)), Some(Value::List(next))) if !next.is_empty() => {
                    list.extend(next);
                }
                (Some(Value::Map(map)), Some(Value::Map(next))) if !next.is_empty() => {
                    map.extend(next);
                }
                _ => break,
            }
        }
        done.cut |= done.more;
        Ok(done)
    }

    /// Tells of a failure on standard error.
    fn told(&self, trouble: Trouble, code: &str) -> Result<End, Broken> {
        let failed = match trouble {
            Trouble::Lost(why) => return Err(why),
            Trouble::Failed(failed) => failed,
        };
        let told = if self.json {
            let mut line = Vec::new();
            FromServer::Failed(failed).write(&mut line);
            String::from_utf8(line).expect("JSON is UTF-8")
        } else {
            fault::show(&failed, code, paint(&io::stderr()))
        };
        put(io::stderr(), &told)?;
        Ok(End::Failed)
    }
}

fn rows(done: &Done) -> usize {
    match done.values.first() {
        Some(Value::List(list)) => list.len(),
        Some(Value::Map(map)) => map.len(),
        _ => 0,
    }
}

/// Writes; nobody need be reading.
pub fn put(mut to: impl Write, text: &str) -> Result<(), Broken> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write: {e}")),
        _ => Ok(()),
    }
}
