//! `medusa console`: from its options to the client.

use std::path::PathBuf;

use clap::Args;
use medusa_console::{End, Options, Target, find};

use crate::serve::Failure;

/// Which server, and what to do there.
#[derive(Args, Debug)]
pub(crate) struct Console {
    /// Where the server's monitor listens: unix:PATH, HOST:PORT or :PORT. By default the server
    /// that runs as the same user on this machine.
    #[arg(value_name = "ADDR")]
    target: Option<Target>,

    /// Runs a statement instead of asking for one. May be given several times: what one has set,
    /// the next one finds.
    #[arg(short = 'e', long = "execute", value_name = "STATEMENT")]
    statements: Vec<String>,

    /// Prints each value of a result as one line of JSON, and nothing else on standard output; what
    /// statements print, and errors as JSON, go to standard error.
    #[arg(long)]
    json: bool,

    /// The operator to log in as where the server asks for a password; by default the name of the
    /// user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// A file whose first line is the password, instead of asking for it. Nobody else may be able
    /// to read it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Runs a console to its end.
pub(crate) fn console(options: Console) -> Result<End, Failure> {
    let target = match options.target {
        Some(target) => target,
        None => find::find().map_err(Failure::Usage)?,
    };
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let options = Options {
        target,
        user: options
            .user
            .or_else(|| named("USER"))
            .or_else(|| named("LOGNAME"))
            .unwrap_or_default(),
        password_file: options.password_file,
        statements: options.statements,
        json: options.json,
    };
    medusa_console::run(&options).map_err(Failure::Usage)
}
