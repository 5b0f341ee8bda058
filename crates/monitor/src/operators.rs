//! The file of operators: a line `NAME:ROLE:RECORD` for each, as `medusa passwd --monitor` writes
//! it.
//!
//! Empty lines and lines that begin with `#` count for nothing. A line `!decoy:KEY` holds the key
//! that salts of names are made with that do not exist, so that they stay the same and cannot be
//! told from real ones. The one design choice is that of password files: a file with one line that
//! makes no sense is refused as a whole.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medusa_auth::scram::Record;

use crate::wire::Role;

/// The longest name in bytes.
pub const MAX_NAME: usize = 64;

/// Operators in one file.
pub const MAX_OPERATORS: usize = 1000;

/// Bytes of one file.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// What begins the line of the key.
const DECOY: &str = "!decoy";

/// Who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operators {
    operators: HashMap<Box<str>, (Role, Record)>,
    decoy: Option<[u8; 32]>,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum OperatorsError {
    /// It cannot be read.
    Io(io::Error),
    /// It has more than [`MAX_FILE_BYTES`] or [`MAX_OPERATORS`].
    TooLarge,
    /// What is wrong with this line, counted from 1.
    Line(usize, &'static str),
    /// It has operators and no key.
    NoKey,
}

impl fmt::Display for OperatorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) if e.kind() == io::ErrorKind::NotFound => {
                f.write_str("there is none; `medusa passwd --monitor NAME` makes it")
            }
            Self::Io(e) => write!(f, "cannot read it: {e}"),
            Self::TooLarge => write!(
                f,
                "it is larger than {MAX_FILE_BYTES} bytes, or has more than {MAX_OPERATORS} \
                 operators"
            ),
            Self::Line(number, why) => write!(f, "line {number}: {why}"),
            Self::NoKey => write!(
                f,
                "it has no line `{DECOY}:KEY`; `medusa passwd --monitor` adds one when it changes \
                 an operator"
            ),
        }
    }
}

impl std::error::Error for OperatorsError {}

/// Whether this can be the name of an operator: 1 to [`MAX_NAME`] letters, digits, `.`, `_`, `-`
/// and `@` of ASCII, the first a letter or a digit.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

impl Operators {
    /// Reads a file; blocks.
    pub fn read(path: &Path) -> Result<Self, OperatorsError> {
        let mut text = String::new();
        let file = File::open(path).map_err(OperatorsError::Io)?;
        file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(OperatorsError::Io)?;
        Self::parse(&text)
    }

    /// Takes the text of a file apart.
    pub fn parse(text: &str) -> Result<Self, OperatorsError> {
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(OperatorsError::TooLarge);
        }
        let mut read = Self { operators: HashMap::new(), decoy: None };
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            read.line(line).map_err(|why| OperatorsError::Line(number, why))?;
            if read.operators.len() > MAX_OPERATORS {
                return Err(OperatorsError::TooLarge);
            }
        }
        if read.decoy.is_none() && !read.is_empty() {
            return Err(OperatorsError::NoKey);
        }
        Ok(read)
    }

    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let mut parts = line.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let second = parts.next().ok_or("it must be NAME:ROLE:RECORD")?;
        if name == DECOY {
            let key = STANDARD.decode(second).ok().and_then(|key| key.try_into().ok());
            self.decoy = Some(key.ok_or("this is no key")?);
            return Ok(());
        }
        let record = parts.next().ok_or("it must be NAME:ROLE:RECORD")?;
        if !is_name(name) {
            return Err("a name has 1 to 64 letters, digits, `.`, `_`, `-` and `@`");
        }
        let role = second.parse().map_err(|_| "the role is look, operate or all")?;
        let record = record.parse().map_err(
            |_| "this is no record of SCRAM-SHA-256; make it by `medusa passwd --monitor`",
        )?;
        if self.operators.insert(name.into(), (role, record)).is_some() {
            return Err("this name stands in an earlier line too");
        }
        Ok(())
    }

    /// The role and the record of an operator; for a name that does not exist, no role and a
    /// record that looks like any other.
    pub fn look_up(&self, name: &str) -> (Option<Role>, Record) {
        match self.operators.get(name) {
            Some((role, record)) => (Some(*role), record.clone()),
            None => (None, Record::of_nobody(name, &self.decoy.unwrap_or_default())),
        }
    }

    /// Whether it has an operator of this name.
    pub fn has(&self, name: &str) -> bool {
        self.operators.contains_key(name)
    }

    /// How many operators it has.
    pub fn len(&self) -> usize {
        self.operators.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.operators.is_empty()
    }
}

/// The text of a file with this line for an operator, or without the operator. All other lines
/// stay as they are; the key is added if there is none. `None` if there is no such operator to be
/// removed.
///
/// # Errors
///
/// The system gives no random numbers.
pub fn edit(
    text: &str,
    name: &str,
    entry: Option<(Role, &Record)>,
) -> Result<Option<String>, getrandom::Error> {
    let line = entry.map(|(role, record)| format!("{name}:{role}:{record}"));
    let mut lines: Vec<&str> = text.lines().collect();
    let is_of = |line: &str, name: &str| {
        line.trim().split_once(':').is_some_and(|(other, _)| other == name)
    };
    let at = lines.iter().position(|line| is_of(line, name));
    match (&line, at) {
        (Some(line), Some(at)) => lines[at] = line,
        (Some(line), None) => lines.push(line),
        (None, Some(at)) => _ = lines.remove(at),
        (None, None) => return Ok(None),
    }
    let key;
    if !lines.iter().any(|line| is_of(line, DECOY)) {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        key = format!("{DECOY}:{}", STANDARD.encode(bytes));
        lines.insert(0, &key);
    }
    Ok(Some(lines.join("\n") + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::with("secret", b"salt", 4096)
    }

    fn error(text: &str) -> String {
        Operators::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn operators_are_added_changed_and_removed() {
        let added = edit("# who\n", "ann", Some((Role::All, &record())));
        let added = added.expect("random numbers").expect("added");
        let added = edit(&added, "bob", Some((Role::Look, &record())));
        let added = added.expect("random numbers").expect("added");
        let read = Operators::parse(&added).expect("a file");
        assert_eq!((read.len(), read.is_empty()), (2, false));
        assert_eq!(read.look_up("ann"), (Some(Role::All), record()));
        assert_eq!(read.look_up("bob"), (Some(Role::Look), record()));
        assert_eq!(added.matches(DECOY).count(), 1);
        assert!(added.contains("# who\n"));

        let changed = edit(&added, "ann", Some((Role::Operate, &record())));
        let changed = changed.expect("no error").expect("changed");
        let read_again = Operators::parse(&changed).expect("a file");
        assert_eq!(read_again.look_up("ann").0, Some(Role::Operate));
        assert_eq!(read_again.decoy, read.decoy);
        let removed = edit(&changed, "ann", None).expect("no error").expect("removed");
        assert!(!Operators::parse(&removed).expect("a file").has("ann"));
        assert_eq!(edit(&removed, "ann", None).expect("no error"), None);
    }

    #[test]
    fn a_name_that_does_not_exist_keeps_its_salt_when_the_file_is_read_again() {
        let text = edit("", "ann", Some((Role::All, &record()))).expect("random").expect("added");
        let look = || Operators::parse(&text).expect("a file").look_up("eve");
        assert_eq!(look(), look());
        assert_eq!(look().0, None);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_told_by_its_number() {
        assert_eq!(error("\nann"), "line 2: it must be NAME:ROLE:RECORD");
        assert_eq!(error("ann:all"), "line 1: it must be NAME:ROLE:RECORD");
        assert!(error(&format!("a b:all:{}", record())).contains("a name has 1 to 64"));
        assert!(error(&format!("ann:root:{}", record())).contains("look, operate or all"));
        assert!(error("ann:all:secret").contains("medusa passwd --monitor"));
        assert!(error("!decoy:AAAA").contains("no key"));
        assert!(error(&format!("ann:all:{}", record())).contains("!decoy:KEY"));
        let twice = format!("ann:all:{0}\nann:look:{0}", record());
        assert!(error(&twice).starts_with("line 2: this name"));
        let missing = Operators::read(Path::new("/nonexistent/file")).expect_err("missing");
        assert!(missing.to_string().contains("medusa passwd --monitor"), "{missing}");
    }

    #[test]
    fn names_are_plain() {
        for good in ["ann", "a.b-c_d@e", "7"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "a:b", "!decoy", "#a", ".a", "é", &"a".repeat(MAX_NAME + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
