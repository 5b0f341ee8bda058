//! The file of the statements that were typed before.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use crate::limits::HISTORY_STATEMENT;

/// Where the history is: in the user's state directory (`XDG_STATE_HOME`, by default
/// `~/.local/state`). `None` if there is no such user.
pub fn path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("medusa").join("console-history"))
}

/// Makes the file, readable by nobody else, if there is none.
pub fn make(path: &PathBuf) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Whether a statement is kept: it is not long, begins with no blank, and names nothing that is
/// secret.
pub fn is_kept(code: &str) -> bool {
    const SECRET: &[&str] = &["password", "passwd", "secret", "token", "credential", "private"];
    let lower = code.to_ascii_lowercase();
    !code.trim().is_empty()
        && code.len() <= HISTORY_STATEMENT
        && !code.starts_with([' ', '\t'])
        && !SECRET.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_kept() {
        assert!(is_kept("channels()") && is_kept("for i = 1, 3 do\n  print(i)\nend"));
        for code in ["", "  ", " channels()", "x = { passWord = 'a' }", "my_secret = 1"] {
            assert!(!is_kept(code), "{code}");
        }
        assert!(!is_kept(&"x".repeat(HISTORY_STATEMENT + 1)));
    }
}
