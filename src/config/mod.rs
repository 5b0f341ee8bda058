//! The configuration: what a file or the command line says, checked, and what is built from it.
//!
//! Read the modules in the order in which a file becomes servers: [`value`] (what stands in it,
//! with places), [`section`] and [`kind`] (keys asked for by name, kind and default), [`trees`],
//! [`server`], [`http`], [`ftp`] and [`dns`] (what there is to configure), [`mod@build`] (trees and services),
//! [`record`] (all of it shown again).
//!
//! The one design choice: the flags of the command line become the same values as a file, so
//! there is one way from either to a running server.

mod build;
mod coding;
mod dns;
pub(crate) mod extension;
mod flags;
mod ftp;
mod http;
mod kind;
mod limits;
mod live;
mod log;
mod monitor;
mod problem;
mod record;
mod script;
mod section;
mod server;
mod suggest;
mod trees;
mod value;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use medusa_core::sys::privileges::Keep;
use medusa_dns::ResolverSettings;
use medusa_http::CodingOptions;
use medusa_scripted::ScriptsOptions;

use crate::command::Serve;

pub(crate) use crate::config::build::{Build, Built, Serving, Setup, build, station};
use crate::config::kind::{Choice, DAY, Flag, Number, SECOND, Text as Words, Time};
pub(crate) use crate::config::log::{AccessPlan, Log, TransfersPlan};
use crate::config::monitor::MonitorPlan;
pub(crate) use crate::config::problem::Problem;
use crate::config::problem::Problems;
use crate::config::record::Record;
pub(crate) use crate::config::script::NamedScript;
pub(crate) use crate::config::section::Needs;
use crate::config::section::{Reader, Section};
pub(crate) use crate::config::server::Listen;
use crate::config::server::ServerPlan;
pub(crate) use crate::config::trees::Trees;
use crate::config::trees::{TreePlan, WayOut};
pub(crate) use crate::config::value::Span;
use crate::config::value::Table;
use crate::life::{Confine, LifeOptions, directory_of};

/// Bytes of a configuration file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// File trees in one configuration.
const MAX_TREES: usize = 1024;
/// Servers in one configuration.
const MAX_SERVERS: usize = 256;

/// How long a shutdown waits for what is in flight.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// The beginning of the reference page.
const REFERENCE: &str = "# Configuration

This page is what `medusa config --reference` prints: every section and every key, from the \
declarations by which the program reads them. `medusa config --config FILE` shows a file with all \
defaults, `medusa check --config FILE` says what is wrong with it.

Files are in TOML. Paths are relative to the directory of the file. Sizes have a unit (`\"64 KiB\"`), \
times as well (`\"30s\"`).
";

/// Where a configuration comes from; can be read again.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Flags(Box<Serve>),
}

impl Source {
    /// The directory that paths in it are relative to.
    pub(crate) fn base(&self) -> PathBuf {
        match self {
            Self::File(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
            Self::Flags(_) => PathBuf::new(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Flags(_) => f.write_str("the command line"),
        }
    }
}

/// Everything that is configured.
pub(crate) struct Config {
    pub(crate) process: Process,
    pub(crate) log: Log,
    /// What is compressed on the fly.
    pub(crate) coding: CodingOptions,
    pub(crate) script: ScriptsOptions,
    pub(crate) resolver: ResolverSettings,
    pub(crate) trees: Vec<TreePlan>,
    pub(crate) servers: Vec<ServerPlan>,
    pub(crate) monitor: MonitorPlan,
}

/// The process as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// `None`: as many as the limit of open files allows.
    pub(crate) max_connections: Option<usize>,
    pub(crate) shutdown_grace: Duration,
    /// What it gives up, and how it is replaced.
    pub(crate) life: LifeOptions,
}

/// A text that was read, kept to show the places in it.
pub(crate) struct Text {
    /// Its name and content; `None` for the command line.
    file: Option<(String, String)>,
}

impl Text {
    /// Shows what is wrong.
    pub(crate) fn show(&self, problems: &Problems) -> String {
        problems.show(self.file.as_ref().map(|(name, text)| (&**name, &**text)))
    }

    /// Shows one problem.
    pub(crate) fn show_one(&self, problem: Problem) -> String {
        let mut problems = Problems::default();
        problems.add(problem);
        self.show(&problems)
    }

    /// Whether it is a file.
    pub(crate) fn is_file(&self) -> bool {
        self.file.is_some()
    }
}

/// A configuration that is right, with its trees open: all that needs no loop. It is made on any
/// thread, since opening may block.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) record: Record,
    pub(crate) trees: Trees,
    pub(crate) text: Text,
    pub(crate) needs: Needs,
}

impl Loaded {
    /// The effective configuration as TOML.
    pub(crate) fn shown(&self) -> String {
        let from = self.text.file.as_ref().map_or("the command line", |(name, _)| name);
        let from: String = from.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!(
            "# The effective configuration of Medusa, from {from}.\n{}",
            self.record.configuration()
        )
    }
}

impl Config {
    /// What it has, in a few words.
    pub(crate) fn summary(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        format!(
            "{}, {}, {}",
            count(self.servers.len(), "server"),
            count(self.servers.iter().map(|s| s.listen.len()).sum(), "listener"),
            count(self.trees.len(), "file tree")
        )
    }
}

/// Reads and checks a configuration and opens its trees; those of `old` that are the same are
/// used again. What is wrong is told in lines for people; a process that is `confined` may be
/// denied what others are not.
pub(crate) fn load(source: &Source, old: Option<&Trees>, confined: bool) -> Result<Loaded, String> {
    let (text, table, base, problems) = match source {
        Source::Flags(flags) => {
            (Text { file: None }, Some(flags.to_table()), PathBuf::new(), Problems::default())
        }
        Source::File(path) => {
            let name = path.display().to_string();
            let content = read_file(path).map_err(|e| cannot_read(&name, &e))?;
            let (text, mut problems) = decode(content);
            let table = if problems.is_empty() { value::parse(&text, &mut problems) } else { None };
            let base = path.parent().unwrap_or(Path::new("")).to_owned();
            (Text { file: Some((name, text)) }, table, base, problems)
        }
    };
    let Some(table) = table else { return Err(text.show(&problems)) };
    let reader = Reader::new(&base, problems);
    let (mut config, record) = reader.read(&table, configuration);
    let (mut problems, mut needs) = reader.finish();
    if let Source::File(path) = source {
        // The directory, since the file is replaced when it is changed.
        needs.read.push(directory_of(path));
    }
    if needs.resolver {
        for file in [&config.resolver.resolv_conf, &config.resolver.hosts] {
            // It may be a link, and whatever it leads to is replaced when it changes.
            needs.read.push(directory_of(file));
            needs.read.extend(file.canonicalize().iter().map(|file| directory_of(file)));
        }
    }
    config.process.life.keep = needs.keep;
    // Without knowing all trees, opening some would only tell half.
    let trees = Trees::open(&config.trees, old, way_out(&text, confined), &mut problems);
    if problems.is_empty() {
        Ok(Loaded { config, record, trees, text, needs })
    } else {
        Err(text.show(&problems))
    }
}

/// What may be done about a directory that cannot be opened.
fn way_out(text: &Text, confined: bool) -> WayOut {
    WayOut { flags: !text.is_file(), confined }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        let what = format!("it has more than {} KiB", MAX_FILE_BYTES >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(content)
}

fn cannot_read(name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no configuration file `{name}`; `medusa config > {name}` makes one to begin \
             with"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "the configuration file `{name}` may not be read by this user; allow it (chmod)"
        ),
        io::ErrorKind::IsADirectory => {
            format!("`{name}` is a directory; name the configuration file in it")
        }
        _ => format!("cannot read the configuration file `{name}`: {error}"),
    }
}

/// Makes text of bytes, or tells where they are none.
fn decode(content: Vec<u8>) -> (String, Problems) {
    let mut problems = Problems::default();
    let text = String::from_utf8(content).unwrap_or_else(|e| {
        let at = e.utf8_error().valid_up_to();
        problems.add(Problem::new(at..at + 1, "this is no text: TOML files are in UTF-8"));
        String::from_utf8_lossy(e.as_bytes()).into_owned()
    });
    (text, problems)
}

/// The whole file.
fn configuration(top: &mut Section<'_>) -> Config {
    let process = top.section("process", "The process as a whole.", process);
    let log = top.section("log", "What is logged, and where.", log::log);
    let coding = top.section(
        "coding",
        "What is compressed on the fly, by all servers together.",
        coding::options,
    );
    let resolver = top.section("resolver", "Looks names up, for the whole process.", dns::resolver);
    let names = top.keys_of("files");
    let script =
        top.section("script", "Scripts in Lua.", |section| script::options(section, &names));
    let trees = top.named(
        "files",
        "A file tree, named once and used by any server: a directory, memory, what a script makes, or \
         other trees over each other.",
        MAX_TREES,
        |name, section| trees::tree(name, section, &names),
    );
    let servers = top.tables(
        "server",
        "A server: a protocol, the addresses it listens on, and what it serves.",
        MAX_SERVERS,
        |section| server::server(section, &names),
    );
    let monitor = top.section(
        "monitor",
        "The monitor: the console into the running server.",
        monitor::monitor,
    );
    if !top.has("server") {
        let help = "a server begins with [[server]] and needs `protocol` and `listen`";
        top.add(Problem::new(0..0, "there is no server").help(help));
    }
    let servers: Vec<ServerPlan> = servers.into_iter().flatten().collect();
    server::check_addresses(top, &servers, &monitor.listen);
    let trees = trees.into_iter().flatten().collect();
    Config { process, log, coding, script, resolver, trees, servers, monitor }
}

fn process(section: &mut Section<'_>) -> Process {
    let max_connections = section.maybe(
        "max_connections",
        "Connections open at once; further ones wait. Left out: as many as the limit of open files \
         allows.",
        &Number(1..=u64::from(u32::MAX)),
    );
    let shutdown_grace = section.or(
        "shutdown_grace",
        "How long a shutdown waits for what is in flight.",
        &Time(Duration::ZERO..=DAY),
        SHUTDOWN_GRACE,
    );
    let user = section.maybe(
        "user",
        "The user to become when everything is open: a name or a number. Root only.",
        &Words("the name or the number of a user"),
    );
    let group = section.maybe(
        "group",
        "The group to become, instead of the user's own.",
        &Words("the name or the number of a group"),
    );
    if group.is_some() && user.is_none() {
        section.advise("group", "`group` needs `user`", "name the user to become as well");
    }
    let confine = section.or(
        "confine",
        "Whether to confine the server to the directories that it needs: \"auto\" does what the \
         kernel can (Landlock), \"require\" does not start where it can do nothing. A reload then \
         reaches only what is beneath the directories that the server was started with.",
        &Choice(&[("auto", Confine::Auto), ("off", Confine::Off), ("require", Confine::Require)]),
        Confine::Auto,
    );
    let allow_new_privileges = section.or(
        "allow_new_privileges",
        "Whether programs that the server starts get privileges by their file's mode.",
        &Flag,
        false,
    );
    let most = Duration::from_secs(u32::MAX.into());
    let upgrade_timeout = section.or(
        "upgrade_timeout",
        "Time that the program started by SIGUSR2 has to become ready.",
        &Time(SECOND..=most),
        Duration::from_secs(30),
    );
    let drain_timeout = section.or(
        "drain_timeout",
        "Time that connections have to end by themselves after an upgrade.",
        &Time(Duration::ZERO..=most),
        Duration::from_secs(3600),
    );
    let life = LifeOptions {
        user,
        group,
        confine,
        allow_new_privileges,
        upgrade_timeout: upgrade_timeout.as_secs() as u32,
        keep: Keep::Nothing,
        drain_timeout: drain_timeout.as_secs() as u32,
    };
    Process { max_connections: max_connections.map(|n| n as usize), shutdown_grace, life }
}

/// The reference page of all that can be configured, in Markdown.
pub(crate) fn reference() -> String {
    let (_, record) = Reader::describing().read(&Table::default(), configuration);
    format!("{REFERENCE}{}", record.reference())
}

#[cfg(test)]
mod tests;
