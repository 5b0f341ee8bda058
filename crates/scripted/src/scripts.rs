//! All scripts of a configuration, which are replaced as a whole.
//!
//! The one design choice: a script that is the same in the next configuration goes on with all it
//! has, globals, timers and connections; any other is loaded before anything is replaced.

use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::Handle;
use medusa_script::{Budget, ScriptError, SharedTable, Store, Value};

use crate::host::Host;
use crate::script::{Returns, Script, ScriptPlan};

/// Scripts that may be loaded by hand.
pub const BY_HAND: usize = 100;
/// Bytes of the name of a script that is loaded by hand.
pub const NAME_BYTES: usize = 64;

/// All scripts of a server. The engine is made when the first script needs it.
pub struct Scripts {
    pub(crate) handle: Handle,
    options: ScriptsOptions,
    shared: SharedTable,
    store: Option<Store>,
    pub(crate) host: OnceCell<Host>,
    list: RefCell<Vec<Rc<Script>>>,
    /// Those that were loaded by hand, which outlast a reload.
    by_hand: RefCell<Vec<Rc<Script>>>,
}

/// What all scripts of a server may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptsOptions {
    /// Bytes of memory of the engine.
    pub memory: usize,
    /// The file of the store, and how many bytes keys and values may take in it.
    pub store: Option<(PathBuf, u64)>,
}

/// Scripts that are loaded and wait for what they are part of.
pub type Loaded = Vec<Rc<Script>>;

/// A script that cannot be loaded.
#[derive(Debug)]
pub struct NotLoaded {
    /// Which of the plans.
    pub place: usize,
    /// Why.
    pub error: ScriptError,
}

/// Hears what came of loading.
type Heard = Box<dyn FnOnce(Result<Loaded, NotLoaded>)>;

/// What is being loaded.
struct Loading {
    scripts: Vec<Rc<Script>>,
    left: usize,
    failed: Option<NotLoaded>,
    heard: Option<Heard>,
}

impl Scripts {
    /// Makes room for scripts that may use so much.
    pub fn new(handle: &Handle, options: ScriptsOptions) -> Rc<Self> {
        let store = options.store.clone().map(|(path, most)| Store::new(handle, path, most));
        Rc::new(Self {
            handle: handle.clone(),
            options,
            shared: SharedTable::default(),
            store,
            host: OnceCell::new(),
            list: RefCell::default(),
            by_hand: RefCell::default(),
        })
    }

    /// The engine.
    pub fn host(&self) -> Result<Host, ScriptError> {
        if let Some(host) = self.host.get() {
            return Ok(host.clone());
        }
        let host = Host::new(&self.handle, self.options.memory, &self.shared, self.store.as_ref())?;
        Ok(self.host.get_or_init(|| host).clone())
    }

    /// What they may use.
    pub fn options(&self) -> &ScriptsOptions {
        &self.options
    }

    /// Loads scripts, without putting them in force; `then` hears which, in the order of the plans,
    /// or the first that cannot be loaded. Those that are the same as one in force are that one.
    ///
    /// Where the loop does not run yet, `at_once` has all of it done before this returns.
    pub fn load(
        &self,
        plans: Vec<ScriptPlan>,
        at_once: bool,
        then: impl FnOnce(Result<Loaded, NotLoaded>) + 'static,
    ) {
        if plans.is_empty() {
            return then(Ok(Vec::new()));
        }
        let host = match self.host() {
            Ok(host) => host,
            Err(error) => return then(Err(NotLoaded { place: 0, error })),
        };
        let mut old = self.list.borrow().clone();
        let mut fresh = Vec::new();
        let mut scripts = Vec::new();
        for (place, plan) in plans.into_iter().enumerate() {
            let same = old.iter().position(|script| script.is_loaded_as(&plan));
            scripts.push(if let Some(same) = same {
                old.swap_remove(same)
            } else {
                let source = plan.source.clone();
                let script = Script::new(&host, plan);
                fresh.push((place, script.clone(), source));
                script
            });
        }
        // One more than there are, so that nobody hears of it before all have begun.
        let left = fresh.len() + 1;
        let heard: Heard = Box::new(then);
        let heard = Some(heard);
        let loading = Rc::new(RefCell::new(Loading { scripts, left, failed: None, heard }));
        for (place, script, source) in fresh {
            let to = loading.clone();
            let running = script.load(source, move |loaded| {
                Loading::ended(&to, loaded.err().map(|error| NotLoaded { place, error }));
            });
            if let Some(running) = running.filter(|_| at_once) {
                running.run_on();
            }
        }
        Loading::ended(&loading, None);
    }

    /// Puts loaded scripts in force, in place of all others. Calls of those that have begun go on.
    pub fn replace(&self, loaded: &[Rc<Script>]) {
        let old = self.list.replace(loaded.to_vec());
        for script in loaded {
            script.activate();
        }
        for script in old {
            if !loaded.iter().any(|new| Rc::ptr_eq(new, &script)) {
                script.end();
            }
        }
    }

    /// Tells all scripts that listen for it of something that has happened.
    pub fn emit(&self, event: &str, about: impl FnOnce() -> Value) {
        if let Some(host) = self.host.get() {
            host.emit(event, &about());
        }
    }

    /// What the shared table has under this name.
    pub fn shared(&self, name: &str) -> Value {
        self.shared.get(name.as_bytes())
    }

    /// The script of this name.
    pub fn find(&self, name: &str) -> Option<Rc<Script>> {
        self.all().into_iter().find(|script| script.name() == name)
    }

    /// All scripts, those of the configuration first.
    pub fn all(&self) -> Vec<Rc<Script>> {
        [&self.list, &self.by_hand].iter().flat_map(|list| list.borrow().clone()).collect()
    }

    /// Loads a script by hand: as the next version of the one that has its name, or as a new one
    /// that acts on events and timers. `then` hears whether it is in force.
    pub fn load_by_hand(
        self: &Rc<Self>,
        name: &str,
        file: &str,
        source: Bytes,
        then: impl FnOnce(Result<(), ScriptError>) + 'static,
    ) {
        if let Some(script) = self.find(name) {
            script.load(source, then);
            return;
        }
        let refused = |why: String| Err(ScriptError::Refused(why));
        if name.is_empty() || name.contains(['/', '\0']) || name.len() > NAME_BYTES {
            let why = format!("a name has 1 to {NAME_BYTES} bytes, and no slash");
            return then(refused(why));
        }
        if self.by_hand.borrow().len() >= BY_HAND {
            return then(refused(format!("{BY_HAND} scripts are loaded by hand; drop some first")));
        }
        let host = match self.host() {
            Ok(host) => host,
            Err(error) => return then(Err(error)),
        };
        let plan = ScriptPlan {
            name: name.to_owned(),
            file: file.to_owned(),
            source: source.clone(),
            arguments: Value::Nil,
            budget: Budget::HANDLER,
            returns: Returns::Anything,
            trees: Vec::new(),
        };
        let (this, script) = (self.clone(), Script::new(&host, plan));
        script.clone().load(source, move |loaded| {
            if loaded.is_ok() {
                script.activate();
                this.by_hand.borrow_mut().push(script);
            }
            then(loaded);
        });
    }

    /// Ends a script with all that it is doing; says whether there was one. One that is part of a
    /// server stays in its place and lets requests pass.
    pub fn drop_script(&self, name: &str) -> bool {
        let Some(script) = self.find(name) else { return false };
        script.drop_all();
        self.by_hand.borrow_mut().retain(|other| !Rc::ptr_eq(other, &script));
        true
    }
}

impl Loading {
    /// One of them has ended.
    fn ended(this: &RefCell<Self>, failed: Option<NotLoaded>) {
        let (heard, result) = {
            let mut this = this.borrow_mut();
            if let Some(failed) = failed
                && this.failed.as_ref().is_none_or(|before| failed.place < before.place)
            {
                this.failed = Some(failed);
            }
            this.left -= 1;
            if this.left > 0 {
                return;
            }
            let scripts = std::mem::take(&mut this.scripts);
            (this.heard.take(), this.failed.take().map_or(Ok(scripts), Err))
        };
        if let Some(heard) = heard {
            heard(result);
        }
    }
}

impl Script {
    /// Whether it is in force as the plan says.
    fn is_loaded_as(&self, plan: &ScriptPlan) -> bool {
        self.version().is_some() && self.plan() == *plan
    }
}
