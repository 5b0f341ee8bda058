//! Who may log in: `[server.anonymous]` and `[[server.user]]`.

use std::path::PathBuf;
use std::rc::Rc;

use medusa_auth::{Checker, CheckerSettings};
use medusa_core::Rate;
use medusa_core::sys::privileges::Keep;
use medusa_core::sys::users;
use medusa_fs::{MAX_QUOTA_ENTRIES, Persona, Quota, VirtualPath};
use medusa_ftp::authorizer::ANONYMOUS_NAMES;
use medusa_ftp::limits::MAX_USER_BYTES;
use medusa_ftp::{Anonymous, Authorizer, Permissions, User, VirtualUsers};

use crate::config::Span;
use crate::config::build::Build;
use crate::config::kind::{Bytes, FilePath, Mode, Name, Number, Parsed, Size, Text};
use crate::config::limits::bandwidth;
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::life::directory_of;

/// Users of one server.
const MAX_USERS: usize = 4096;

/// Users without a password that are told by name.
const MAX_TOLD: usize = 16;

/// Directories in which a user may do something else than elsewhere.
const MAX_DIRECTORIES: usize = 256;

/// Bytes of a text that clients read.
pub(super) const MAX_TEXT: usize = 4096;

/// What a user is told who has logged in.
const WELCOME: &str = "Logged in.";

/// The letters of what may be done.
pub(super) fn permissions() -> Parsed<Permissions> {
    Parsed {
        what: "letters of what may be done: e enter directories, l list, r retrieve, a append, \
               d delete, f rename, m make directories, w store, M change modes, T change times",
        parse: str::parse,
        write: Permissions::to_string,
    }
}

/// What is said of anybody who may log in.
struct Somebody {
    files: String,
    permissions: Permissions,
    directories: Vec<(VirtualPath, Permissions)>,
    quota: Option<Quota>,
    shares: Shares,
}

/// What the sessions of one name have together.
pub(super) struct Shares {
    pub(super) sessions: Option<usize>,
    pub(super) send_rate: Option<Rate>,
    pub(super) receive_rate: Option<Rate>,
    pub(super) welcome: String,
}

impl Somebody {
    fn build(self, name: &str, build: &Build<'_>) -> User {
        let tree = build.tree(&self.files);
        let mut user = User::new(name, tree, Persona::Process, self.permissions);
        for (directory, permissions) in self.directories {
            user.rights = user.rights.within(directory, permissions);
        }
        if let Some(quota) = self.quota {
            user = user.with_quota(quota);
        }
        let Shares { sessions, send_rate, receive_rate, welcome } = self.shares;
        User { sessions, send_rate, receive_rate, welcome, ..user }
    }
}

/// Reads what is said of anybody who may log in.
fn somebody(section: &mut Section<'_>, trees: &[String]) -> Option<Somebody> {
    let named = Name { what: "a file tree", names: trees };
    let files = section.needed("files", "The tree that they see; its root is their home.", &named);
    let permissions = section.or(
        "permissions",
        "What they may do there; the tree must take writes (`writable`) for some of it.",
        &permissions(),
        Permissions::READ,
    );
    let directories = section.tables(
        "directory",
        "A directory in which they may do something else. The deepest one counts.",
        MAX_DIRECTORIES,
        directory,
    );
    let quota = quota(section);
    let shares = shares(section);
    let directories: Option<Vec<_>> = directories.into_iter().collect();
    Some(Somebody { files: files?, permissions, directories: directories?, quota, shares })
}

/// Reads what a tree may hold; `None` is any amount.
fn quota(section: &mut Section<'_>) -> Option<Quota> {
    let bytes = section.maybe(
        "quota",
        "Bytes that their tree may hold, whoever has put them there: it is counted when somebody \
         logs in, and what would pass it is refused. Others who write to the same tree pass it by \
         until then, so give each a tree. Left out: any number.",
        &Size(0..=i64::MAX as u64),
    );
    let files = section.maybe(
        "quota_files",
        "Files, directories and links that their tree may hold. Left out: any number, or, with \
         `quota`, as many as can be counted, which is 1000000.",
        &Number(0..=MAX_QUOTA_ENTRIES),
    );
    (bytes.is_some() || files.is_some()).then_some(Quota { bytes, files })
}

/// Reads what the sessions of one name have together.
pub(super) fn shares(section: &mut Section<'_>) -> Shares {
    let sessions = section.maybe(
        "sessions",
        "Sessions of one name at once. Left out: any number.",
        &Number(1..=u64::from(u32::MAX)),
    );
    let send_rate = bandwidth(
        section,
        "send_rate",
        "Bytes a second that are sent to all sessions of one name together. Left out: any.",
    );
    let receive_rate = bandwidth(
        section,
        "receive_rate",
        "Bytes a second that are read from all sessions of one name together. Left out: any.",
    );
    let welcome = section.or(
        "welcome",
        "What they read when they have logged in; it may have several lines.",
        &Bytes(MAX_TEXT),
        WELCOME.to_owned(),
    );
    Shares { sessions: sessions.map(|n| n as usize), send_rate, receive_rate, welcome }
}

fn directory(section: &mut Section<'_>) -> Option<(VirtualPath, Permissions)> {
    let at = section.needed(
        "at",
        "The directory; it holds for all that is beneath it, too.",
        &Text("a path in the tree, as \"/incoming\""),
    );
    let permissions = section.needed("permissions", "What they may do there.", &permissions());
    let at = at?;
    let path = VirtualPath::parse(at.as_bytes()).ok().filter(|_| at.starts_with('/'));
    let Some(path) = path else {
        section.advise("at", "`at` takes a path in the tree", "as \"/incoming\"");
        return None;
    };
    Some((path.path, permissions?))
}

/// Anonymous users as the configuration has them.
pub(super) struct AnonymousPlan {
    somebody: Somebody,
    persona: Persona,
}

impl AnonymousPlan {
    pub(super) fn build(self, build: &Build<'_>) -> Rc<dyn Authorizer> {
        let user = self.somebody.build("anonymous", build);
        Rc::new(Anonymous::new(User { is_anonymous: true, persona: self.persona, ..user }))
    }
}

/// Reads `[server.anonymous]`.
pub(super) fn anonymous(section: &mut Section<'_>, trees: &[String]) -> Option<AnonymousPlan> {
    let identity = section.maybe(
        "identity",
        "The user of this machine as whom they read and write, as \"ftp\" or \"nobody\"; not root. It \
         takes a server that root has started. Left out: the server's own user.",
        &Text("the name of a user"),
    );
    let umask = section.or("umask", "With `identity`: the umask of what they make.", &Mode, 0o022);
    let somebody = somebody(section, trees);
    let persona = match identity {
        None => Persona::Process,
        Some(name) => persona(section, &name, umask)?,
    };
    Some(AnonymousPlan { somebody: somebody?, persona })
}

/// The persona of a user of this machine.
fn persona(section: &mut Section<'_>, name: &str, umask: u32) -> Option<Persona> {
    section.need(|needs| needs.keep = needs.keep.max(Keep::Personas));
    let shown = name.escape_debug();
    match users::look_up(name, umask) {
        Ok(Some(user)) if user.identity.uid == 0 => {
            section.advise(
                "identity",
                "nobody may be root",
                "name a user without rights, as \"ftp\"",
            );
        }
        Ok(Some(user)) => return Some(Persona::user(user.identity)),
        Ok(None) => section.refuse("identity", format!("this machine has no user `{shown}`")),
        Err(e) => section.refuse("identity", format!("cannot look up the user `{shown}`: {e}")),
    }
    None
}

/// Virtual users as the configuration has them.
pub(super) struct UsersPlan {
    /// Nothing without users.
    passwords: Option<PathBuf>,
    /// Where the file is named.
    place: Span,
    users: Vec<(String, Somebody)>,
}

impl UsersPlan {
    pub(super) fn build(self, build: &Build<'_>) -> Result<Option<Rc<dyn Authorizer>>, Problem> {
        let Some(passwords) = self.passwords else { return Ok(None) };
        let checker = Checker::new(passwords.clone(), CheckerSettings::default());
        let checker = checker.map_err(|e| Problem::new(self.place.clone(), e))?;
        // No mistake: a password may be taken away to keep somebody out.
        let lost = checker.without_password(self.users.iter().map(|(name, _)| &**name));
        let lost = lost.map_err(|e| Problem::new(self.place, e))?;
        for name in lost.iter().take(MAX_TOLD) {
            tracing::warn!(
                "the user `{}` of FTP cannot log in: no password stands in `{}`; `medusa passwd` \
                 adds it",
                name.escape_debug(),
                passwords.display()
            );
        }
        if lost.len() > MAX_TOLD {
            tracing::warn!("{} more users of FTP have no password", lost.len() - MAX_TOLD);
        }
        let users = self.users.into_iter().map(|(name, user)| user.build(&name, build));
        Ok(Some(Rc::new(VirtualUsers::new(checker, users))))
    }
}

/// Reads `passwords` and `[[server.user]]`.
pub(super) fn users(section: &mut Section<'_>, trees: &[String]) -> Option<UsersPlan> {
    let passwords = section.maybe(
        "passwords",
        "The password file of the users (`medusa passwd`); the server reads it again when it \
         changes.",
        &FilePath,
    );
    let mut seen = Vec::new();
    if section.has("anonymous") {
        seen.extend(ANONYMOUS_NAMES.map(str::to_owned));
    }
    let users = section.tables(
        "user",
        "A user of this server's own, whose password stands in `passwords`.",
        MAX_USERS,
        |section| user(section, trees, &mut seen),
    );
    if let Some(file) = &passwords {
        // The directory, since the file is replaced when it is changed.
        section.need(|needs| needs.read.push(directory_of(file)));
        // Told here, with all else that is wrong.
        if let Err(error) = Checker::new(file.clone(), CheckerSettings::default()) {
            section.refuse("passwords", error);
        }
    }
    if section.has("user") != section.has("passwords") {
        let (what, help) = if section.has("user") {
            ("there are users without passwords", "name the password file: `passwords`")
        } else {
            ("there are passwords, and no users", "give it [[server.user]]")
        };
        section.add_here(what, help);
        return None;
    }
    let place = section.place("passwords");
    let users: Option<Vec<_>> = users.into_iter().collect();
    Some(UsersPlan { passwords, place, users: users? })
}

fn user(
    section: &mut Section<'_>,
    trees: &[String],
    seen: &mut Vec<String>,
) -> Option<(String, Somebody)> {
    let name = section.needed("name", "The name to log in with.", &Text("the name of a user"));
    let user = somebody(section, trees);
    let name = name?;
    if name.len() > MAX_USER_BYTES {
        section.refuse("name", format!("a name has at most {MAX_USER_BYTES} bytes"));
        return None;
    }
    if seen.contains(&name) {
        let what = format!("there is somebody called `{}` already", name.escape_debug());
        section.refuse("name", what);
    }
    seen.push(name.clone());
    Some((name, user?))
}
