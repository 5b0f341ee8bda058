//! How many sessions there may be, and how often an address may guess.
//!
//! The one design choice: an address of IPv6 counts as its network of 64 bits, for whoever has one
//! address has them all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use medusa_core::Bandwidth;
use medusa_core::inspect::{Inspect, Node, Value};
use medusa_fs::QuotaTree;

use crate::authorizer::User;
use crate::limits::{FAILURES_KEPT, FtpSettings};

/// Counts sessions and failed logins.
#[derive(Clone, Default)]
pub struct Guard(Rc<RefCell<Counts>>);

#[derive(Default)]
struct Counts {
    sessions: usize,
    by_address: HashMap<IpAddr, usize>,
    by_user: HashMap<String, Rc<Account>>,
    failures: HashMap<IpAddr, Failures>,
}

struct Failures {
    tries: u32,
    last: Instant,
}

impl Failures {
    /// For how long nobody is let in yet; `None` if anybody is.
    fn ban_left(&self, settings: &FtpSettings, now: Instant) -> Option<Duration> {
        let left = (self.last + settings.ban_time).saturating_duration_since(now);
        (self.tries >= settings.ban_tries && !left.is_zero()).then_some(left)
    }
}

/// An address from which nobody is let in; of IPv6, the network of 64 bits that begins with it.
pub(crate) struct Ban {
    pub(crate) address: IpAddr,
    pub(crate) tries: u32,
    pub(crate) left: Duration,
}

/// What the sessions of one user share, for as long as there are any.
pub(crate) struct Account {
    name: String,
    sessions: Cell<usize>,
    /// Sessions that there may be, as the login that came last has it.
    most: Cell<Option<usize>>,
    bandwidth: Rc<Bandwidth>,
    quota: RefCell<Option<QuotaTree>>,
}

/// A session that was let in; it counts until this is dropped.
pub(crate) struct Admission {
    guard: Guard,
    address: Option<IpAddr>,
    user: Option<Rc<Account>>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// There are too many sessions.
    Full,
    /// There are too many from this address.
    FullForAddress,
    /// There were too many wrong logins from there.
    Banned,
}

impl Turned {
    /// What the client reads.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Full => "Too many users are here; try again later.",
            Self::FullForAddress => "There are too many connections from your address.",
            Self::Banned => "Too many logins from your address have failed; try again later.",
        }
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
    }
}

impl Guard {
    /// Lets a session in, or says why not.
    pub(crate) fn admit(
        &self,
        ip: Option<IpAddr>,
        settings: &FtpSettings,
        now: Instant,
    ) -> Result<Admission, Turned> {
        let mut counts = self.0.borrow_mut();
        let address = ip.map(network);
        if counts.sessions >= settings.sessions {
            return Err(Turned::Full);
        }
        if let Some(address) = address {
            let failures = counts.failures.get(&address);
            if failures.is_some_and(|failures| failures.ban_left(settings, now).is_some()) {
                return Err(Turned::Banned);
            }
            let open = counts.by_address.entry(address).or_default();
            if *open >= settings.sessions_per_address {
                return Err(Turned::FullForAddress);
            }
            *open += 1;
        }
        counts.sessions += 1;
        Ok(Admission { guard: self.clone(), address, user: None })
    }

    /// Sessions, and users that are logged in.
    pub(crate) fn figures(&self) -> (usize, usize) {
        let counts = self.0.borrow();
        (counts.sessions, counts.by_user.len())
    }

    /// Who is kept out, in the order of their addresses.
    pub(crate) fn bans(&self, settings: &FtpSettings, now: Instant) -> Vec<Ban> {
        let counts = self.0.borrow();
        let mut addresses: Vec<_> = counts.failures.keys().copied().collect();
        addresses.sort_unstable();
        drop(counts);
        addresses.into_iter().filter_map(|address| self.ban(address, settings, now)).collect()
    }

    /// How an address is kept out, if it is.
    pub(crate) fn ban(&self, address: IpAddr, settings: &FtpSettings, now: Instant) -> Option<Ban> {
        let counts = self.0.borrow();
        let failures = counts.failures.get(&address)?;
        let left = failures.ban_left(settings, now)?;
        Some(Ban { address, tries: failures.tries, left })
    }

    /// Forgets that logins from an address have failed; says whether any had.
    pub(crate) fn lift(&self, address: IpAddr) -> bool {
        self.0.borrow_mut().failures.remove(&address).is_some()
    }

    /// The names of those that are logged in.
    pub(crate) fn users(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.borrow().by_user.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// What the sessions of a user share, if there are any.
    pub(crate) fn account(&self, user: &str) -> Option<Rc<Account>> {
        self.0.borrow().by_user.get(user).cloned()
    }
}

impl Admission {
    /// Whether nobody is let in any more from where this session came from.
    pub(crate) fn is_banned(&self, settings: &FtpSettings, now: Instant) -> bool {
        self.address.is_some_and(|address| self.guard.ban(address, settings, now).is_some())
    }

    /// Notes a failed login.
    pub(crate) fn failed(&self, settings: &FtpSettings, now: Instant) {
        let Some(address) = self.address else { return };
        let mut counts = self.guard.0.borrow_mut();
        let is_over = |failures: &Failures| now >= failures.last + settings.ban_time;
        if counts.failures.len() >= FAILURES_KEPT && !counts.failures.contains_key(&address) {
            counts.failures.retain(|_, failures| !is_over(failures));
            if counts.failures.len() >= FAILURES_KEPT {
                // Whoever has failed least is forgotten.
                let least = counts.failures.iter().min_by_key(|(_, f)| (f.tries, f.last));
                if let Some(address) = least.map(|(address, _)| *address) {
                    counts.failures.remove(&address);
                }
            }
        }
        let failures = counts.failures.entry(address).or_insert(Failures { tries: 0, last: now });
        failures.tries = if is_over(failures) { 1 } else { failures.tries.saturating_add(1) };
        failures.last = now;
    }

    /// Counts the session for a user, if there is room for one more.
    pub(crate) fn count_for(&mut self, user: &User) -> bool {
        self.leave_user();
        let mut counts = self.guard.0.borrow_mut();
        let open = counts.by_user.get(&user.name);
        let account = match open {
            Some(account) if user.sessions.is_some_and(|most| account.sessions.get() >= most) => {
                return false;
            }
            None if user.sessions == Some(0) => return false,
            Some(account) => account.clone(),
            None => {
                let (name, bandwidth) = (user.name.clone(), Bandwidth::new(None, None));
                let (sessions, most, quota) = Default::default();
                let account = Rc::new(Account { name, sessions, most, bandwidth, quota });
                counts.by_user.insert(user.name.clone(), account.clone());
                account
            }
        };
        account.sessions.set(account.sessions.get() + 1);
        account.most.set(user.sessions);
        // Whoever was logged in before goes by what holds now.
        account.bandwidth.replace(user.send_rate, user.receive_rate);
        account.quota.replace(user.quota.clone());
        self.user = Some(account);
        true
    }

    /// The bandwidth that all sessions of the user share.
    pub(crate) fn bandwidth(&self) -> Option<&Rc<Bandwidth>> {
        self.user.as_ref().map(|account| &account.bandwidth)
    }

    /// Counts the session for no user any more.
    pub(crate) fn leave_user(&mut self) {
        let Some(account) = self.user.take() else { return };
        account.sessions.set(account.sessions.get() - 1);
        if account.sessions.get() == 0 {
            self.guard.0.borrow_mut().by_user.remove(&account.name);
        }
    }
}

impl Inspect for Account {
    fn node(&self) -> Node {
        let mut node = Node::new("ftp-user");
        node = node.field("sessions", Value::Count(self.sessions.get() as u64));
        if let Some(most) = self.most.get() {
            node = node.field("limit of sessions", Value::Count(most as u64));
        }
        if let Some(tree) = &*self.quota.borrow() {
            let quota = tree.quota();
            if let Some(used) = tree.usage() {
                node = node.field("used bytes", Value::Bytes(used.bytes));
                node = node.field("used files", Value::Count(used.files));
            }
            if let Some(bytes) = quota.bytes {
                node = node.field("quota of bytes", Value::Bytes(bytes));
            }
            if let Some(files) = quota.files {
                node = node.field("quota of files", Value::Count(files));
            }
        }
        self.bandwidth.describe(node)
    }
}

fn count_down<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.leave_user();
        let mut counts = self.guard.0.borrow_mut();
        counts.sessions -= 1;
        if let Some(address) = self.address {
            count_down(&mut counts.by_address, &address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use medusa_fs::{Persona, TreeOptions};

    use super::*;
    use crate::authorizer::Permissions;

    #[test]
    fn sessions_are_counted_in_all_and_by_network() {
        let guard = Guard::default();
        let settings =
            FtpSettings { sessions: 3, sessions_per_address: 2, ..FtpSettings::default() };
        let now = Instant::now();
        let admit = |ip: &str| guard.admit(Some(ip.parse().expect("an address")), &settings, now);
        let first = admit("2001:db8::1").ok();
        let second = admit("2001:db8::2").ok();
        assert_eq!(admit("2001:db8::3").err(), Some(Turned::FullForAddress));
        let third = admit("2001:db8:0:1::1").ok();
        assert_eq!(admit("10.0.0.1").err(), Some(Turned::Full));
        assert!(first.is_some() && second.is_some());
        drop((first, third));
        let user = |name: &str, sessions| {
            let options = TreeOptions::default();
            let tree = Arc::new(medusa_fs::MemoryTree::with_capacity(options, || UNIX_EPOCH, 0));
            User { sessions, ..User::new(name, tree, Persona::Process, Permissions::READ) }
        };
        let (ann, bob) = (user("ann", Some(1)), user("bob", None));
        let mut again = admit("2001:db8::4").expect("there is room again");
        assert!(again.count_for(&ann));
        let mut other = admit("10.0.0.1").expect("there is room");
        assert!(!other.count_for(&ann) && other.count_for(&bob));
        drop(again);
        assert!(other.count_for(&ann) && !other.count_for(&user("nobody", Some(0))));
        assert_eq!(guard.figures(), (2, 0), "who may not come leaves no trace");
    }

    #[test]
    fn whoever_guesses_too_often_is_banned_for_a_while() {
        let guard = Guard::default();
        let settings = FtpSettings { ban_tries: 2, ..FtpSettings::default() };
        let now = Instant::now();
        let ip = Some([10, 0, 0, 1].into());
        let admission = guard.admit(ip, &settings, now).expect("nobody has failed");
        admission.failed(&settings, now);
        assert!(guard.admit(ip, &settings, now).is_ok());
        admission.failed(&settings, now);
        assert_eq!(guard.admit(ip, &settings, now).err(), Some(Turned::Banned));
        assert!(guard.admit(Some([10, 0, 0, 2].into()), &settings, now).is_ok());
        let later = now + settings.ban_time;
        assert!(guard.admit(ip, &settings, later).is_ok());
        admission.failed(&settings, later);
        assert!(guard.admit(ip, &settings, later).is_ok(), "the count begins anew");
    }

    #[test]
    fn failures_are_remembered_of_so_many_addresses() {
        let guard = Guard::default();
        let settings = FtpSettings { sessions: usize::MAX, ..FtpSettings::default() };
        let now = Instant::now();
        for n in 0..FAILURES_KEPT as u32 + 10 {
            let ip = std::net::Ipv4Addr::from(n).into();
            let admission = guard.admit(Some(ip), &settings, now).expect("there is room");
            admission.failed(&settings, now + Duration::from_millis(n.into()));
        }
        assert_eq!(guard.0.borrow().failures.len(), FAILURES_KEPT);
    }
}
