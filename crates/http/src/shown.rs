//! The HTTP service in the inspection tree, and what operators can change there: which extensions
//! answer, in which order.
//!
//! The one design choice: a change is made to the list that runs, and nothing else is touched. So
//! all other extensions keep what they have in memory, and requests that have begun end as they
//! began. A list that a reload has replaced is changed no more, neither by undoing.
//!
//! ```text
//! extensions             the list of the default host
//! hosts / NAME           a host
//! slowest requests / N
//! hosts / NAME / extensions / EXTENSION
//! ```

use std::rc::Rc;

use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value};

use crate::extension::Extension;
use crate::figures::{SLOWEST, ShownSlowest};
use crate::hosts::Host;
use crate::limits::MAX_EXTENSIONS;
use crate::list::{Extensions, Plug};
use crate::service::Shared;

/// Hears of an extension that was to be made.
pub type Made = Box<dyn FnOnce(Result<Rc<dyn Extension>, String>)>;

/// Makes extensions of what operators write.
pub trait Maker {
    /// Makes one, or tells in lines for people what is wrong with the text. It must not block.
    fn make(&self, text: &str, made: Made);
}

const SERVICE_NOTES: &[(&str, &str)] = &[
    ("requests", "Requests that were taken."),
    ("sent", "Bytes of replies, their heads among them."),
    ("2xx", "Replies that gave what was asked for."),
    ("3xx", "Replies that lead elsewhere, or say that nothing has changed."),
    ("4xx", "Replies that refuse."),
    ("5xx", "Replies that fail."),
    ("refused", "Input that was no request."),
    ("aborted", "Requests whose client went away."),
    ("panics", "Faults in extensions; each cost one request."),
    ("limited", "Requests answered 429, because their client asked too often."),
    ("slow", "Requests that came too slowly, and replies that were taken too slowly."),
    ("clients", "Clients that have connections, where those are counted."),
    ("turned away", "Connections of clients that had too many."),
    ("may send", "Bytes that its bandwidth lets out now."),
    ("may receive", "Bytes that its bandwidth lets in now."),
    ("request rate", "How often one client may ask."),
    ("clients asking", "Clients whose requests are counted."),
];

/// The service.
pub(crate) struct Shown(pub(crate) Rc<Shared>);

impl Inspect for Shown {
    fn node(&self) -> Node {
        let node = Node::new("http").about("A server that speaks HTTP.", SERVICE_NOTES);
        let mut node = self.0.figures.describe(node);
        if self.0.limits.is_on() {
            node = self.0.limits.describe(node);
        }
        if let Some(limit) = &*self.0.requests.borrow() {
            let shown = limit.inspect().node();
            let asking = shown.value("clients").cloned().unwrap_or(Value::Count(0));
            node = node
                .field("request rate", Value::Text(limit.options().rate.to_string()))
                .field("clients asking", asking);
        }
        Node { children: ["extensions", "hosts", SLOWEST].map(str::to_owned).to_vec(), ..node }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        match name {
            "extensions" => {
                let list = self.0.setup().hosts.default_host().extensions.clone();
                Some(Rc::new(List { shared: self.0.clone(), list }))
            }
            SLOWEST => Some(Rc::new(ShownSlowest(self.0.clone()))),
            "hosts" => Some(Rc::new(ShownHosts(self.0.clone()))),
            _ => None,
        }
    }
}

struct ShownHosts(Rc<Shared>);

impl Inspect for ShownHosts {
    fn node(&self) -> Node {
        let hosts = self.0.setup().hosts.clone();
        let notes = &[("default", "The host that has what no other one has.")];
        let node = Node::new("hosts")
            .about("The virtual hosts, by their first names.", notes)
            .field("default", Value::Text(hosts.default_host().name.clone()));
        Node { children: hosts.list().iter().map(|host| host.name.clone()).collect(), ..node }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let hosts = self.0.setup().hosts.clone();
        let host = hosts.list().iter().find(|host| host.name == name)?.clone();
        Some(Rc::new(ShownHost { shared: self.0.clone(), host }))
    }
}

struct ShownHost {
    shared: Rc<Shared>,
    host: Host,
}

impl Inspect for ShownHost {
    fn node(&self) -> Node {
        let names: Vec<_> = self.host.extensions.plugs().iter().map(|p| p.name()).collect();
        let notes = &[
            ("names", "The names by which clients ask for it."),
            ("extensions", "What answers, in this order."),
        ];
        let node = Node::new("host")
            .about("A virtual host.", notes)
            .field("names", Value::Text(self.host.names.join(", ")))
            .field("extensions", Value::Text(names.join(", ")));
        Node { children: vec!["extensions".to_owned()], ..node }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let (shared, list) = (self.shared.clone(), self.host.extensions.clone());
        (name == "extensions").then(|| Rc::new(List { shared, list }) as Rc<dyn Inspect>)
    }
}

/// A list of extensions.
#[derive(Clone)]
struct List {
    shared: Rc<Shared>,
    list: Rc<Extensions>,
}

const LIST_ACTIONS: &[Action] = &[Action::new(
    Level::Operate,
    "add",
    "TOML [PLACE]",
    "Plugs in what the text says, written as a section of the configuration without its heading: \
     `use = \"redirect\"` and so on. PLACE counts from 1, or names the extension before which it \
     is put; left out, it comes first.",
)
.undoable()];

const PLUG_ACTIONS: &[Action] = &[
    Action::new(Level::Operate, "remove", "", "Takes it out; requests it has begun go on.")
        .undoable(),
    Action::new(
        Level::Operate,
        "move",
        "PLACE",
        "Puts it at this place, from 1 on, or before the extension of this name.",
    )
    .undoable(),
    Action::new(Level::Operate, "disable", "", "Has requests go past it.").undoable(),
    Action::new(Level::Operate, "enable", "", "Has requests come to it again.").undoable(),
    Action::new(Level::Operate, "replace", "TOML", "Puts what the text says in its place.")
        .undoable(),
];

const PLUG_NOTES: &[(&str, &str)] = &[
    ("use", "What it does."),
    ("place", "Its place in the list, from 1 on; the first that answers has the request."),
    ("on", "Whether requests come to it."),
    ("requests", "Times that a request came to it and matched."),
    ("answered", "Requests that it answered."),
    (
        "errors",
        "Answers with a status of 500 or more, as far as they were given at once, and faults.",
    ),
    ("match", "The paths that it is for."),
    ("methods", "The methods that it is for."),
    ("rate", "How often one client may ask."),
    ("clients", "Clients whose requests are counted."),
    ("limited", "Requests that were too many."),
];

/// What an operator hears who changes what a reload has replaced.
const REPLACED: &str = "the configuration has been loaded anew since, and holds now";

impl List {
    /// Refuses what would change a list that serves nobody any more.
    fn current(&self) -> Result<(), String> {
        let hosts = self.shared.setup().hosts.clone();
        let is_there = hosts.list().iter().any(|host| Rc::ptr_eq(&host.extensions, &self.list));
        if is_there { Ok(()) } else { Err(REPLACED.to_owned()) }
    }

    /// The place that is meant by a number from 1 on, or by the name of an extension.
    fn place(&self, text: &str) -> Result<usize, String> {
        if let Some(plug) = self.list.find(text) {
            return Ok(self.list.place_of(&plug).unwrap_or_default());
        }
        let number = text.parse::<usize>().ok().filter(|number| *number > 0);
        number.map(|number| number - 1).ok_or_else(|| {
            let text = text.escape_debug();
            format!("`{text}` is no place: it takes a number from 1 on or the name of an extension")
        })
    }

    /// Has an extension made of a text and goes on with it, if the list is still the one.
    fn make(
        &self,
        text: &str,
        answer: Answer,
        then: impl FnOnce(&Self, Rc<Plug>, Answer) + 'static,
    ) {
        let maker = self.shared.maker.borrow().clone();
        let Some(maker) = maker else {
            return answer.refused("this server makes no extensions while it runs");
        };
        let list = self.clone();
        let made = move |made: Result<Rc<dyn Extension>, String>| match made
            .and_then(|extension| list.current().map(|()| extension))
        {
            Ok(extension) => then(&list, Plug::new(extension), answer),
            Err(why) => answer.refused(why),
        };
        maker.make(text, Box::new(made));
    }

    fn add(&self, text: &str, place: usize, answer: Answer) {
        self.make(text, answer, move |this, plug, answer| {
            if this.list.plugs().len() >= MAX_EXTENSIONS {
                return answer.refused(format!("there are {MAX_EXTENSIONS} extensions already"));
            }
            this.list.plug(place, plug.clone());
            let place = this.list.place_of(&plug).unwrap_or_default() + 1;
            let said = format!("`{}` is plugged in at place {place}", plug.name());
            this.undoable(answer, said, move |list| {
                list.unplug(&plug).ok_or_else(|| gone(&plug))?;
                Ok(format!("`{}` is taken out again", plug.name()))
            });
        });
    }

    /// Answers with what undoes it, as long as the list is the one that serves.
    fn undoable(
        &self,
        answer: Answer,
        said: String,
        undo: impl FnOnce(&Extensions) -> Result<String, String> + 'static,
    ) {
        let this = self.clone();
        answer.undoable(said, move || this.current().and_then(|()| undo(&this.list)));
    }
}

fn gone(plug: &Plug) -> String {
    format!("`{}` is not there any more", plug.name())
}

impl Inspect for List {
    fn node(&self) -> Node {
        let plugs = self.list.plugs();
        let on = plugs.iter().filter(|plug| !plug.is_off()).count();
        let notes = &[("plugged in", "How many there are."), ("on", "How many are not disabled.")];
        let node = Node::new("extensions")
            .about("What answers requests: the first that matches and answers.", notes)
            .field("plugged in", Value::Count(plugs.len() as u64))
            .field("on", Value::Count(on as u64));
        Node { children: plugs.iter().map(|plug| plug.name().to_string()).collect(), ..node }
    }

    fn child(&self, name: &str) -> Option<Rc<dyn Inspect>> {
        let plug = self.list.find(name)?;
        Some(Rc::new(ShownPlug { within: self.clone(), plug }))
    }

    fn actions(&self) -> &'static [Action] {
        LIST_ACTIONS
    }

    fn act(&self, _: &str, arguments: &[String], answer: Answer) {
        let [text, place @ ..] = arguments else { return };
        match place.first().map_or(Ok(0), |place| self.place(place)) {
            Ok(place) => self.add(text, place, answer),
            Err(why) => answer.refused(why),
        }
    }
}

/// An extension in its list.
struct ShownPlug {
    within: List,
    plug: Rc<Plug>,
}

impl ShownPlug {
    fn remove(&self, answer: Answer) {
        let plug = self.plug.clone();
        let Some(place) = self.within.list.unplug(&plug) else {
            return answer.refused(gone(&plug));
        };
        let said = format!("`{}` is taken out", plug.name());
        self.within.undoable(answer, said, move |list| {
            list.plug(place, plug.clone());
            Ok(format!("`{}` is plugged in again", plug.name()))
        });
    }

    fn shift(&self, place: &str, answer: Answer) {
        let (plug, list) = (self.plug.clone(), &self.within.list);
        let moved = self.within.place(place).and_then(|to| {
            let from = list.place_of(&plug).ok_or_else(|| gone(&plug))?;
            // It is before the one that is named when that one moves up by itself.
            let to = if from < to && list.find(place).is_some() { to - 1 } else { to };
            list.shift(&plug, to).ok_or_else(|| gone(&plug))
        });
        let before = match moved {
            Ok(before) => before,
            Err(why) => return answer.refused(why),
        };
        let place = list.place_of(&plug).unwrap_or_default() + 1;
        let said = format!("`{}` is at place {place}", plug.name());
        self.within.undoable(answer, said, move |list| {
            list.shift(&plug, before).ok_or_else(|| gone(&plug))?;
            Ok(format!("`{}` is at place {} again", plug.name(), before + 1))
        });
    }

    fn switch(&self, off: bool, answer: Answer) {
        let word = |off| if off { "disabled" } else { "enabled" };
        let plug = self.plug.clone();
        let was = self.within.list.switch(&plug, off);
        let said = format!("`{}` is {}", plug.name(), word(off));
        self.within.undoable(answer, said, move |list| {
            list.switch(&plug, was);
            Ok(format!("`{}` is {} again", plug.name(), word(was)))
        });
    }

    fn replace(&self, text: &str, answer: Answer) {
        let old = self.plug.clone();
        self.within.make(text, answer, move |this, new, answer| {
            if !this.list.swap(&old, &new) {
                return answer.refused(gone(&old));
            }
            let said = format!("`{}` has taken the place of `{}`", new.name(), old.name());
            this.undoable(answer, said, move |list| {
                if !list.swap(&new, &old) {
                    return Err(gone(&new));
                }
                Ok(format!("`{}` is back in its place", old.name()))
            });
        });
    }
}

impl Inspect for ShownPlug {
    fn node(&self) -> Node {
        let place = self.within.list.place_of(&self.plug).unwrap_or_default() + 1;
        let Plug { extension, figures, .. } = &*self.plug;
        let node = Node::new("extension")
            .about("An extension: what answers requests, or has them go on.", PLUG_NOTES)
            .field("use", Value::Text(extension.kind().to_owned()))
            .field("place", Value::Count(place as u64))
            .field("on", Value::Flag(!self.plug.is_off()))
            .field("requests", Value::Count(figures.requests.get()))
            .field("answered", Value::Count(figures.answered.get()))
            .field("errors", Value::Count(figures.errors.get()));
        extension.describe(node)
    }

    fn actions(&self) -> &'static [Action] {
        PLUG_ACTIONS
    }

    fn act(&self, action: &str, arguments: &[String], answer: Answer) {
        match (action, arguments) {
            ("remove", _) => self.remove(answer),
            ("move", [place]) => self.shift(place, answer),
            ("disable", _) => self.switch(true, answer),
            ("enable", _) => self.switch(false, answer),
            ("replace", [text]) => self.replace(text, answer),
            _ => {}
        }
    }
}
