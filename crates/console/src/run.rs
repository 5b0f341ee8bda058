//! A console from its beginning to its end.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use signal_hook::consts::SIGINT;

use crate::batch::{Batch, End};
use crate::find::is_open_to_others;
use crate::interactive::{Console, notices};
use crate::limits::PASSWORD_FILE;
use crate::link::{Announce, Interrupter, Link};
use crate::login::Credentials;
use crate::target::Target;
use crate::text;

/// What a console is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server is.
    pub target: Target,
    /// Whom to log in as, if the server asks.
    pub user: String,
    /// Where the password is, instead of asking for it.
    pub password_file: Option<PathBuf>,
    /// What to run, instead of reading standard input.
    pub statements: Vec<String>,
    /// Results as lines of JSON.
    pub json: bool,
}

/// Runs the statements that are given; else what comes on standard input, where a person gets a
/// prompt. An error says why there was no session, and what to do.
pub fn run(options: &Options) -> Result<End, String> {
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let person = terminal && options.statements.is_empty() && !options.json;
    let (announce, notices): (Announce, _) = if person {
        let (announce, notices) = notices();
        (Box::new(announce), Some(notices))
    } else {
        (Box::new(|said| eprintln!("note: {}", text::lines(said.trim_end()))), None)
    };
    let (link, opened, interrupter) =
        Link::open(&options.target, &mut || credentials(options), announce)?;
    heed_interrupts(interrupter).map_err(|e| format!("cannot catch signals: {e}"))?;
    if let Some(notices) = notices {
        return Console::new(link, &opened, &options.target, notices)?.talk().map(|()| End::Fine);
    }
    let mut batch = Batch::new(link, options.json);
    if options.statements.is_empty() {
        batch.input(io::stdin().lock())
    } else {
        batch.all(&options.statements)
    }
}

/// Has ctrl-C cancel what runs, from now on.
fn heed_interrupts(interrupter: Interrupter) -> io::Result<()> {
    let (mut read, write) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGINT, write)?;
    std::thread::spawn(move || {
        while let Ok(1..) = read.read(&mut [0]) {
            interrupter.interrupt();
        }
    });
    Ok(())
}

fn credentials(options: &Options) -> Result<Credentials, String> {
    let password = match &options.password_file {
        Some(path) => from_file(path)?,
        None => from_terminal(&options.user)?,
    };
    Ok(Credentials { name: options.user.clone(), password })
}

/// The first line of a file that nobody else can read.
fn from_file(path: &Path) -> Result<String, String> {
    let failed = |e: io::Error| format!("the password file `{}`: {e}", path.display());
    let about = fs::metadata(path).map_err(failed)?;
    if about.is_file() && is_open_to_others(&about) {
        return Err(format!(
            "the password file `{0}` can be read by others: `chmod 600 {0}` keeps them out",
            path.display()
        ));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(PASSWORD_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn from_terminal(user: &str) -> Result<String, String> {
    rpassword::prompt_password(format!("Password of {}: ", text::line(user))).map_err(|e| {
        format!("cannot ask for the password: {e}; --password-file names a file with it")
    })
}
