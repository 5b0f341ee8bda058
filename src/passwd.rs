//! `medusa passwd`: keeps a password file, and the file of the monitor's operators.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use clap::Args;
use medusa_auth::file::{MAX_FILE_BYTES, MAX_NAME, PasswordFile, edit, is_name};
use medusa_auth::password::{MAX_PASSWORD, hash};
use medusa_auth::scram::Record;
use medusa_monitor::operators::{self, Operators};
use medusa_monitor::wire::Role;

use crate::monitor::operators_file;
use crate::serve::Failure;

/// The mode of a new password file: nobody but its owner has business with it.
const MODE: u32 = 0o600;

/// Whose password is set, and where.
#[derive(Args, Debug)]
#[command(
    override_usage = "medusa passwd [--stdin|--delete] FILE NAME\n       medusa passwd --monitor [--operators FILE] [--stdin] --role ROLE NAME"
)]
pub(crate) struct Passwd {
    /// The password file, which is made if there is none; and the user, who is added, gets another
    /// password or is removed. With --monitor, the name of an operator only.
    #[arg(value_name = "FILE NAME", required = true, num_args = 1..=2)]
    names: Vec<String>,

    /// An operator of the monitor, who logs in by SCRAM-SHA-256.
    #[arg(long)]
    monitor: bool,

    /// What the operator may do: `look` at everything, `operate` (also close, pause, reload, plug
    /// extensions in and out), or `all`.
    #[arg(long, value_name = "ROLE", requires = "monitor")]
    role: Option<Role>,

    /// The file of operators, instead of ~/.config/medusa/operators, for root
    /// /etc/medusa/operators.
    #[arg(long, value_name = "FILE", requires = "monitor")]
    operators: Option<PathBuf>,

    /// Reads the password from standard input, up to the end of the first line, instead of asking
    /// for it twice on the terminal.
    #[arg(long, conflicts_with = "delete")]
    stdin: bool,

    /// Removes the user.
    #[arg(long)]
    delete: bool,
}

/// Adds, changes or removes a user or an operator.
pub(crate) fn passwd(options: &Passwd) -> Result<(), Failure> {
    match (&options.names[..], options.monitor) {
        ([name], true) => operator(options, name),
        ([file, name], false) => user(options, Path::new(file), name),
        ([_], false) => {
            let what = "name the password file and the user: medusa passwd FILE NAME; or an \
                        operator: medusa passwd --monitor --role ROLE NAME";
            Err(Failure::Usage(what.to_owned()))
        }
        _ => {
            let what = "with --monitor name the operator only, and the file with --operators FILE";
            Err(Failure::Usage(what.to_owned()))
        }
    }
}

/// Adds, changes or removes a user of a password file.
fn user(options: &Passwd, file: &Path, name: &str) -> Result<(), Failure> {
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
    let text = read(file, MAX_FILE_BYTES).map_err(|e| failed(&e))?;
    let users = PasswordFile::parse(text.as_bytes()).map_err(|e| failed(&e))?;
    let hash = if options.delete {
        if !users.has(name) {
            return Err(failed(&format_args!("it has no user `{name}`")));
        }
        None
    } else {
        Some(hash(&new_password(options, name)?).map_err(|e| failed(&e))?)
    };
    let text = edit(&text, name, hash.as_deref()).unwrap_or(text);
    write(file, &text).map_err(|e| failed(&e))?;
    tell(name, options.delete, users.has(name));
    Ok(())
}

/// Adds, changes or removes an operator.
fn operator(options: &Passwd, name: &str) -> Result<(), Failure> {
    if !operators::is_name(name) {
        return Err(Failure::Usage(format!(
            "`{}` cannot be the name of an operator: a name has 1 to {} letters, digits, `.`, `_`, \
             `-` and `@`, and begins with a letter or a digit",
            name.escape_debug(),
            operators::MAX_NAME
        )));
    }
    let Some(file) = options.operators.clone().or_else(operators_file) else {
        let what = "it is not known where the file of operators is; name it with --operators FILE";
        return Err(Failure::Usage(what.to_owned()));
    };
    let failed = |why: &dyn std::fmt::Display| {
        Failure::System(format!("the file of operators `{}`: {why}", file.display()))
    };
    let text = read(&file, operators::MAX_FILE_BYTES).map_err(|e| failed(&e))?;
    let before = Operators::parse(&text).map_err(|e| failed(&e))?;
    let role = options.role.or(before.look_up(name).0);
    let entry = if options.delete {
        if !before.has(name) {
            return Err(failed(&format_args!("it has no operator `{name}`")));
        }
        None
    } else {
        let role = role.ok_or_else(|| {
            Failure::Usage("say what the operator may do: --role look, operate or all".to_owned())
        })?;
        let password = String::from_utf8(new_password(options, name)?)
            .map_err(|_| Failure::Usage("the password of an operator is UTF-8 text".to_owned()))?;
        Some((role, Record::new(&password).map_err(|e| failed(&e))?))
    };
    let entry = entry.as_ref().map(|(role, record)| (*role, record));
    let text = operators::edit(&text, name, entry).map_err(|e| failed(&e))?.unwrap_or(text);
    if options.operators.is_none()
        && let Some(directory) = file.parent()
    {
        // The one in the usual place may be the first there.
        fs::create_dir_all(directory).map_err(|e| failed(&e))?;
    }
    write(&file, &text).map_err(|e| failed(&e))?;
    tell(name, options.delete, before.has(name));
    Ok(())
}

fn tell(name: &str, deleted: bool, was_there: bool) {
    let done = match (deleted, was_there) {
        (true, _) => "removed",
        (false, true) => "has a new password",
        (false, false) => "added",
    };
    println!("{name}: {done}");
}

/// Asks for a password.
fn new_password(options: &Passwd, name: &str) -> Result<Vec<u8>, Failure> {
    let password = if options.stdin { from_input()? } else { from_terminal(name)? };
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(Failure::Usage(format!("a password has 1 to {MAX_PASSWORD} bytes")));
    }
    Ok(password)
}

/// The text of the file, empty if there is none.
fn read(path: &Path, most: u64) -> io::Result<String> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
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
