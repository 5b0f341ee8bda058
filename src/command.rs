//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use medusa_core::Address;
use medusa_log::{Destination, Rotate};

use crate::life::LifeOptions;
use crate::passwd::Passwd;

/// One process, one thread, one event loop: HTTP over file trees, changeable while it runs.
#[derive(Parser, Debug)]
#[command(name = "medusa", version, about, long_about = None, disable_help_subcommand = true)]
#[command(override_usage = "medusa [serve] [OPTIONS] [DIR]")]
#[command(after_help = "`medusa serve --help` lists the options of serving.")]
pub(crate) struct Medusa {
    /// What to do; `serve` may be left out.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serves a directory. `medusa DIR` is short for `medusa serve DIR`.
    ///
    /// Prints one line `listening PROTOCOL ADDRESS` for each listener on standard output, then
    /// `ready`. Everything else goes to standard error. SIGTERM and SIGINT finish what is in
    /// flight, a second one stops at once. SIGUSR1 opens the logs anew. SIGUSR2 puts the program
    /// that now stands in this one's place in charge, without losing a connection.
    #[command(override_usage = "medusa [serve] [OPTIONS] [DIR]")]
    Serve(Serve),

    /// Adds a user to a password file, changes a password, or removes a user.
    Passwd(Passwd),
}

/// How to serve.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The directory to serve.
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,

    /// Where to listen for HTTP: IP:PORT, :PORT, unix:PATH, or systemd:NAME for a socket that
    /// systemd passes; port 0 lets the system choose. May be given several times.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) http: Vec<Address>,

    /// Connections open at once; further ones wait. By default as many as the limit of open
    /// files allows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// What to log on standard error. `info`, `debug` and `trace` include a line for each request,
    /// unless --access-log says where those go.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,

    /// Where to log a line for each request: a file, - (standard output), stderr, syslog,
    /// syslog:unix:PATH, syslog:IP:PORT, or off.
    #[arg(long, value_name = "DEST")]
    pub(crate) access_log: Option<AccessLogTo>,

    /// What the line of a request looks like.
    #[arg(long, value_name = "FORM", default_value = "combined")]
    pub(crate) log_format: LogFormat,

    /// When the file of --access-log is rotated: a size (10M), hourly, daily, seconds (90s), and
    /// how many old files stay (keep=7), as in 10M,daily,keep=7.
    #[arg(long, value_name = "RULE", requires = "access_log")]
    pub(crate) log_rotate: Option<Rotate>,

    /// What everything else that is logged looks like.
    #[arg(long, value_name = "FORM", default_value = "human")]
    pub(crate) diagnostics: Diagnostics,

    /// What the process gives up, and how it is replaced.
    #[command(flatten)]
    pub(crate) life: LifeOptions,
}

/// Where the lines of requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccessLogTo {
    /// Nowhere.
    Off,
    /// There.
    Log(Destination),
}

impl FromStr for AccessLogTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::Log) }
    }
}

/// What the line of a request looks like.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// The common format, with Referer and User-Agent.
    Combined,
    /// The common log format.
    Common,
    /// An object of JSON.
    Json,
}

/// What diagnostics look like.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Diagnostics {
    /// Lines for people.
    Human,
    /// Objects of JSON, one a line.
    Json,
}

/// What is logged.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// Nothing.
    Off,
    /// What failed on our side.
    Error,
    /// What somebody should look at.
    Warn,
    /// Requests, and what the server does.
    Info,
    /// What helps to find faults.
    Debug,
    /// Everything.
    Trace,
}

/// Puts `serve` in where no command was named.
pub(crate) fn with_default(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let named = arguments.get(1).and_then(|a| a.to_str()).is_some_and(|first| {
        matches!(first, "serve" | "passwd" | "-h" | "--help" | "-V" | "--version")
    });
    if !named {
        arguments.insert(1.min(arguments.len()), "serve".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Serve {
        let arguments = ["medusa"].iter().chain(arguments).map(OsString::from);
        let command = Medusa::parse_from(with_default(arguments)).command;
        let Command::Serve(serve) = command else { panic!("{command:?}") };
        serve
    }

    #[test]
    fn serve_may_be_left_out() {
        assert_eq!(parse(&[]).directory, PathBuf::from("."));
        assert_eq!(parse(&["/srv"]).directory, PathBuf::from("/srv"));
        assert_eq!(parse(&["serve", "/srv"]).directory, PathBuf::from("/srv"));
        assert_eq!(parse(&["--http", "127.0.0.1:0", "d"]).directory, PathBuf::from("d"));
        assert_eq!(parse(&["--http", "127.0.0.1:0", "--http", "unix:/x"]).http.len(), 2);
    }
}
