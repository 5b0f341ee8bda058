//! The password file: a line `NAME:HASH` for each user.
//!
//! Empty lines and lines that begin with `#` count for nothing and stay when the file is changed.
//! The one design choice: a file with one line that makes no sense is refused as a whole, with the
//! number of the line, so that nobody is locked out without a word.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::password::{self, BadHash};

/// The longest name in bytes.
pub const MAX_NAME: usize = 255;

/// Users in one file.
pub const MAX_USERS: usize = 100_000;

/// Bytes of one file.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// Names and hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordFile {
    users: HashMap<Box<str>, Box<str>>,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum FileError {
    /// It cannot be read.
    Io(io::Error),
    /// It has more than [`MAX_FILE_BYTES`] or [`MAX_USERS`].
    TooLarge,
    /// This line, counted from 1, is no line of a password file.
    Line(usize, LineError),
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It is no text.
    NotText,
    /// There is no colon in it.
    NoColon,
    /// The name cannot be one: see [`is_name`].
    Name,
    /// The name stands in an earlier line too.
    Twice,
    /// The hash.
    Hash(BadHash),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => write!(f, "cannot read it: {e}"),
            Self::TooLarge => write!(
                f,
                "it is larger than {MAX_FILE_BYTES} bytes, or has more than {MAX_USERS} users"
            ),
            Self::Line(number, LineError::Hash(why)) => {
                write!(f, "line {number}: {why}; make it by `medusa passwd`")
            }
            Self::Line(number, why) => f.write_str(&match why {
                LineError::NotText => format!("line {number} is not UTF-8 text"),
                LineError::NoColon => format!("line {number} has no colon: it must be NAME:HASH"),
                LineError::Name => format!(
                    "line {number}: a name has 1 to {MAX_NAME} bytes, no colon and no control \
                     characters"
                ),
                _ => format!("line {number}: this name stands in an earlier line too"),
            }),
        }
    }
}

impl std::error::Error for FileError {}

/// Whether this can be the name of a user: 1 to [`MAX_NAME`] bytes, no colon, no control
/// characters (RFC 7617, section 2), no `#` in front, no white space at its ends.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with('#')
        && name.trim() == name
        && !name.chars().any(|c| c == ':' || c.is_control())
}

impl PasswordFile {
    /// Reads a file; blocks.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path).map_err(FileError::Io)?;
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(FileError::Io)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(FileError::TooLarge);
        }
        Self::parse(&text)
    }

    /// Takes the text of a file apart.
    pub fn parse(text: &[u8]) -> Result<Self, FileError> {
        let mut users = HashMap::new();
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let fail = |why| Err(FileError::Line(number, why));
            let Ok(line) = str::from_utf8(line) else { return fail(LineError::NotText) };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, hash)) = line.split_once(':') else {
                return fail(LineError::NoColon);
            };
            if !is_name(name) {
                return fail(LineError::Name);
            }
            if let Err(why) = password::inspect(hash) {
                return fail(LineError::Hash(why));
            }
            if users.len() == MAX_USERS {
                return Err(FileError::TooLarge);
            }
            if users.insert(name.into(), hash.into()).is_some() {
                return fail(LineError::Twice);
            }
        }
        Ok(Self { users })
    }

    /// Whether it has a user of this name.
    pub fn has(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// How many users it has.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether this is the password of that user. Takes its time, also for a name that does not
    /// exist; blocks.
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        let Some(hash) = self.users.get(name) else {
            password::verify_nobody(password, self.users.values().next().map(|hash| &**hash));
            return false;
        };
        password::verify(password, hash)
    }
}

/// The text of a password file with this hash for a user, or without the user. All other lines stay
/// as they are. `None` if there is no such user to be removed.
pub fn edit(text: &str, name: &str, hash: Option<&str>) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 128);
    let mut found = false;
    for line in text.lines() {
        let is_it = line.trim().split_once(':').is_some_and(|(other, _)| other == name);
        if !is_it {
            out.push_str(line);
            out.push('\n');
        } else if let (Some(hash), false) = (hash, found) {
            out.extend([name, ":", hash, "\n"]);
        }
        found |= is_it;
    }
    match hash {
        Some(hash) if !found => out.extend([name, ":", hash, "\n"]),
        None if !found => return None,
        _ => {}
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The password `secret`, cheaply hashed.
    const CHEAP: &str =
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$eP4eyR+zqlZX1y5xCFTkw9m5GYx0L5YWwvCFvtlbLow";

    fn error(text: &str) -> String {
        PasswordFile::parse(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn a_file_has_names_and_hashes_and_remarks() {
        let text = format!("# users\n\nann:{CHEAP}\r\n  bob b:{CHEAP}\n");
        let file = PasswordFile::parse(text.as_bytes()).expect("a file");
        assert_eq!((file.len(), file.is_empty()), (2, false));
        assert!(file.has("ann") && file.has("bob b") && !file.has("users"));
        assert!(PasswordFile::parse(b"").expect("an empty one").is_empty());
    }

    #[test]
    fn a_line_that_makes_no_sense_is_told_by_its_number() {
        assert_eq!(error("#\nann\n"), "line 2 has no colon: it must be NAME:HASH");
        assert_eq!(
            error("ann:secret"),
            "line 1: this is no hash of a password; make it by `medusa passwd`"
        );
        assert_eq!(
            error("ann:$apr1$abc$def"),
            "line 1: the hash is not one of Argon2; make it by `medusa passwd`"
        );
        assert!(error(&format!(":{CHEAP}")).starts_with("line 1: a name has"));
        assert_eq!(
            error(&format!("ann:{CHEAP}\nann:{CHEAP}")),
            "line 2: this name stands in an earlier line too"
        );
        let text = b"\xff:x";
        assert!(matches!(PasswordFile::parse(text), Err(FileError::Line(1, LineError::NotText))));
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let missing = PasswordFile::read(Path::new("/nonexistent/users"));
        assert!(missing.is_err_and(|e| e.to_string().starts_with("cannot read it: ")));
    }

    #[test]
    fn a_user_is_added_changed_and_removed_among_the_others() {
        let text = edit("# hello\n", "ann", Some("1")).expect("added");
        let text = edit(&text, "bob", Some("2")).expect("added");
        assert_eq!(text, "# hello\nann:1\nbob:2\n");
        let text = edit(&text, "ann", Some("3")).expect("changed");
        assert_eq!(text, "# hello\nann:3\nbob:2\n");
        assert_eq!(edit(&text, "carl", None), None);
        assert_eq!(edit(&text, "ann", None).as_deref(), Some("# hello\nbob:2\n"));
        assert_eq!(edit("ann:1\nann:2", "ann", Some("3")).as_deref(), Some("ann:3\n"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: Vec<u8>) {
            // It may be refused.
            let _ = PasswordFile::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(name in "\\PC{1,20}", other in "[a-z]{1,4}") {
            prop_assume!(is_name(&name) && name != other);
            let text = edit(&format!("{other}:{CHEAP}\n# x\n"), &name, Some(CHEAP)).unwrap();
            let file = PasswordFile::parse(text.as_bytes()).unwrap();
            prop_assert!(file.has(&name) && file.has(&other) && file.len() == 2);
            let text = edit(&text, &name, None).unwrap();
            prop_assert_eq!(text, format!("{other}:{CHEAP}\n# x\n"));
        }
    }
}
