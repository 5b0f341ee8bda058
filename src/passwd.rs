//! `medusa passwd`: keeps a password file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use clap::Args;
use medusa_auth::file::{MAX_FILE_BYTES, MAX_NAME, PasswordFile, edit, is_name};
use medusa_auth::password::{MAX_PASSWORD, hash};

use crate::serve::Failure;

/// The mode of a new password file: nobody but its owner has business with it.
const MODE: u32 = 0o600;

/// Whose password is set, and where.
#[derive(Args, Debug)]
pub(crate) struct Passwd {
    /// The password file; it is made if there is none.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The user, who is added, or gets another password.
    #[arg(value_name = "NAME")]
    name: String,

    /// Reads the password from standard input, up to the end of the first line, instead of asking
    /// for it twice on the terminal.
    #[arg(long, conflicts_with = "delete")]
    stdin: bool,

    /// Removes the user.
    #[arg(long)]
    delete: bool,
}

/// Adds, changes or removes a user.
pub(crate) fn passwd(options: &Passwd) -> Result<(), Failure> {
    let Passwd { file, name, stdin, delete } = options;
    if !is_name(name) {
        return Err(Failure::Usage(format!(
            "`{}` cannot be the name of a user: a name has 1 to {MAX_NAME} bytes, no colon, no \
             control characters, no `#` in front and no blanks at its ends",
            name.escape_debug()
        )));
    }
    let failed = |why: &dyn std::fmt::Display| {
        Failure::System(format!("the password file `{}`: {why}", file.display()))
    };
    let text = read(file).map_err(|e| failed(&e))?;
    let users = PasswordFile::parse(text.as_bytes()).map_err(|e| failed(&e))?;
    if *delete && !users.has(name) {
        return Err(failed(&format_args!("it has no user `{name}`")));
    }
    let hash = if *delete {
        None
    } else {
        let password = if *stdin { from_input()? } else { from_terminal(name)? };
        if password.is_empty() || password.len() > MAX_PASSWORD {
            return Err(Failure::Usage(format!("a password has 1 to {MAX_PASSWORD} bytes")));
        }
        Some(hash(&password).map_err(|e| failed(&e))?)
    };
    let text = edit(&text, name, hash.as_deref()).unwrap_or(text);
    write(file, &text).map_err(|e| failed(&e))?;
    let done = match (delete, users.has(name)) {
        (true, _) => "removed",
        (false, true) => "has a new password",
        (false, false) => "added",
    };
    println!("{name}: {done}");
    Ok(())
}

/// The text of the file, empty if there is none.
fn read(path: &Path) -> io::Result<String> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Puts a new file in the place of the old one, so that no server ever reads half of it. Owner and
/// mode stay.
fn write(path: &Path, text: &str) -> io::Result<()> {
    // A link keeps pointing where it does.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(path).ok();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let mode = before.as_ref().map_or(MODE, |before| before.mode() & 0o777);
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        if let Some(before) = &before {
            // Who may not give files away keeps what they have made.
            let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The first failure is the one to be told.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn from_input() -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    let mut input = io::stdin().lock().take(MAX_PASSWORD as u64 + 2);
    input
        .read_until(b'\n', &mut line)
        .map_err(|e| Failure::System(format!("cannot read the password: {e}")))?;
    while matches!(line.last(), Some(b'\n' | b'\r')) {
        line.pop();
    }
    Ok(line)
}

fn from_terminal(name: &str) -> Result<Vec<u8>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no terminal to ask for the password; give it on standard input with --stdin"
                .to_owned(),
        ));
    }
    let ask = |question: String| {
        rpassword::prompt_password(question)
            .map_err(|e| Failure::System(format!("cannot read the password: {e}")))
    };
    let password = ask(format!("New password for {name}: "))?;
    if ask("The same again: ".to_owned())? != password {
        return Err(Failure::Usage("the two passwords differ; nothing was changed".to_owned()));
    }
    Ok(password.into_bytes())
}
