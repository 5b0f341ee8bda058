//! `[files.NAME]`: file trees, named once and shared by all servers.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use medusa_core::inspect::{Node, Value};
use medusa_fs::{
    FileSystem, LayeredTree, LocalTree, MAX_MOUNTS, MemoryTree, MountedTree, TreeOptions,
    VirtualPath,
};
use medusa_scripted::{Callers, Returns, Script, ScriptTree};

use crate::config::Span;
use crate::config::kind::{FilePath, Flag, List, Name, Size, Text};
use crate::config::problem::{Problem, Problems};
use crate::config::script;
use crate::config::section::Section;

/// Trees that can be laid over each other in one.
const MAX_LAYERS: usize = 64;

/// One tree as the configuration has it.
#[derive(Clone, Debug)]
pub(crate) struct TreePlan {
    name: String,
    what: Contents,
    options: TreeOptions,
    mounts: Vec<(VirtualPath, String)>,
    /// The place of its script among all of the configuration.
    script: Option<usize>,
    /// Where what it consists of is said.
    span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Contents {
    Directory(PathBuf),
    /// Of at most so many bytes.
    Memory(u64),
    /// Other trees, the upper one first.
    Layers(Vec<String>),
    /// Made by the script in this file.
    Script(PathBuf),
}

impl TreePlan {
    /// Whether the other plan says the same, wherever it stands.
    fn is_like(&self, other: &Self) -> bool {
        self.what == other.what && self.options == other.options && self.mounts == other.mounts
    }

    /// The names of the trees that this one is made of.
    fn parts(&self) -> impl Iterator<Item = &String> {
        let layers = match &self.what {
            Contents::Layers(names) => &names[..],
            _ => &[],
        };
        layers.iter().chain(self.mounts.iter().map(|(_, name)| name))
    }
}

/// Reads one tree.
pub(crate) fn tree(name: &str, section: &mut Section<'_>, names: &[String]) -> Option<TreePlan> {
    let path = section.maybe("path", "The directory that is served.", &FilePath);
    let memory = section.maybe(
        "memory",
        "Instead of `path`: a tree in memory, at first empty, that holds this much. Its files last \
         until the server ends, also over a reload that leaves this section as it is.",
        &Size(1..=1 << 40),
    );
    let named = Name { what: "a file tree", names };
    let layers = section.maybe(
        "layers",
        "Instead of `path`: other trees over each other, the upper one first. It takes the writes; \
         the lower ones are only read.",
        &List(named, 1..=MAX_LAYERS),
    );
    let (mut script, mut file) = (None, None);
    if section.has("script") || section.describes() {
        script = script::script(section, Returns::Tree, names);
        section.need(|needs| file = script.map(|place| needs.scripts[place].file().to_owned()));
    }
    let mut options = TreeOptions::default();
    if section.has("script") {
        for key in ["show_hidden", "show_backups"] {
            let help = "the script decides which files there are";
            section.forbid(key, &format!("`{key}` is not for scripts"), help);
        }
        options.writable = writable(section);
    } else if section.has("layers") {
        for key in ["writable", "show_hidden", "show_backups"] {
            section.forbid(key, &format!("`{key}` is not for layers"), "each layer says it itself");
        }
    } else {
        options = tree_options(section);
    }
    let mounts = section.tables("mount", "Another tree inside this one.", MAX_MOUNTS, |mount| {
        mounted(mount, names)
    });
    let kinds = ["path", "memory", "layers", "script"].into_iter().filter(|key| section.has(key));
    let kinds: Vec<_> = kinds.collect();
    match kinds[..] {
        [] => {
            let what = format!("the tree `{}` consists of nothing", name.escape_debug());
            section.advise("path", what, "give it one of `path`, `memory`, `layers` and `script`");
        }
        [_] => {}
        [first, second, ..] => {
            let what = format!("a tree cannot have both `{first}` and `{second}`");
            section.advise(second, what, "make a tree of each, and lay them over each other");
        }
    }
    if let Some(path) = &path {
        section.need(|needs| {
            let list = if options.writable { &mut needs.write } else { &mut needs.read };
            list.push(path.clone());
        });
    }
    let what = match (path, memory, layers, file) {
        (Some(path), None, None, None) => Contents::Directory(path),
        (None, Some(most), None, None) => Contents::Memory(most),
        (None, None, Some(layers), None) => Contents::Layers(layers),
        (None, None, None, Some(file)) => Contents::Script(file),
        _ => return None,
    };
    Some(TreePlan {
        name: name.to_owned(),
        what,
        options,
        mounts: mounts.into_iter().flatten().collect(),
        script,
        span: kinds.first().map_or(0..0, |key| section.place(key)),
    })
}

fn writable(section: &mut Section<'_>) -> bool {
    section.or("writable", "Whether the tree takes writes.", &Flag, false)
}

fn tree_options(section: &mut Section<'_>) -> TreeOptions {
    let defaults = TreeOptions::default();
    let writable = writable(section);
    let show_hidden = section.or(
        "show_hidden",
        "Whether names that begin with a dot exist. If not they can be neither seen nor made.",
        &Flag,
        defaults.show_hidden,
    );
    let show_backups = section.or(
        "show_backups",
        "Whether names of backups exist: `*~`, `#*#`, `*.bak`, `*.old`, `*.orig`, `*.swo`, `*.swp`.",
        &Flag,
        defaults.show_backups,
    );
    TreeOptions { writable, show_hidden, show_backups }
}

fn mounted(section: &mut Section<'_>, names: &[String]) -> Option<(VirtualPath, String)> {
    let at = section.needed(
        "at",
        "The path in this tree; no directory need be there.",
        &Text("a path in the tree, as \"/music\""),
    );
    let named = Name { what: "a file tree", names };
    let files = section.needed("files", "The tree that is seen there.", &named);
    let at = at?;
    let point = VirtualPath::parse(at.as_bytes()).ok().map(|parsed| parsed.path);
    let Some(point) = point.filter(|point| at.starts_with('/') && !point.is_root()) else {
        section.advise("at", "`at` takes a path in the tree below its root", "as \"/music\"");
        return None;
    };
    Some((point, files?))
}

/// What the fields of a tree mean.
const TREE_NOTES: &[(&str, &str)] = &[
    ("path", "The directory that it shows."),
    ("memory", "It is in memory, and holds at most this much."),
    ("script", "The script that makes its files."),
    ("layers", "The trees that lie over each other in it, the upper one first."),
    ("writable", "Whether it takes writes."),
    ("mounts", "Other trees inside it, and where."),
];

/// The trees of a configuration, open.
#[derive(Default)]
pub(crate) struct Trees(HashMap<String, Opened>);

#[derive(Clone)]
struct Opened {
    plan: TreePlan,
    tree: Arc<dyn FileSystem>,
    /// The device and the inode of the directory, to know whether the path still leads to it.
    directory: Option<(u64, u64)>,
    /// The tree itself, if a script makes it.
    scripted: Option<ScriptTree>,
}

impl Trees {
    /// Opens all trees, or tells why not. What `old` has is used again where it is the same: so
    /// trees in memory keep their files, and layers remember what was deleted.
    pub(crate) fn open(
        plans: &[TreePlan],
        old: Option<&Self>,
        way_out: WayOut,
        problems: &mut Problems,
    ) -> Self {
        let mut trees = Self::default();
        let mut waiting: Vec<&TreePlan> = plans.iter().collect();
        // Each round opens what is made of open trees only.
        loop {
            let before = waiting.len();
            waiting.retain(|&plan| {
                if !plan.parts().all(|part| trees.0.contains_key(part)) {
                    return true;
                }
                match trees.open_one(plan, old) {
                    Ok(opened) => drop(trees.0.insert(plan.name.clone(), opened)),
                    Err(error) => {
                        problems.add(cannot_open(plan, &error, way_out));
                        // What is made of it is not at fault.
                        let empty = MemoryTree::with_capacity(plan.options, SystemTime::now, 0);
                        let opened = Opened {
                            plan: plan.clone(),
                            tree: Arc::new(empty),
                            directory: None,
                            scripted: None,
                        };
                        trees.0.insert(plan.name.clone(), opened);
                    }
                }
                false
            });
            if waiting.len() == before {
                break;
            }
        }
        for plan in waiting {
            // Parts that could not be read have been told.
            let known = |part: &String| plans.iter().any(|plan| plan.name == *part);
            if plan.parts().all(known) {
                let what = format!("the tree `{}` is made of itself", plan.name.escape_debug());
                let parts: Vec<_> =
                    plan.parts().map(|p| format!("`{}`", p.escape_debug())).collect();
                let help = format!("its parts lead back to it: {}", parts.join(", "));
                problems.add(Problem::new(plan.span.clone(), what).help(help));
            }
        }
        trees
    }

    fn open_one(&self, plan: &TreePlan, old: Option<&Self>) -> io::Result<Opened> {
        let directory = match &plan.what {
            // Looked at before it is opened: if it changes in between, it is opened once too often.
            Contents::Directory(path) => {
                let metadata = std::fs::metadata(path)?;
                Some((metadata.dev(), metadata.ino()))
            }
            _ => None,
        };
        let same = |name: &String| {
            let before = old.and_then(|old| old.0.get(name));
            before.zip(self.0.get(name)).is_some_and(|(a, b)| Arc::ptr_eq(&a.tree, &b.tree))
        };
        if let Some(before) = old.and_then(|old| old.0.get(&plan.name))
            && before.plan.is_like(plan)
            && before.directory == directory
            && plan.parts().all(same)
        {
            return Ok(Opened { plan: plan.clone(), ..before.clone() });
        }
        let mut scripted = None;
        let mut tree: Arc<dyn FileSystem> = match &plan.what {
            Contents::Directory(path) => Arc::new(LocalTree::open(path, plan.options)?),
            Contents::Memory(most) => {
                Arc::new(MemoryTree::with_capacity(plan.options, SystemTime::now, *most))
            }
            Contents::Layers(names) => {
                let mut layers = names.iter().map(|name| self.0[name].tree.clone());
                let upper = layers.next().expect("a list of layers is never empty");
                Arc::new(LayeredTree::new(upper, layers.collect()))
            }
            Contents::Script(_) => {
                Arc::new(scripted.insert(ScriptTree::new(plan.options.writable)).clone())
            }
        };
        if !plan.mounts.is_empty() {
            let mounted = MountedTree::new(tree);
            for (point, name) in &plan.mounts {
                let at = format!("`{}`", String::from_utf8_lossy(point.as_bytes()).escape_debug());
                let refused = |_| io::Error::other(format!("two trees are mounted at {at}"));
                mounted.mount(point, self.0[name].tree.clone()).map_err(refused)?;
            }
            tree = Arc::new(mounted);
        }
        Ok(Opened { plan: plan.clone(), tree, directory, scripted })
    }

    /// Has the trees that scripts make made by these, in the order of the configuration.
    pub(crate) fn attach(&self, scripts: &[Rc<Script>], callers: &Callers) {
        for Opened { plan, scripted, .. } in self.0.values() {
            let script = plan.script.and_then(|place| scripts.get(place));
            if let Some((tree, script)) = scripted.as_ref().zip(script) {
                tree.attach(script, callers);
            }
        }
    }

    /// Whether there is a tree of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names of all trees.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// What there is to see of a tree.
    pub(crate) fn describe(&self, name: &str) -> Option<Node> {
        let plan = &self.0.get(name)?.plan;
        let text = |text: String| Value::Text(text);
        let node = Node::new("tree").about("A file tree.", TREE_NOTES);
        let node = match &plan.what {
            Contents::Directory(path) => node.field("path", text(path.display().to_string())),
            Contents::Memory(most) => node.field("memory", Value::Bytes(*most)),
            Contents::Layers(layers) => node.field("layers", text(layers.join(", "))),
            Contents::Script(file) => node.field("script", text(file.display().to_string())),
        };
        let mounts: Vec<_> = plan
            .mounts
            .iter()
            .map(|(at, name)| format!("{} = {name}", String::from_utf8_lossy(at.as_bytes())))
            .collect();
        let node = if matches!(plan.what, Contents::Layers(_)) {
            node
        } else {
            node.field("writable", Value::Flag(plan.options.writable))
        };
        Some(if mounts.is_empty() { node } else { node.field("mounts", text(mounts.join(", "))) })
    }

    /// The tree of this name, which the configuration has been checked to have.
    pub(crate) fn tree(&self, name: &str) -> Arc<dyn FileSystem> {
        self.0[name].tree.clone()
    }
}

/// What may be done about a directory that cannot be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WayOut {
    /// It was named on the command line.
    pub(crate) flags: bool,
    /// The process may have shut itself off from it.
    pub(crate) confined: bool,
}

fn cannot_open(plan: &TreePlan, error: &io::Error, way_out: WayOut) -> Problem {
    let Contents::Directory(path) = &plan.what else {
        return Problem::new(plan.span.clone(), error.to_string()).help("leave one of them out");
    };
    let shown = path.display();
    let name = |words: &str| {
        if way_out.flags { format!("{words}: medusa serve DIR") } else { words.to_owned() }
    };
    let (what, help) = match error.kind() {
        io::ErrorKind::NotFound => {
            (format!("there is no directory `{shown}`"), name("name one that exists"))
        }
        io::ErrorKind::NotADirectory => {
            (format!("`{shown}` is not a directory"), name("name the directory that it is in"))
        }
        io::ErrorKind::PermissionDenied => (
            format!("the directory `{shown}` may not be opened by this user"),
            if way_out.confined {
                "allow it (chmod), or serve another one; the server is confined to the directories \
                 that it was started with: restart it to add others"
                    .to_owned()
            } else {
                "allow it (chmod), or serve another one".to_owned()
            },
        ),
        _ => {
            return Problem::new(
                plan.span.clone(),
                format!("cannot open the directory `{shown}`: {error}"),
            );
        }
    };
    Problem::new(plan.span.clone(), what).help(help)
}
