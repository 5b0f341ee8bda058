//! Checks names and passwords for the servers of one loop.
//!
//! The one design choice: a check is slow and takes much memory on purpose, so it runs on a helper
//! thread, only a few run at once, those that ask for the same wait for one, and the answer is
//! remembered for a short while. What is remembered is a keyed hash of name and password: neither
//! can be read out of it, and looking it up takes no longer for one that is nearly right.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use medusa_core::Handle;
use sha2::Sha256;

use crate::file::{MAX_NAME, PasswordFile};
use crate::password::MAX_PASSWORD;
use crate::turns::Turns;

/// Who may wait for one check.
const WAITING_FOR_ONE: usize = 1024;

/// Answers in each of two generations that are remembered.
const REMEMBERED: usize = 4096;

/// How long answers are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckerSettings {
    /// One that was right. A changed password file is noticed by the next check of a password that
    /// is not remembered; until then, and no longer than this, an old one is taken.
    pub right: Duration,
    /// One that was wrong.
    pub wrong: Duration,
}

impl Default for CheckerSettings {
    fn default() -> Self {
        Self { right: Duration::from_secs(60), wrong: Duration::from_secs(5) }
    }
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Name and password belong together.
    Right,
    /// They do not, or there is no such name.
    Wrong,
    /// Too many checks are waiting.
    Busy,
    /// There is no telling, for this reason: the file cannot be read.
    Failed(String),
}

/// Checks against one password file, which is read again when it has changed.
#[derive(Clone)]
pub struct Checker(Rc<Inner>);

struct Inner {
    settings: CheckerSettings,
    file: Arc<Source>,
    key: [u8; 32],
    turns: Turns,
    state: RefCell<State>,
}

/// Hides a name and a password.
type Hidden = [u8; 32];

type Then = Box<dyn FnOnce(Verdict)>;

#[derive(Default)]
struct State {
    young: HashMap<Hidden, (Verdict, Instant)>,
    old: HashMap<Hidden, (Verdict, Instant)>,
    asked: HashMap<Hidden, Vec<Then>>,
    /// What the remembered answers are about.
    about: Option<Arc<PasswordFile>>,
}

/// The file, and what it said last.
struct Source {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<PasswordFile>)>>,
}

/// While this is the same, so is the file.
type Stamp = (Option<SystemTime>, u64, u64);

impl Source {
    /// The file as it is now; blocks.
    fn file(&self) -> Result<Arc<PasswordFile>, String> {
        let told = |why: &dyn std::fmt::Display| {
            format!("the password file `{}`: {why}", self.path.display())
        };
        let metadata = std::fs::metadata(&self.path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                told(&"there is none; `medusa passwd FILE NAME` makes it")
            }
            _ => told(&e),
        })?;
        let stamp = stamp(&metadata);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, file)) = &*read
            && *before == stamp
        {
            return Ok(file.clone());
        }
        let file = Arc::new(PasswordFile::read(&self.path).map_err(|e| told(&e))?);
        *read = Some((stamp, file.clone()));
        Ok(file)
    }
}

#[cfg(unix)]
fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    (metadata.modified().ok(), metadata.ino(), metadata.len())
}

impl Checker {
    /// Makes a checker over a password file, which is read now; blocks.
    ///
    /// # Errors
    ///
    /// The file cannot be used, or the system gives no random numbers.
    pub fn new(path: PathBuf, settings: CheckerSettings) -> Result<Self, String> {
        let file = Source { path, read: Mutex::default() };
        file.file()?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| format!("no random numbers: {e}"))?;
        let (turns, state) = Default::default();
        Ok(Self(Rc::new(Inner { settings, file: Arc::new(file), key, turns, state })))
    }

    /// Those of these names that have no password; blocks.
    ///
    /// # Errors
    ///
    /// The file cannot be used.
    pub fn without_password<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<&'a str>, String> {
        let file = self.0.file.file()?;
        Ok(names.filter(|name| !file.has(name)).collect())
    }

    /// The answer, if it is remembered or needs no check; `now` is the loop's time.
    pub fn known(&self, name: &str, password: &[u8], now: Instant) -> Option<Verdict> {
        if name.len() > MAX_NAME || password.len() > MAX_PASSWORD {
            return Some(Verdict::Wrong);
        }
        self.0.recall(&self.0.hide(name, password), now)
    }

    /// Checks, and tells `then`, never from within this call.
    pub fn check(
        &self,
        handle: &Handle,
        name: &str,
        password: &[u8],
        then: impl FnOnce(Verdict) + 'static,
    ) {
        if let Some(verdict) = self.known(name, password, handle.now()) {
            return handle.later(move |_| then(verdict));
        }
        let hidden = self.0.hide(name, password);
        let mut state = self.0.state.borrow_mut();
        match state.asked.get_mut(&hidden) {
            Some(asked) if asked.len() < WAITING_FOR_ONE => asked.push(Box::new(then)),
            None if !self.0.turns.is_full() => {
                state.asked.insert(hidden, vec![Box::new(then)]);
                drop(state);
                Inner::run(&self.0, hidden, (name.to_owned(), password.to_vec()), handle);
            }
            _ => handle.later(move |_| then(Verdict::Busy)),
        }
    }
}

impl Inner {
    fn hide(&self, name: &str, password: &[u8]) -> Hidden {
        let mut hash =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("a key may have any length");
        // No name has a colon.
        hash.update(name.as_bytes());
        hash.update(b":");
        hash.update(password);
        hash.finalize().into_bytes().into()
    }

    fn recall(&self, hidden: &Hidden, now: Instant) -> Option<Verdict> {
        let state = self.state.borrow();
        let (verdict, until) = state.young.get(hidden).or_else(|| state.old.get(hidden))?;
        (now < *until).then(|| verdict.clone())
    }

    fn remember(&self, hidden: Hidden, verdict: &Verdict, about: Arc<PasswordFile>, now: Instant) {
        let right = *verdict == Verdict::Right;
        let lifetime = if right { self.settings.right } else { self.settings.wrong };
        let mut state = self.state.borrow_mut();
        if !state.about.as_ref().is_some_and(|before| Arc::ptr_eq(before, &about)) {
            state.young.clear();
            state.old.clear();
            state.about = Some(about);
        }
        if state.young.len() >= REMEMBERED {
            state.old = std::mem::take(&mut state.young);
        }
        state.young.insert(hidden, (verdict.clone(), now + lifetime));
    }

    /// Checks when it is its turn, and tells those who have asked.
    fn run(inner: &Rc<Self>, hidden: Hidden, who: (String, Vec<u8>), handle: &Handle) {
        let (file, (name, password)) = (inner.file.clone(), who);
        let (own, at) = (inner.clone(), handle.clone());
        inner.turns.run(
            handle,
            move || {
                let file = file.file()?;
                let is_right = file.verify(&name, &password);
                Ok((if is_right { Verdict::Right } else { Verdict::Wrong }, file))
            },
            move |checked| {
                let verdict = match checked.unwrap_or_else(|lost| Err(lost.to_string())) {
                    Ok((verdict, about)) => {
                        own.remember(hidden, &verdict, about, at.now());
                        verdict
                    }
                    Err(why) => Verdict::Failed(why),
                };
                let asked = own.state.borrow_mut().asked.remove(&hidden).unwrap_or_default();
                for then in asked {
                    then(verdict.clone());
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use medusa_core::testing::Harness;
    use tempfile::TempDir;

    use super::*;
    use crate::file::edit;
    use crate::password::cheap_hash;
    use crate::turns::{CHECKS_AT_ONCE, CHECKS_WAITING};

    struct Bench {
        h: Harness,
        dir: TempDir,
        checker: Checker,
        heard: Rc<RefCell<Vec<Verdict>>>,
    }

    impl Bench {
        fn new(settings: CheckerSettings) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("users");
            let text = edit("", "ann", Some(&cheap_hash(b"secret"))).expect("added");
            std::fs::write(&path, text).expect("written");
            let checker = Checker::new(path, settings).expect("a checker");
            let mut h = Harness::new();
            h.hold_jobs();
            Self { h, dir, checker, heard: Rc::default() }
        }

        fn ask(&mut self, name: &str, password: &str) {
            let heard = self.heard.clone();
            let then = move |verdict| heard.borrow_mut().push(verdict);
            self.checker.check(&self.h.handle(), name, password.as_bytes(), then);
            self.h.run();
        }

        fn known(&self, name: &str, password: &str) -> Option<Verdict> {
            self.checker.known(name, password.as_bytes(), self.h.handle().now())
        }

        /// Lets jobs run, and tells how many there were.
        fn work(&mut self) -> usize {
            let mut jobs = 0;
            while self.h.jobs() > 0 {
                assert!(self.h.jobs() <= CHECKS_AT_ONCE);
                self.h.run_job(0);
                jobs += 1;
                self.h.run();
            }
            jobs
        }

        fn heard(&self) -> Vec<Verdict> {
            self.heard.take()
        }
    }

    #[test]
    fn an_answer_is_remembered_for_its_time() {
        let mut bench = Bench::new(CheckerSettings::default());
        bench.ask("ann", "secret");
        bench.ask("ann", "wrong");
        bench.ask("bob", "secret");
        assert_eq!((bench.known("ann", "secret"), bench.heard()), (None, vec![]));
        assert_eq!(bench.work(), 3);
        assert_eq!(bench.heard(), [Verdict::Right, Verdict::Wrong, Verdict::Wrong]);
        assert_eq!(bench.known("ann", "secret"), Some(Verdict::Right));
        assert_eq!(bench.known("ann", "wrong"), Some(Verdict::Wrong));
        bench.ask("ann", "secret");
        assert_eq!((bench.work(), bench.heard()), (0, vec![Verdict::Right]));
        bench.h.advance(Duration::from_secs(6));
        assert_eq!(bench.known("ann", "wrong"), None);
        assert_eq!(bench.known("ann", "secret"), Some(Verdict::Right));
        bench.h.advance(Duration::from_secs(60));
        assert_eq!(bench.known("ann", "secret"), None);
    }

    #[test]
    fn those_who_ask_the_same_wait_for_one_check() {
        let mut bench = Bench::new(CheckerSettings::default());
        for _ in 0..10 {
            bench.ask("ann", "secret");
        }
        assert_eq!(bench.work(), 1);
        assert_eq!(bench.heard(), vec![Verdict::Right; 10]);
    }

    #[test]
    fn too_many_checks_at_once_are_put_off() {
        let mut bench = Bench::new(CheckerSettings::default());
        for n in 0..CHECKS_AT_ONCE + CHECKS_WAITING + 3 {
            bench.ask("ann", &n.to_string());
        }
        assert_eq!(bench.heard(), vec![Verdict::Busy; 3]);
        assert_eq!(bench.work(), CHECKS_AT_ONCE + CHECKS_WAITING);
        assert_eq!(bench.heard().len(), CHECKS_AT_ONCE + CHECKS_WAITING);
        bench.ask("ann", "secret");
        assert_eq!((bench.work(), bench.heard()), (1, vec![Verdict::Right]));
    }

    #[test]
    fn a_changed_file_is_read_again_and_what_was_remembered_forgotten() {
        let mut bench = Bench::new(CheckerSettings::default());
        bench.ask("ann", "secret");
        bench.work();
        let path = bench.dir.path().join("users");
        let text = edit("# so that the size differs\n", "ann", Some(&cheap_hash(b"new")));
        std::fs::write(&path, text.expect("added")).expect("written");
        bench.ask("ann", "new");
        bench.work();
        assert_eq!(bench.heard(), [Verdict::Right, Verdict::Right]);
        assert_eq!(bench.known("ann", "secret"), None);
        std::fs::remove_file(path).expect("removed");
        bench.ask("ann", "other");
        bench.work();
        let heard = bench.heard();
        let [Verdict::Failed(why)] = &heard[..] else { panic!("{heard:?}") };
        assert!(why.contains("users`: "), "{why}");
        bench.ask("ann", "new");
        assert_eq!(bench.heard(), [Verdict::Right], "what is remembered stays");
    }

    #[test]
    fn what_is_too_long_is_wrong_without_a_check() {
        let mut bench = Bench::new(CheckerSettings::default());
        bench.ask(&"n".repeat(MAX_NAME + 1), "x");
        bench.ask("ann", &"p".repeat(MAX_PASSWORD + 1));
        assert_eq!((bench.work(), bench.heard()), (0, vec![Verdict::Wrong; 2]));
    }
}
