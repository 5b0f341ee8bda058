//! Who may log in, and what they may do then.
//!
//! The one design choice: an authorizer gives a [`User`], which has everything that a session goes
//! by: a tree, the persona of all its operations, and rights by directory. A session holds no other
//! way to a file.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use medusa_auth::Checker;
use medusa_core::{Handle, Peer, Rate};
use medusa_fs::{FileSystem, Persona, Quota, QuotaTree, VirtualPath};

/// Somebody who may log in.
pub struct User {
    /// The name, as it stands in logs.
    pub name: String,
    /// Whether there is no telling who it is.
    pub is_anonymous: bool,
    /// What they see.
    pub tree: Arc<dyn FileSystem>,
    /// The directory of the tree that they begin in.
    pub home: VirtualPath,
    /// The identity of all their operations.
    pub persona: Persona,
    /// What they may do.
    pub rights: Rights,
    /// Sessions of this user at once; `None` is any number.
    pub sessions: Option<usize>,
    /// Bandwidth towards all sessions of this user together; `None` is any.
    pub send_rate: Option<Rate>,
    /// Bandwidth from all sessions of this user together.
    pub receive_rate: Option<Rate>,
    /// What holds their tree to a quota, if anything does: see [`User::with_quota`].
    pub quota: Option<QuotaTree>,
    /// What they read when they have logged in.
    pub welcome: String,
}

impl User {
    /// Makes a user who may do so much with a tree, with any number of sessions and any bandwidth.
    pub fn new(
        name: impl Into<String>,
        tree: Arc<dyn FileSystem>,
        persona: Persona,
        permissions: Permissions,
    ) -> Self {
        Self {
            name: name.into(),
            is_anonymous: false,
            tree,
            home: VirtualPath::root(),
            persona,
            rights: Rights::new(permissions),
            sessions: None,
            send_rate: None,
            receive_rate: None,
            quota: None,
            welcome: "Logged in.".to_owned(),
        }
    }

    /// Holds what stands in the user's tree to a quota, which all sessions share. It is counted
    /// when somebody logs in.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        let tree = QuotaTree::new(self.tree, quota);
        self.tree = Arc::new(tree.clone());
        self.quota = Some(tree);
        self
    }
}

/// What may be done, in the letters of pyftpdlib.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u16);

impl Permissions {
    /// `e`: enter directories.
    pub const ENTER: Self = Self(1);
    /// `l`: list directories, and ask about files.
    pub const LIST: Self = Self(1 << 1);
    /// `r`: retrieve files.
    pub const RETRIEVE: Self = Self(1 << 2);
    /// `a`: append to files.
    pub const APPEND: Self = Self(1 << 3);
    /// `d`: delete files and directories.
    pub const DELETE: Self = Self(1 << 4);
    /// `f`: rename files and directories.
    pub const RENAME: Self = Self(1 << 5);
    /// `m`: make directories.
    pub const MAKE: Self = Self(1 << 6);
    /// `w`: store files.
    pub const STORE: Self = Self(1 << 7);
    /// `M`: change modes.
    pub const MODE: Self = Self(1 << 8);
    /// `T`: change times.
    pub const TIME: Self = Self(1 << 9);
    /// What only reads: `elr`.
    pub const READ: Self = Self(0b111);
    /// Everything.
    pub const ALL: Self = Self((1 << 10) - 1);

    /// Whether all of `other` is allowed.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The letters, in the order of the bits.
const LETTERS: &str = "elradfmwMT";

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = LETTERS.char_indices().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        f.write_str(&set.map(|(_, letter)| letter).collect::<String>())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl FromStr for Permissions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.chars().try_fold(Self(0), |all, letter| {
            let bit = LETTERS.find(letter);
            bit.map(|bit| Self(all.0 | 1 << bit)).ok_or_else(|| {
                format!("`{letter}` is no permission: they are the letters {LETTERS}")
            })
        })
    }
}

/// Permissions in general, and in some directories.
#[derive(Clone, Debug)]
pub struct Rights {
    general: Permissions,
    directories: Vec<(VirtualPath, Permissions)>,
}

impl Rights {
    /// Allows this everywhere.
    pub fn new(general: Permissions) -> Self {
        Self { general, directories: Vec::new() }
    }

    /// Allows something else in a directory and what is below it.
    #[must_use]
    pub fn within(mut self, directory: VirtualPath, permissions: Permissions) -> Self {
        self.directories.push((directory, permissions));
        self
    }

    /// Whether something else is allowed in the directory at `path`, or in one beneath it, than in
    /// general.
    pub(crate) fn differ_within(&self, path: &VirtualPath) -> bool {
        self.directories.iter().any(|(directory, _)| directory.starts_with(path))
    }

    /// What is allowed with the entry at `path`: what the deepest directory says.
    pub fn at(&self, path: &VirtualPath) -> Permissions {
        let within = self.directories.iter().filter(|(directory, _)| path.starts_with(directory));
        let deepest = within.max_by_key(|(directory, _)| directory.as_bytes().len());
        deepest.map_or(self.general, |(_, permissions)| *permissions)
    }
}

/// What an authorizer says.
pub enum Verdict {
    /// This is who it is.
    Welcome(Rc<User>),
    /// Name and password do not belong together, or there is no such name.
    Refused,
    /// They do, but the home directory cannot be entered.
    Homeless,
    /// There is no telling now.
    Unavailable,
}

/// Says who may log in.
pub trait Authorizer {
    /// Whether it decides about this name. One that keeps its names to itself decides about all.
    fn decides(&self, name: &str) -> bool;

    /// Decides, and tells `then`, within this call or later. It must take as long for a name that
    /// does not exist as for a wrong password.
    fn authorize(
        &self,
        name: &str,
        password: &[u8],
        peer: &Peer,
        handle: &Handle,
        then: Box<dyn FnOnce(Verdict)>,
    );
}

/// The names by which anonymous users are known, in any case.
pub const ANONYMOUS_NAMES: [&str; 2] = ["anonymous", "ftp"];

/// Lets anybody in as `anonymous` or `ftp`, with any password.
pub struct Anonymous(Rc<User>);

impl Anonymous {
    /// Lets them in as this user.
    pub fn new(user: User) -> Self {
        Self(Rc::new(user))
    }

    /// Lets them read a tree.
    pub fn reading(tree: Arc<dyn FileSystem>, persona: Persona) -> Self {
        Self::with(tree, persona, Permissions::READ)
    }

    /// Lets them do so much with a tree.
    pub fn with(tree: Arc<dyn FileSystem>, persona: Persona, permissions: Permissions) -> Self {
        let user = User::new("anonymous", tree, persona, permissions);
        Self::new(User { is_anonymous: true, ..user })
    }
}

impl Authorizer for Anonymous {
    fn decides(&self, name: &str) -> bool {
        ANONYMOUS_NAMES.iter().any(|own| name.eq_ignore_ascii_case(own))
    }

    fn authorize(&self, _: &str, _: &[u8], _: &Peer, _: &Handle, then: Box<dyn FnOnce(Verdict)>) {
        then(Verdict::Welcome(self.0.clone()));
    }
}

/// Users of the server's own, whose passwords stand in a password file.
pub struct VirtualUsers {
    checker: Checker,
    users: Rc<HashMap<String, Rc<User>>>,
}

impl VirtualUsers {
    /// Lets these in, each with the password that the checker's file has for the name.
    pub fn new(checker: Checker, users: impl IntoIterator<Item = User>) -> Self {
        let by_name = users.into_iter().map(|user| (user.name.clone(), Rc::new(user)));
        Self { checker, users: Rc::new(by_name.collect()) }
    }
}

impl Authorizer for VirtualUsers {
    fn decides(&self, _: &str) -> bool {
        true
    }

    fn authorize(
        &self,
        name: &str,
        password: &[u8],
        _: &Peer,
        handle: &Handle,
        then: Box<dyn FnOnce(Verdict)>,
    ) {
        let (users, own) = (self.users.clone(), name.to_owned());
        // A name that is no user's is checked too, so that it takes as long.
        self.checker.check(handle, name, password, move |verdict| {
            then(match (verdict, users.get(&own)) {
                (medusa_auth::Verdict::Right, Some(user)) => Verdict::Welcome(user.clone()),
                (medusa_auth::Verdict::Right | medusa_auth::Verdict::Wrong, _) => Verdict::Refused,
                (medusa_auth::Verdict::Busy, _) => Verdict::Unavailable,
                (medusa_auth::Verdict::Failed(why), _) => {
                    tracing::error!("nobody can log in by FTP: {why}");
                    Verdict::Unavailable
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_letters() {
        assert_eq!("elr".parse(), Ok(Permissions::READ));
        assert_eq!("elradfmwMT".parse(), Ok(Permissions::ALL));
        assert_eq!(Permissions::ALL.to_string(), "elradfmwMT");
        assert!("elx".parse::<Permissions>().expect_err("no letter").contains("`x`"));
        assert!(Permissions::ALL.has(Permissions::READ));
        assert!(!Permissions::READ.has(Permissions::STORE));
    }

    #[test]
    fn the_deepest_directory_decides() {
        let path = |text: &str| VirtualPath::parse(text.as_bytes()).expect("a path").path;
        let rights = Rights::new(Permissions::READ)
            .within(path("/in/open"), Permissions::ALL)
            .within(path("/in"), Permissions::STORE);
        assert_eq!(rights.at(&path("/a")), Permissions::READ);
        assert_eq!(rights.at(&path("/in")), Permissions::STORE);
        assert_eq!(rights.at(&path("/in/open/x")), Permissions::ALL);
        assert_eq!(rights.at(&path("/inside")), Permissions::READ);
    }
}
