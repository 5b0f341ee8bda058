//! User directories: serves `/~name/` from a directory in that user's home, under that user's own
//! identity, so that the server shows nothing that the user could not read.
//!
//! The one design choice: each user has a tree of their own, mounted at `/~name`, with a [`Files`]
//! over it. So everything that is true of files (listings, ranges, redirects) is true here, and
//! nothing of one user's can be reached by a path of another's.
//!
//! A user who does not exist, has no such directory, or is not served here looks the same: 404.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Component, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use foldhash::fast::RandomState;
use medusa_core::sys::users::{User, look_up};
use medusa_fs::{
    FileSystem, LocalTree, MemoryTree, MountedTree, Persona, TreeOptions, VirtualPath,
};

use crate::decision::Decision;
use crate::extension::{Exchange, Extension, Handled, Request};
use crate::files::{Files, FilesOptions};
use crate::reply::Reply;
use crate::wire::head::Head;

/// Users whose directories are held open at once.
pub const MAX_KEPT_USERS: usize = 64;

/// Names that are remembered to be nobody's.
pub const MAX_KEPT_NOBODIES: usize = 256;

/// Names that are looked up at once; past them the answer is 503.
pub const MAX_USER_LOOKUPS: usize = 32;

/// How long it is remembered what a look-up found.
pub const USER_LASTS: Duration = Duration::from_secs(60);

/// How long it is remembered that a look-up failed.
const RETRY: Duration = Duration::from_secs(1);

/// The lowest user id that is served unless told otherwise: below it are the system's own.
pub const MIN_UID: u32 = 1000;

/// Bytes of a user name.
pub const MAX_USER_NAME: usize = 32;

/// Bytes of small files kept in memory for each user, unless told otherwise.
pub const USER_CACHE_BYTES: usize = 1 << 20;

/// The umask of users here; they write nothing.
const UMASK: u32 = 0o022;

/// How user directories are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDirectoriesOptions {
    /// The directory in a home that is served.
    pub directory: PathBuf,
    /// Users with lower ids are not served; root never is.
    pub min_uid: u32,
    /// How the files in them are served.
    pub files: FilesOptions,
}

impl Default for UserDirectoriesOptions {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("public_html"),
            min_uid: MIN_UID,
            files: FilesOptions { cache_bytes: USER_CACHE_BYTES, ..FilesOptions::default() },
        }
    }
}

/// Why user directories cannot be served so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserDirectoriesError {
    /// The directory is not one beneath a home.
    Directory(PathBuf),
}

impl fmt::Display for UserDirectoriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Directory(path) = self;
        write!(
            f,
            "`{}` is no directory beneath a home; name one like `public_html`",
            path.display()
        )
    }
}

impl std::error::Error for UserDirectoriesError {}

/// Looks up a user by name, on a helper thread.
type LookUp = Arc<dyn Fn(&str) -> io::Result<Option<User>> + Send + Sync>;

/// Serves the directories of users.
pub struct UserDirectories(Rc<Inner>);

struct Inner {
    options: UserDirectoriesOptions,
    look_up: LookUp,
    users: RefCell<HashMap<Box<str>, Entry, RandomState>>,
    /// Counts uses, to know which is the oldest.
    uses: Cell<u64>,
}

enum Entry {
    /// Being looked up; these wait.
    Asked(Vec<Decision>),
    Nobody {
        until: Instant,
    },
    Somebody {
        until: Instant,
        files: Rc<Files>,
        used: u64,
    },
}

impl UserDirectories {
    /// Serves the users of this machine.
    ///
    /// Taking on their identities needs `CAP_SETUID` and `CAP_SETGID`; without them nobody is
    /// served, and the log says why.
    pub fn new(options: UserDirectoriesOptions) -> Result<Self, UserDirectoriesError> {
        Self::with_users(options, |name| look_up(name, UMASK))
    }

    /// Serves users that `look_up` knows. It is called on a helper thread and may block.
    pub fn with_users(
        options: UserDirectoriesOptions,
        look_up: impl Fn(&str) -> io::Result<Option<User>> + Send + Sync + 'static,
    ) -> Result<Self, UserDirectoriesError> {
        let mut parts = options.directory.components().peekable();
        let is_beneath =
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
        if !is_beneath {
            return Err(UserDirectoriesError::Directory(options.directory));
        }
        Ok(Self(Rc::new(Inner {
            options,
            look_up: Arc::new(look_up),
            users: RefCell::default(),
            uses: Cell::new(0),
        })))
    }
}

/// The user whose directory a request is for.
fn user_of(head: &Head<'_>) -> Option<String> {
    let path = head.target.path();
    // Most paths have neither a tilde nor an escape that could be one.
    memchr::memchr2(b'~', b'%', path.raw())?;
    let path = VirtualPath::parse(&path.decoded()).ok()?.path;
    let name = path.components().next()?.strip_prefix(b"~")?;
    is_name(name).then(|| String::from_utf8_lossy(name).into_owned())
}

/// Whether this can be a user's name: letters, digits, `_`, and further on `-` and `.`.
fn is_name(name: &[u8]) -> bool {
    let may = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    name.len() <= MAX_USER_NAME
        && name.iter().all(may)
        && name.first().is_some_and(|first| !matches!(first, b'-' | b'.'))
}

fn nothing_there() -> Reply {
    Reply::text(404, "there is nothing at this path")
}

impl Inner {
    /// Looks a user up; who waits is asked again when it is known.
    fn ask(self: &Rc<Self>, name: String, request: &Request<'_>) {
        let (inner, look_up, options) = (self.clone(), self.look_up.clone(), self.options.clone());
        let (asked, handle) = (name.clone(), request.handle.clone());
        request.handle.run(
            move || find(&asked, &look_up, &options),
            move |found| {
                let until = handle.now() + USER_LASTS;
                let found = found.map_err(|lost| lost.to_string()).and_then(|found| found);
                let entry = match found {
                    Ok(Some((who, tree))) => {
                        let files = Rc::new(Files::new(tree, who, inner.options.files.clone()));
                        Entry::Somebody { until, files, used: inner.next_use() }
                    }
                    Ok(None) => Entry::Nobody { until },
                    Err(why) => {
                        tracing::error!("the directory of `{name}` cannot be served: {why}");
                        Entry::Nobody { until: handle.now() + RETRY }
                    }
                };
                let before = inner.users.borrow_mut().insert(name.into(), entry);
                inner.forget_some();
                if let Some(Entry::Asked(waiting)) = before {
                    for decision in waiting {
                        decision.ask_again();
                    }
                }
            },
        );
    }

    fn next_use(&self) -> u64 {
        self.uses.set(self.uses.get() + 1);
        self.uses.get()
    }

    /// Forgets the user that was not asked for the longest, and the oldest of the nobodies, if
    /// there are too many.
    fn forget_some(&self) {
        let mut users = self.users.borrow_mut();
        let kept = users.iter().filter_map(|(name, entry)| match entry {
            Entry::Somebody { used, .. } => Some((*used, name.clone())),
            _ => None,
        });
        let kept: Vec<_> = kept.collect();
        if kept.len() > MAX_KEPT_USERS
            && let Some((_, name)) = kept.into_iter().min()
        {
            users.remove(&name);
        }
        let nobodies = users.iter().filter_map(|(name, entry)| match entry {
            Entry::Nobody { until } => Some((*until, name.clone())),
            _ => None,
        });
        let nobodies: Vec<_> = nobodies.collect();
        if nobodies.len() > MAX_KEPT_NOBODIES
            && let Some((_, name)) = nobodies.into_iter().min()
        {
            users.remove(&name);
        }
    }
}

/// A user's tree, mounted, and who it is read as; nothing where nothing is shown.
type Found = Option<(Persona, Arc<dyn FileSystem>)>;

/// Finds a user's directory and opens it as that user. Runs on a helper thread.
fn find(name: &str, look_up: &LookUp, options: &UserDirectoriesOptions) -> Result<Found, String> {
    let user = look_up(name).map_err(|error| format!("the look-up failed: {error}"))?;
    let Some(user) = user else { return Ok(None) };
    let uid = user.identity.uid;
    if uid == 0 || uid < options.min_uid || !user.home.is_absolute() {
        return Ok(None);
    }
    let who = Persona::user(user.identity);
    let root = user.home.join(&options.directory);
    let opened = who.run(|| LocalTree::open(&root, TreeOptions::default()));
    let opened = opened
        .map_err(|error| format!("{error}; the server needs CAP_SETUID and CAP_SETGID for that"))?;
    let tree = match opened {
        Ok(tree) => tree,
        Err(error) => {
            tracing::debug!("the user `{name}` shows nothing: {}: {error}", root.display());
            return Ok(None);
        }
    };
    let nothing = MemoryTree::new(TreeOptions::default(), SystemTime::now);
    let mounted = MountedTree::new(Arc::new(nothing));
    let point = VirtualPath::root().child(format!("~{name}").as_bytes());
    let point = point.map_err(|error| error.to_string())?;
    mounted.mount(&point, Arc::new(tree)).map_err(|error| error.to_string())?;
    Ok(Some((who, Arc::new(mounted))))
}

impl Extension for UserDirectories {
    fn name(&self) -> &'static str {
        "user-directories"
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        user_of(request.head).is_some()
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let inner = &self.0;
        let Some(name) = user_of(request.head) else { return Handled::Pass };
        let now = request.handle.now();
        let mut users = inner.users.borrow_mut();
        match users.get_mut(&*name) {
            Some(Entry::Somebody { until, files, used }) if *until > now => {
                *used = inner.next_use();
                let files = files.clone();
                drop(users);
                return files.handle(request, exchange);
            }
            Some(Entry::Nobody { until }) if *until > now => return Handled::Now(nothing_there()),
            Some(Entry::Asked(waiting)) => {
                waiting.push(exchange.decide_later());
                return Handled::Later;
            }
            _ => {}
        }
        let asked = users.values().filter(|entry| matches!(entry, Entry::Asked(_))).count();
        if asked >= MAX_USER_LOOKUPS {
            return Handled::Now(Reply::text(503, "too many users are being looked up"));
        }
        users.insert(name.as_str().into(), Entry::Asked(vec![exchange.decide_later()]));
        drop(users);
        inner.ask(name, request);
        Handled::Later
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fields::FieldTable;

    #[test]
    fn names_are_found_however_they_are_written() {
        for (target, expected) in [
            ("/~ann/", Some("ann")),
            ("/~ann", Some("ann")),
            ("/%7Eann/x", Some("ann")),
            ("//./~an%6E/../~bob/x", Some("bob")),
            ("/~a.b-c_D9/", Some("a.b-c_D9")),
            ("/x/~ann/", None),
            ("/ann", None),
            ("/~", None),
            ("/~/", None),
            ("/~-ann", None),
            ("/~.ann", None),
            ("/~../x", None),
            ("/~a%2fb/", Some("a")),
            ("/~a:b/", None),
            ("/~%C3%A4/", None),
            ("/~ann/../..", None),
            ("/~12345678901234567890123456789012/", Some("12345678901234567890123456789012")),
            ("/~123456789012345678901234567890123/", None),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut table = FieldTable::new();
            let head = Head::parse(text.as_bytes(), &mut table).expect(target);
            assert_eq!(user_of(&head).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn only_directories_beneath_a_home_can_be_served() {
        let made = |directory: &str| {
            let directory = PathBuf::from(directory);
            let options = UserDirectoriesOptions { directory, ..Default::default() };
            UserDirectories::new(options).map(|_| ())
        };
        assert_eq!((made("public_html"), made("www/public")), (Ok(()), Ok(())));
        for directory in ["", "/srv", "..", "a/../../b", "."] {
            let error = made(directory).unwrap_err();
            assert!(error.to_string().contains(directory));
        }
    }
}
