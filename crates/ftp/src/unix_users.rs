//! The users of this machine: they log in with their own passwords, begin in their home directory,
//! and all that they do is done under their own identity.
//!
//! The one design choice: the directory that a user's tree begins at is opened under the user's
//! persona too, on the helper thread that has checked the password. So a home that only its user
//! may enter needs no privilege of the server's, and one that the user may not enter is none.
//!
//! Whoever has no home that can be entered is not let in, as by vsftpd: nobody is put at the root of
//! the machine by surprise.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use medusa_auth::{Login, SystemUsers};
use medusa_core::sys::users::User as Account;
use medusa_core::{Handle, Peer, Rate};
use medusa_fs::{FileSystem, LocalTree, Persona, TreeOptions, VirtualPath};

use crate::authorizer::{Authorizer, Permissions, User, Verdict};

/// What users of the system see and may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixOptions {
    /// Whether they see nothing but their home directory, which is then the root. Each session then
    /// holds a descriptor of its own.
    pub confine: bool,
    /// What they may do, within what the system lets them.
    pub permissions: Permissions,
    /// Sessions of one user at once; `None` is any number.
    pub sessions: Option<usize>,
    /// Bandwidth towards all sessions of one user together; `None` is any.
    pub send_rate: Option<Rate>,
    /// Bandwidth from all sessions of one user together.
    pub receive_rate: Option<Rate>,
    /// What they read when they have logged in.
    pub welcome: String,
}

impl Default for UnixOptions {
    fn default() -> Self {
        Self {
            confine: true,
            permissions: Permissions::ALL,
            sessions: None,
            send_rate: None,
            receive_rate: None,
            welcome: "Logged in.".to_owned(),
        }
    }
}

/// How all that users have is seen: personas decide about it.
const TREE: TreeOptions = TreeOptions { writable: true, show_hidden: true, show_backups: true };

/// Lets users of the system in.
pub struct UnixUsers {
    users: SystemUsers,
    options: UnixOptions,
    /// The machine's files, unless users are confined.
    all: Option<Arc<LocalTree>>,
}

impl UnixUsers {
    /// Lets in whom `users` accepts. Taking on their identities needs `CAP_SETUID` and
    /// `CAP_SETGID`; without them nobody can log in, and the log says why.
    ///
    /// # Errors
    ///
    /// The root directory cannot be opened, which only a confined process may not.
    pub fn new(users: SystemUsers, options: UnixOptions) -> io::Result<Self> {
        let all = if options.confine { None } else { Some(Arc::new(LocalTree::open("/", TREE)?)) };
        Ok(Self { users, options, all })
    }
}

/// What a user sees: a tree, and where in it the home is.
type Place = (Arc<dyn FileSystem>, VirtualPath);

/// What a helper thread has found of a user: why there is no place is not the server's fault.
type Found = (Persona, io::Result<Place>);

/// Finds what a user sees, as that user. Blocks.
fn find(account: Account, all: Option<Arc<LocalTree>>) -> Result<Found, String> {
    let home = account.home;
    let persona = Persona::user(account.identity);
    let place = persona.run(|| place(&home, all)).map_err(|error| {
        format!("{error}; the server needs CAP_SETUID and CAP_SETGID to act as its users")
    })?;
    let place = place.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", home.display())));
    Ok((persona, place))
}

/// What a user with this home sees: all, or that alone. Runs as the user.
fn place(home: &Path, all: Option<Arc<LocalTree>>) -> io::Result<Place> {
    // Without links, for in a tree none leads back to the root.
    let home = home.canonicalize()?;
    // Whether it can be entered, which opening it for reading does not say.
    home.join(".").metadata()?;
    let Some(all) = all else {
        return Ok((Arc::new(LocalTree::open(home, TREE)?), VirtualPath::root()));
    };
    let parsed = VirtualPath::parse(home.as_os_str().as_encoded_bytes());
    Ok((all, parsed.map_err(io::Error::other)?.path))
}

impl Authorizer for UnixUsers {
    fn decides(&self, _: &str) -> bool {
        true
    }

    fn authorize(
        &self,
        name: &str,
        password: &[u8],
        peer: &Peer,
        handle: &Handle,
        then: Box<dyn FnOnce(Verdict)>,
    ) {
        let (own, options, all) = (name.to_owned(), self.options.clone(), self.all.clone());
        let welcome = move |account| find(account, all);
        self.users.check(handle, (name, password), peer.ip(), welcome, move |login| {
            then(match login {
                Login::Welcome((persona, Ok((tree, home)))) => {
                    let UnixOptions { sessions, send_rate, receive_rate, welcome, .. } = options;
                    let user = User::new(own, tree, persona, options.permissions);
                    let user = User { home, sessions, send_rate, receive_rate, ..user };
                    Verdict::Welcome(Rc::new(User { welcome, ..user }))
                }
                Login::Welcome((_, Err(why))) => {
                    tracing::warn!("the home of `{own}` cannot be entered: {why}");
                    Verdict::Homeless
                }
                Login::Refused => Verdict::Refused,
                Login::Busy => Verdict::Unavailable,
                Login::Failed(why) => {
                    tracing::error!("users of the system cannot log in by FTP: {why}");
                    Verdict::Unavailable
                }
            });
        });
    }
}
