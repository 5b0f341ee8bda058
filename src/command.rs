//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use medusa_core::Address;
use medusa_log::{Destination, Rotate};

use crate::config::Source;
use crate::console::Console;
use crate::life::LifeOptions;
use crate::passwd::Passwd;

/// One process, one thread, one event loop: HTTP and FTP over file trees, changeable while it runs.
#[derive(Parser, Debug)]
#[command(name = "medusa", version, about, long_about = None, disable_help_subcommand = true)]
#[command(override_usage = "medusa [serve] [OPTIONS] [DIR]\n       medusa COMMAND")]
#[command(after_help = "`medusa serve --help` lists the options of serving.")]
pub(crate) struct Medusa {
    /// What to do; `serve` may be left out.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serves a directory, or what a configuration says. `medusa DIR` is short for `medusa serve
    /// DIR`.
    ///
    /// Prints one line `listening PROTOCOL ADDRESS` for each listener on standard output, then
    /// `ready`. Everything else goes to standard error. SIGTERM and SIGINT finish what is in
    /// flight, a second one stops at once. SIGHUP reads the configuration file again, SIGUSR1
    /// opens the logs anew. SIGUSR2 puts the program that now stands in this one's place in charge,
    /// without losing a connection.
    #[command(
        override_usage = "medusa [serve] [OPTIONS] [DIR]\n       medusa [serve] --config FILE"
    )]
    Serve(Serve),
    /// Checks a configuration file, and that the directories in it exist; serves nothing.
    ///
    /// Exit status 0 if `serve` could start with it, 2 if not.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Prints the effective configuration with every key, its value and what it is for.
    ///
    /// The output is a configuration itself: without a file it is one to begin with.
    #[command(override_usage = "medusa config [OPTIONS] [DIR]\n       medusa config --config FILE")]
    Config(Show),
    /// Prints the completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Prints the man page.
    Man,
    /// Adds a user to a password file, or an operator of the monitor; changes a password, or removes
    /// somebody.
    Passwd(Passwd),
    /// Opens a console into a running server.
    ///
    /// A person gets a prompt with history, completion and help; ctrl-C cancels the statement that
    /// runs, ctrl-D leaves. Otherwise the statements of -e, or those on standard input, run one
    /// after the other until one fails. Exit status 0 if all went well, 1 if a statement failed, 2
    /// for wrong usage, no connection, or a refused login.
    Console(Console),
    /// Asks PAM one question, which stands on standard input: the server starts this itself.
    #[command(hide = true)]
    AskPam,
}

/// How to serve.
#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// The directory to serve.
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) directory: PathBuf,

    /// The configuration file, instead of all other options.
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub(crate) config: Option<PathBuf>,

    /// Where to listen for HTTP: IP:PORT, :PORT, unix:PATH, or systemd:NAME for a socket that
    /// systemd passes; port 0 lets the system choose. May be given several times.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) http: Vec<Address>,

    /// Where to listen for FTP, as --http says but for unix:PATH. Anybody may log in (as
    /// `anonymous`) and read.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2121")]
    pub(crate) ftp: Vec<Address>,

    /// Does not serve FTP.
    #[arg(long, conflicts_with = "ftp")]
    pub(crate) no_ftp: bool,

    /// Lets anybody who can connect by FTP change the files: upload, replace, rename, delete. HTTP
    /// goes on reading only.
    #[arg(long, conflicts_with = "no_ftp")]
    pub(crate) write: bool,

    /// Where else the monitor listens, as --http says: for operators who log in. On this machine
    /// `medusa console` of the same user always finds it.
    #[arg(long, value_name = "ADDR")]
    pub(crate) monitor: Vec<Address>,

    /// Serves no monitor: nobody can look into the server.
    #[arg(long, conflicts_with = "monitor")]
    pub(crate) no_monitor: bool,

    /// The file of operators who may log in to the monitor (see `medusa passwd`), instead of
    /// ~/.config/medusa/operators, for root /etc/medusa/operators.
    #[arg(long, value_name = "FILE", requires = "monitor")]
    pub(crate) operators: Option<PathBuf>,

    /// Connections open at once; further ones wait. By default as many as the limit of open
    /// files allows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// What to log on standard error. `info`, `debug` and `trace` include a line for each request,
    /// unless --access-log says where those go, and for each transfer by FTP.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,

    /// Where to log a line for each request: a file, - (standard output), stderr, syslog,
    /// syslog:unix:PATH, syslog:IP:PORT, or off.
    #[arg(long, value_name = "DEST", value_parser = destination)]
    pub(crate) access_log: Option<String>,

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

/// Checks the name of a destination, which is taken apart where files name one too.
fn destination(text: &str) -> Result<String, String> {
    if text != "off" {
        text.parse::<Destination>()?;
    }
    Ok(text.to_owned())
}

/// Which configuration to show.
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    /// Prints all that can be configured instead, as a page in Markdown.
    #[arg(long, exclusive = true)]
    pub(crate) reference: bool,

    #[command(flatten)]
    pub(crate) serve: Serve,
}

impl Serve {
    /// Where the configuration comes from.
    pub(crate) fn source(self) -> Source {
        match self.config {
            Some(file) => Source::File(file),
            None => Source::Flags(Box::new(self)),
        }
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

impl LogLevel {
    /// The levels by their names in the configuration.
    pub(crate) const WORDS: &[(&str, Self)] = &[
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// Puts `serve` in where no command was named. A directory that is called like a command is
/// named as `./check`.
pub(crate) fn with_default(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = Medusa::command();
    let named = arguments.get(1).and_then(|a| a.to_str()).is_some_and(|first| {
        matches!(first, "-h" | "--help" | "-V" | "--version")
            || command.find_subcommand(first).is_some()
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
        match Medusa::parse_from(with_default(arguments)).command {
            Command::Serve(serve) => serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn serve_may_be_left_out() {
        assert_eq!(parse(&[]).directory, PathBuf::from("."));
        assert_eq!(parse(&["/srv"]).directory, PathBuf::from("/srv"));
        assert_eq!(parse(&["serve", "/srv"]).directory, PathBuf::from("/srv"));
        assert_eq!(parse(&["--http", "127.0.0.1:0", "d"]).directory, PathBuf::from("d"));
        assert_eq!(parse(&["--http", "127.0.0.1:0", "--http", "unix:/x"]).http.len(), 2);
        assert_eq!(parse(&["--config", "f"]).config, Some(PathBuf::from("f")));
        assert_eq!(parse(&["./check"]).directory, PathBuf::from("./check"));
    }

    #[test]
    fn a_configuration_file_stands_alone() {
        for more in [&["d"][..], &["--http", ":0"], &["--log-level", "off"]] {
            let arguments = ["medusa", "serve", "--config", "f"].iter().chain(more);
            assert!(Medusa::try_parse_from(arguments).is_err(), "{more:?}");
        }
    }

    #[test]
    fn every_level_has_its_word() {
        for level in LogLevel::value_variants() {
            assert!(LogLevel::WORDS.iter().any(|(_, l)| l == level), "{level:?}");
        }
    }
}
