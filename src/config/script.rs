//! `[script]`, and the files of scripts that other sections name.
//!
//! The one design choice: a script's file is read and its text is checked together with the
//! configuration, on whatever thread that is; it is run on the loop's thread, when the rest is
//! right.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use medusa_script::limits::{LONGEST_SLEEP, SOURCE_BYTES};
use medusa_script::{Budget, Value};
use medusa_scripted::{
    GivenTree, Returns, ScriptPlan, ScriptServer, ScriptServerSetup, ScriptsOptions,
};

use crate::config::Span;
use crate::config::build::{Serving, Setup};
use crate::config::kind::{Anything, DAY, FilePath, List, Name, Number, SECOND, Size, Time};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::server::Plan;
use crate::config::trees::Trees;
use crate::config::value::{Data, Entry, Table};
use crate::life::directory_of;

/// Scripts that run by themselves.
const MAX_RUNS: usize = 256;
/// File trees that one script may read.
const MAX_GIVEN: usize = 64;
/// The memory of all scripts together, unless it is said.
const MEMORY: u64 = 64 << 20;
/// What the store may hold, unless it is said.
const STORE_SIZE: u64 = 64 << 20;
/// How long a client may be silent, unless it is said.
const IDLE: Duration = Duration::from_secs(600);

/// A script that the configuration names.
#[derive(Clone, Debug)]
pub(crate) struct NamedScript {
    name: String,
    file: PathBuf,
    source: Vec<u8>,
    arguments: Data,
    budget: Budget,
    returns: Returns,
    /// The file trees that it may read.
    trees: Vec<String>,
    /// Where its file is named.
    span: Span,
}

impl NamedScript {
    /// What is to be loaded, for the loop's thread.
    pub(crate) fn plan(&self, trees: &Trees) -> ScriptPlan {
        let readable = |name: &String| {
            let tree = trees.has(name).then(|| trees.tree(name))?;
            Some(GivenTree { name: name.clone(), tree })
        };
        ScriptPlan {
            name: self.name.clone(),
            file: self.file.display().to_string(),
            source: Bytes::copy_from_slice(&self.source),
            arguments: given(&self.arguments),
            budget: self.budget,
            returns: self.returns,
            trees: self.trees.iter().filter_map(readable).collect(),
        }
    }

    /// Its file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The same under a name that no script of a configuration has, so that neither takes the
    /// other's place.
    pub(crate) fn plugged_in(self) -> Self {
        Self { name: format!("{} (plugged in)", self.name), ..self }
    }

    /// The problem that it cannot be loaded.
    pub(crate) fn cannot_load(&self, why: &medusa_script::ScriptError) -> Problem {
        let what = format!("the script cannot be loaded: {why}");
        let problem = Problem::new(self.span.clone(), what);
        match why.traceback() {
            "" => problem,
            traceback => problem.help(traceback.lines().collect::<Vec<_>>().join("; ")),
        }
    }
}

/// Reads what all scripts share, and those that run by themselves.
pub(crate) fn options(section: &mut Section<'_>, names: &[String]) -> ScriptsOptions {
    let memory = section.or(
        "memory",
        "Memory that all scripts together may use. It stays as it is until the server is started \
         again.",
        &Size(1 << 20..=1 << 32),
        MEMORY,
    );
    let store = section.maybe(
        "store",
        "The file of the store, where scripts keep what outlasts the server. Left out: there is \
         none. It stays as it is until the server is started again.",
        &FilePath,
    );
    let store_size = section.or(
        "store_size",
        "What all keys and values in the store may take together.",
        &Size(1 << 10..=1 << 40),
        STORE_SIZE,
    );
    if let Some(store) = &store {
        let directory = directory_of(store);
        if !section.describes() && !directory.is_dir() {
            let what = format!("there is no directory `{}`", directory.display());
            section.advise("store", what, "make it, or name a file in one that exists");
        }
        section.need(|needs| needs.write.push(directory));
    }
    section.tables(
        "run",
        "A script that is part of no server: it acts on events and timers (docs/SCRIPTS.md).",
        MAX_RUNS,
        |section| script(section, Returns::Anything, names),
    );
    ScriptsOptions { memory: memory as usize, store: store.map(|path| (path, store_size)) }
}

/// Reads the keys of a script; gives its place among all scripts of the configuration.
pub(crate) fn script(
    section: &mut Section<'_>,
    returns: Returns,
    names: &[String],
) -> Option<usize> {
    let key = if returns == Returns::Tree { "script" } else { "file" };
    let file = if returns == Returns::Tree {
        section.maybe(
            key,
            "Instead of `path`: a script in Lua that makes the files (docs/SCRIPTS.md). The keys of \
             scripts that follow are for such trees only.",
            &FilePath,
        )
    } else {
        section.needed(key, "The script: a file in Lua.", &FilePath)
    };
    let arguments = section.maybe(
        "arguments",
        "What the script is given, a table: `...` in the script.",
        &Anything("a table of whatever the script wants to know"),
    );
    let named = Name { what: "a file tree", names };
    let trees = section.or(
        "trees",
        "The file trees that the script may read, and send files of. Where it names none, it means \
         the first.",
        &List(named, 0..=MAX_GIVEN),
        Vec::new(),
    );
    let budget = budget(section, returns);
    let file = file?;
    section.need(|needs| needs.read.push(directory_of(&file)));
    let source = match read(&file) {
        Ok(source) => source,
        Err(error) => {
            let help = "name a file of Lua that this user may read";
            let what = format!("cannot read the script `{}`: {error}", file.display());
            section.advise(key, what, help);
            return None;
        }
    };
    if let Err(error) = medusa_script::check(&file.display().to_string(), &source) {
        section.refuse(key, format!("the script is not valid Lua: {error}"));
        return None;
    }
    let (span, arguments) =
        (section.place(key), arguments.unwrap_or(Data::Table(Table::default())));
    let mut place = None;
    section.need(|needs| {
        let name = free_name(&file, &needs.scripts);
        place = Some(needs.scripts.len());
        let script = NamedScript { name, file, source, arguments, budget, returns, trees, span };
        needs.scripts.push(script);
    });
    place
}

fn budget(section: &mut Section<'_>, returns: Returns) -> Budget {
    let defaults = Budget::HANDLER;
    let most = Duration::from_secs(3600);
    let time = section.or(
        "running_time",
        "How long one call may run; waiting does not count. What serves a connection has it anew for \
         each line or piece that it reads; the same goes for `instructions` and `output`.",
        &Time(Duration::from_millis(1)..=most),
        defaults.time,
    );
    let instructions = section.or(
        "instructions",
        "Instructions of Lua that one call may take.",
        &Number(1000..=i64::MAX as u64),
        defaults.instructions,
    );
    let within = if returns == Returns::Session {
        LONGEST_SLEEP
    } else {
        section.or(
            "within",
            "The time in which one call must have ended, waiting included.",
            &Time(Duration::from_millis(1)..=DAY),
            defaults.within,
        )
    };
    let output = section.or(
        "output",
        "Bytes that one call may print; they go to the log.",
        &Size(0..=1 << 24),
        defaults.output as u64,
    );
    Budget { instructions, time, within, output: output as usize }
}

/// What a server in Lua is told.
struct ScriptSetup(ScriptServerSetup);

impl Setup for ScriptSetup {
    fn start(self: Box<Self>) -> Serving {
        let service = Rc::new(ScriptServer::new(self.0));
        Serving { service: service.clone(), inspect: service.clone(), itself: service, http: None }
    }

    fn replace(self: Box<Self>, running: &Serving) {
        let service = running.itself.downcast_ref::<ScriptServer>();
        service.expect("both are scripts").replace(self.0);
    }
}

/// The setup of a server that is only checked.
struct Checked;

impl Setup for Checked {
    fn start(self: Box<Self>) -> Serving {
        unreachable!("a configuration that is only checked starts nothing")
    }

    fn replace(self: Box<Self>, _: &Serving) {}
}

/// Reads a server whose protocol is a script.
pub(crate) fn server(section: &mut Section<'_>, names: &[String]) -> Option<Plan> {
    let place = script(section, Returns::Session, names);
    let idle = section.or(
        "idle_timeout",
        "How long a client may be silent while the script waits for it.",
        &Time(SECOND..=DAY),
        IDLE,
    );
    let place = place?;
    Some(Box::new(move |build| {
        let Some(script) = build.script(place) else { return Ok(Box::new(Checked)) };
        Ok(Box::new(ScriptSetup(ScriptServerSetup { script: script.clone(), idle })))
    }))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut source = Vec::new();
    File::open(file)?.take(SOURCE_BYTES as u64 + 1).read_to_end(&mut source)?;
    Ok(source)
}

/// The name of the file without its ending; with a number, if another script has it.
fn free_name(file: &Path, others: &[NamedScript]) -> String {
    let stem = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy();
    let stem: String =
        stem.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }).collect();
    let is_free = |name: &String| others.iter().all(|other| other.name != *name);
    let numbered = (2..).map(|n| format!("{stem}-{n}"));
    std::iter::once(stem.clone()).chain(numbered).find(is_free).expect("numbers do not end")
}

/// What a script is given of what stands in the file.
fn given(data: &Data) -> Value {
    match data {
        Data::Text(text) => Value::from(text.as_str()),
        Data::Number(n) => Value::from(*n),
        Data::Fraction(n) => Value::from(*n),
        Data::Flag(flag) => Value::from(*flag),
        Data::List(list) => Value::List(list.iter().map(|value| given(&value.data)).collect()),
        Data::Table(table) => {
            let entry = |e: &Entry| (Value::from(e.name.as_str()), given(&e.value.data));
            Value::Map(table.entries.iter().map(entry).collect())
        }
        Data::Path(path) => Value::from(path.to_string_lossy().into_owned()),
        Data::Other(_) => Value::Nil,
    }
}
