//! The users of this machine: whether name and password belong together, and whether the account
//! may be used.
//!
//! The one design choice: two ways to check a password, and one set of rules beside it that holds
//! for both. The password is checked by PAM, in a process of its own ([`crate::pam`]), or against
//! the system's file of hashes, which also says when an account expires. Root, the system's own
//! users, shells that are none and the names in `/etc/ftpusers` are refused here.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_core::Handle;
use medusa_core::sys::persona::reading_as_root;
use medusa_core::sys::users::{User, look_up};

use crate::crypt;
use crate::file::MAX_NAME;
use crate::pam::Pam;
use crate::password::MAX_PASSWORD;
use crate::shadow::{self, Refusal};
use crate::turns::Turns;

/// Bytes of one of the system's files.
pub const MAX_SYSTEM_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// The lowest user id that may log in unless told otherwise: below it are the system's own.
pub const MIN_UID: u32 = 1000;

/// Seconds of a day, in which the file of hashes counts.
const DAY: u64 = 24 * 60 * 60;

/// Shells of a system that has no list of them (getusershell(3)).
const SHELLS: [&str; 2] = ["/bin/sh", "/bin/csh"];

/// What users have as a shell who are not to log in, whatever the list of shells says.
const NO_SHELLS: [&str; 2] = ["nologin", "false"];

/// How users of the system log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemSettings {
    /// Users with lower ids are refused; root always is.
    pub min_uid: u32,
    /// Whether the shell must be one of `/etc/shells`.
    pub check_shell: bool,
    /// The permission bits that files made by the users do not get.
    pub umask: u32,
    /// Asks PAM; without, the file of hashes decides.
    pub pam: Option<Pam>,
    /// Where the system's files are.
    pub files: SystemFiles,
}

impl Default for SystemSettings {
    fn default() -> Self {
        let files = SystemFiles::default();
        Self { min_uid: MIN_UID, check_shell: true, umask: 0o022, pam: None, files }
    }
}

/// Where the system's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemFiles {
    /// The hashes of passwords, shadow(5).
    pub shadow: PathBuf,
    /// The shells of users who may log in, shells(5). There need be none.
    pub shells: PathBuf,
    /// The names that may not log in by FTP, one a line. There need be none.
    pub refused: PathBuf,
}

impl Default for SystemFiles {
    fn default() -> Self {
        Self {
            shadow: "/etc/shadow".into(),
            shells: "/etc/shells".into(),
            refused: "/etc/ftpusers".into(),
        }
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login<T> {
    /// It is this user.
    Welcome(T),
    /// It is not, or the account may not be used. The reason is in the log.
    Refused,
    /// Too many checks are waiting.
    Busy,
    /// There is no telling, for this reason.
    Failed(String),
}

/// Looks a user up by name, with this umask.
type LookUp = Arc<dyn Fn(&str, u32) -> io::Result<Option<User>> + Send + Sync>;

/// Checks names and passwords of the system's users.
#[derive(Clone)]
pub struct SystemUsers {
    settings: Arc<SystemSettings>,
    look_up: LookUp,
    turns: Turns,
}

/// One who wants to log in.
struct Attempt {
    name: String,
    password: Vec<u8>,
    from: Option<IpAddr>,
    /// Days since 1970.
    today: i64,
}

impl SystemUsers {
    /// Checks the users of this machine.
    pub fn new(settings: SystemSettings) -> Self {
        Self::with_users(settings, look_up)
    }

    /// Checks users that `look_up` knows by name, and makes with a umask. It is called on a helper
    /// thread and may block.
    pub fn with_users(
        settings: SystemSettings,
        look_up: impl Fn(&str, u32) -> io::Result<Option<User>> + Send + Sync + 'static,
    ) -> Self {
        let (settings, look_up) = (Arc::new(settings), Arc::new(look_up));
        Self { settings, look_up, turns: Turns::default() }
    }

    /// Checks on a helper thread, makes there what `welcome` makes of the user (which may block),
    /// and tells `then`, never from within this call.
    pub fn check<T: Send + 'static>(
        &self,
        handle: &Handle,
        (name, password): (&str, &[u8]),
        from: Option<IpAddr>,
        welcome: impl FnOnce(User) -> Result<T, String> + Send + 'static,
        then: impl FnOnce(Login<T>) + 'static,
    ) {
        // Neither depends on which names exist.
        if name.len() > MAX_NAME
            || name.chars().any(char::is_control)
            || password.is_empty()
            || password.len() > MAX_PASSWORD
            || password.contains(&0)
        {
            return handle.later(move |_| then(Login::Refused));
        }
        if self.turns.is_full() {
            return handle.later(move |_| then(Login::Busy));
        }
        let today = (handle.unix_time().as_secs() / DAY).cast_signed();
        let (name, password) = (name.to_owned(), password.to_vec());
        let attempt = Attempt { name, password, from, today };
        let (settings, look_up) = (self.settings.clone(), self.look_up.clone());
        self.turns.run(
            handle,
            move || match authenticate(&settings, &*look_up, &attempt) {
                Ok(Ok(user)) => welcome(user).map_or_else(Login::Failed, Login::Welcome),
                Ok(Err(why)) => {
                    tracing::info!("`{}` may not log in: {why}", attempt.name.escape_debug());
                    Login::Refused
                }
                Err(why) => Login::Failed(why),
            },
            move |checked| then(checked.unwrap_or_else(|lost| Login::Failed(lost.to_string()))),
        );
    }
}

/// Says who it is, or why they may not log in. Blocks.
fn authenticate(
    settings: &SystemSettings,
    look_up: &(dyn Fn(&str, u32) -> io::Result<Option<User>> + Send + Sync),
    attempt: &Attempt,
) -> Result<Result<User, String>, String> {
    let Attempt { name, password, from, today } = attempt;
    let found = look_up(name, settings.umask);
    let found = found.map_err(|e| format!("the list of users cannot be read: {e}"))?;
    // Whoever it is, the password is checked first.
    let checked = if let Some(pam) = &settings.pam {
        pam.ask(name, password, *from)?
    } else {
        let text = read(&settings.files.shadow)?.unwrap_or_default();
        let account = found.as_ref().map(|user| &*user.password);
        let verify = |hash: &str| crypt::verify(password, hash);
        shadow::judge(&text, name, account, *today, verify).map_err(|why| why.to_string())
    };
    let refusal = rule(settings, name, found.as_ref())?;
    Ok(match (checked, refusal, found) {
        (Ok(()), None, Some(user)) => Ok(user),
        (Err(why), ..) => Err(why),
        (Ok(()), why, _) => Err(why.unwrap_or(Refusal::Wrong).to_string()),
    })
}

/// What is in the way of an account, however the password is checked.
fn rule(
    settings: &SystemSettings,
    name: &str,
    user: Option<&User>,
) -> Result<Option<Refusal>, String> {
    // Read for everybody, so that it takes as long.
    let shells = read(&settings.files.shells)?;
    let refused = read(&settings.files.refused)?.unwrap_or_default();
    let Some(user) = user else { return Ok(Some(Refusal::Wrong)) };
    let uid = user.identity.uid;
    Ok(if uid == 0 {
        Some(Refusal::Root)
    } else if uid < settings.min_uid {
        Some(Refusal::System)
    } else if words(&refused).any(|word| word == name.as_bytes()) {
        Some(Refusal::Listed)
    } else if settings.check_shell && !is_shell(&user.shell, shells.as_deref()) {
        Some(Refusal::Shell)
    } else {
        None
    })
}

/// Whether this is the shell of somebody who may log in.
fn is_shell(shell: &Path, listed: Option<&[u8]>) -> bool {
    let shell = if shell.as_os_str().is_empty() { Path::new("/bin/sh") } else { shell };
    if shell.file_name().is_some_and(|name| NO_SHELLS.iter().any(|none| name == *none)) {
        return false;
    }
    let shell = shell.as_os_str().as_encoded_bytes();
    match listed {
        Some(text) => words(text).any(|word| word == shell),
        None => SHELLS.iter().any(|known| known.as_bytes() == shell),
    }
}

/// The first word of each line that is no remark.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let words = lines.filter_map(|line| line.split(u8::is_ascii_whitespace).next());
    words.filter(|word| !word.is_empty() && !word.starts_with(b"#"))
}

/// Reads one of the system's files; `None` is that there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("`{}`: {why}", path.display());
    let opened = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            reading_as_root(|| File::open(path))
        }
        opened => opened,
    };
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(&e)),
    };
    let mut text = Vec::new();
    file.take(MAX_SYSTEM_FILE_BYTES + 1).read_to_end(&mut text).map_err(|e| failed(&e))?;
    if text.len() as u64 > MAX_SYSTEM_FILE_BYTES {
        return Err(failed(&format_args!("it has more than {MAX_SYSTEM_FILE_BYTES} bytes")));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use medusa_core::sys::persona::Identity;
    use medusa_core::testing::Harness;
    use tempfile::TempDir;

    use super::*;
    use crate::turns::{CHECKS_AT_ONCE, CHECKS_WAITING};

    /// The password `secret`, cheaply hashed.
    const SECRET: &str = "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2";

    struct Bench {
        h: Harness,
        dir: TempDir,
        settings: SystemSettings,
        heard: Rc<RefCell<Vec<Login<u32>>>>,
    }

    fn user(uid: u32, shell: &str) -> User {
        let identity = Identity { uid, gid: uid, groups: vec![uid], umask: 0 };
        let password = "x".to_owned();
        User { identity, home: "/".into(), shell: shell.into(), password }
    }

    /// The users that there are.
    fn known(name: &str, umask: u32) -> io::Result<Option<User>> {
        let mut user = match name {
            "ann" => user(1000, "/bin/sh"),
            "low" => user(999, "/bin/sh"),
            "toor" => user(0, "/bin/sh"),
            "listed" => user(1001, "/bin/sh"),
            "bare" => user(1002, ""),
            "nologin" => user(1003, "/usr/sbin/nologin"),
            "odd" => user(1004, "/bin/odd"),
            "locked" => user(1005, "/bin/sh"),
            "broken" => return Err(io::Error::other("no answer")),
            _ => return Ok(None),
        };
        user.identity.umask = umask;
        Ok(Some(user))
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let file = |name: &str| dir.path().join(name);
            let names = ["ann", "low", "toor", "listed", "bare", "nologin", "odd", "broken"];
            let lines = names.map(|name| format!("{name}:{SECRET}:::::::\n"));
            let text = lines.concat() + &format!("locked:!{SECRET}:::::::\n");
            std::fs::write(file("shadow"), text).expect("written");
            let shells = "# shells\n/bin/sh\n /usr/sbin/nologin\n";
            std::fs::write(file("shells"), shells).expect("written");
            let refused = "#ann\nroot\n\tlisted  * and why\n\n";
            std::fs::write(file("ftpusers"), refused).expect("written");
            let (shadow, shells) = (file("shadow"), file("shells"));
            let files = SystemFiles { shadow, shells, refused: file("ftpusers") };
            let settings = SystemSettings { files, umask: 0o027, ..SystemSettings::default() };
            Self { h: Harness::new(), dir, settings, heard: Rc::default() }
        }

        fn users(&self) -> SystemUsers {
            SystemUsers::with_users(self.settings.clone(), known)
        }

        fn ask(&mut self, users: &SystemUsers, name: &str, password: &str) {
            let heard = self.heard.clone();
            let who = (name, password.as_bytes());
            let welcome = |user: User| {
                assert_eq!(user.identity.umask, 0o027);
                Ok(user.identity.uid)
            };
            let then = move |login| heard.borrow_mut().push(login);
            users.check(&self.h.handle(), who, None, welcome, then);
            assert!(self.heard.borrow().is_empty(), "never from within the call");
        }

        /// What comes of one login.
        fn login(&mut self, name: &str, password: &str) -> Login<u32> {
            let users = self.users();
            self.ask(&users, name, password);
            self.h.run();
            self.heard.take().pop().expect("an answer")
        }
    }

    #[test]
    fn only_who_may_log_in_does() {
        let mut bench = Bench::new();
        assert_eq!(bench.login("ann", "secret"), Login::Welcome(1000));
        assert_eq!(bench.login("bare", "secret"), Login::Welcome(1002));
        for (name, password) in [
            ("ann", "Secret"),
            ("ann", ""),
            ("ann", "secret\0"),
            ("ann\n", "secret"),
            ("ANN", "secret"),
            ("nobody-here", "secret"),
            ("low", "secret"),
            ("toor", "secret"),
            ("listed", "secret"),
            ("nologin", "secret"),
            ("odd", "secret"),
            ("locked", "secret"),
            ("", "secret"),
            (&"a".repeat(MAX_NAME + 1), "secret"),
            ("ann", &"a".repeat(MAX_PASSWORD + 1)),
        ] {
            assert_eq!(bench.login(name, password), Login::Refused, "{name} {password}");
        }
    }

    #[test]
    fn rules_can_be_set() {
        let mut bench = Bench::new();
        bench.settings.min_uid = 0;
        bench.settings.check_shell = false;
        for (name, uid) in [("low", 999), ("nologin", 1003), ("odd", 1004)] {
            assert_eq!(bench.login(name, "secret"), Login::Welcome(uid), "{name}");
        }
        assert_eq!(bench.login("toor", "secret"), Login::Refused, "root never");
    }

    #[test]
    fn files_that_need_not_be_there_need_not() {
        let mut bench = Bench::new();
        std::fs::remove_file(bench.dir.path().join("shells")).expect("it was there");
        std::fs::remove_file(bench.dir.path().join("ftpusers")).expect("it was there");
        assert_eq!(bench.login("ann", "secret"), Login::Welcome(1000));
        assert_eq!(bench.login("listed", "secret"), Login::Welcome(1001));
        assert_eq!(bench.login("odd", "secret"), Login::Refused);
        std::fs::create_dir(bench.dir.path().join("ftpusers")).expect("it is free");
        let Login::Failed(why) = bench.login("ann", "secret") else { panic!("it cannot be read") };
        assert!(why.contains("ftpusers`: "), "{why}");
    }

    #[test]
    fn a_list_of_users_that_does_not_answer_is_no_refusal() {
        let mut bench = Bench::new();
        let failed = "the list of users cannot be read: no answer".to_owned();
        assert_eq!(bench.login("broken", "secret"), Login::Failed(failed));
    }

    #[test]
    fn rules_hold_whatever_pam_says() {
        let mut bench = Bench::new();
        let says = |word: &str| {
            let arguments = ["-c".into(), format!("cat >/dev/null; echo {word}").into()].into();
            let (program, service) = ("/bin/sh".into(), "some".to_owned());
            Some(Pam { program, arguments, service })
        };
        bench.settings.pam = says("yes");
        assert_eq!(bench.login("ann", "anything"), Login::Welcome(1000));
        for name in ["low", "toor", "listed", "nologin", "odd", "nobody-here"] {
            assert_eq!(bench.login(name, "anything"), Login::Refused, "{name}");
        }
        // The file of hashes is not asked.
        assert_eq!(bench.login("locked", "anything"), Login::Welcome(1005));
        bench.settings.pam = says("no");
        assert_eq!(bench.login("ann", "secret"), Login::Refused);
        bench.settings.pam = says("failed to start");
        assert!(matches!(bench.login("ann", "secret"), Login::Failed(_)));
    }

    #[test]
    fn too_many_checks_at_once_are_put_off() {
        let mut bench = Bench::new();
        bench.h.hold_jobs();
        let users = bench.users();
        for _ in 0..CHECKS_AT_ONCE + CHECKS_WAITING + 3 {
            bench.ask(&users, "nobody-here", "secret");
        }
        bench.h.run();
        assert_eq!(bench.heard.take(), vec![Login::Busy; 3]);
        while bench.h.jobs() > 0 {
            assert!(bench.h.jobs() <= CHECKS_AT_ONCE);
            bench.h.run_job(0);
            bench.h.run();
        }
        assert_eq!(bench.heard.take(), vec![Login::Refused; CHECKS_AT_ONCE + CHECKS_WAITING]);
    }
}
