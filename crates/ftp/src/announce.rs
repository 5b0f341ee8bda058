//! The addresses that PASV announces to clients behind a translation of addresses, given as such or
//! by name.
//!
//! The one design choice: a name is looked up when it is needed, and again when what is known of it
//! is old; meanwhile the old address is told. So nothing is looked up for nobody, no client waits
//! but the first, and a resolver that fails changes nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use medusa_core::Handle;

use crate::limits::{RESOLVE_AGAIN, RETRY_TO_RESOLVE};

/// What clients of a network are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The network that the client is in.
    pub to: IpNet,
    /// Where it is to connect.
    pub address: Announced,
}

/// An address to announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// This one.
    Address(Ipv4Addr),
    /// The first of IPv4 that this name has.
    Name(String),
}

/// Looks up the addresses of a name; may block.
pub type Resolve = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

type Heard = Box<dyn FnOnce(Option<Ipv4Addr>)>;

/// What is known of names. An entry is made for a name of the configuration only.
#[derive(Clone)]
pub(crate) struct Names(Rc<Inner>);

struct Inner {
    resolve: Arc<Resolve>,
    known: RefCell<HashMap<String, Entry>>,
}

#[derive(Default)]
struct Entry {
    address: Option<Ipv4Addr>,
    /// When the last answer came.
    heard: Option<Instant>,
    /// A question is out; each session waits for at most one.
    waiting: Option<Vec<Heard>>,
}

impl Names {
    /// Looks names up so.
    pub(crate) fn new(resolve: Arc<Resolve>) -> Self {
        Self(Rc::new(Inner { resolve, known: RefCell::default() }))
    }

    /// Looks names up as the system does.
    pub(crate) fn of_the_system() -> Self {
        Self::new(Arc::new(|name| Ok((name, 0).to_socket_addrs()?.map(|a| a.ip()).collect())))
    }

    /// The address of a name, if it is known.
    pub(crate) fn known(&self, name: &str) -> Option<Ipv4Addr> {
        self.0.known.borrow().get(name)?.address
    }

    /// Forgets what is not announced any more.
    pub(crate) fn keep(&self, announce: &[Announcement]) {
        let is_told = |name: &str| {
            announce.iter().any(|a| matches!(&a.address, Announced::Name(told) if told == name))
        };
        self.0.known.borrow_mut().retain(|name, e| e.waiting.is_some() || is_told(name));
    }

    /// Tells `then` the address of a name, at once if one is known; `None` if there is no telling.
    pub(crate) fn find(
        &self,
        name: &str,
        handle: &Handle,
        then: impl FnOnce(Option<Ipv4Addr>) + 'static,
    ) {
        let mut known = self.0.known.borrow_mut();
        let entry = known.entry(name.to_owned()).or_default();
        let wait = if entry.address.is_some() { RESOLVE_AGAIN } else { RETRY_TO_RESOLVE };
        let is_due = entry.heard.is_none_or(|heard| handle.now() >= heard + wait);
        let asks = is_due && entry.waiting.is_none();
        if asks {
            entry.waiting = Some(Vec::new());
        }
        match (entry.address, &mut entry.waiting) {
            (None, Some(waiting)) => waiting.push(Box::new(then)),
            (address, _) => {
                drop(known);
                then(address);
            }
        }
        if asks {
            self.ask(name.to_owned(), handle);
        }
    }

    fn ask(&self, name: String, handle: &Handle) {
        let (names, resolve) = (self.clone(), self.0.resolve.clone());
        let (asked, clock) = (name.clone(), handle.clone());
        handle.run(
            move || first_of_ipv4(&*resolve, &asked),
            move |result| {
                let found = result.unwrap_or_else(|lost| Err(lost.to_string()));
                names.heard(&name, found, clock.now());
            },
        );
    }

    fn heard(&self, name: &str, found: Result<Ipv4Addr, String>, now: Instant) {
        let mut known = self.0.known.borrow_mut();
        let entry = known.entry(name.to_owned()).or_default();
        entry.heard = Some(now);
        match (found, entry.address) {
            (Ok(address), before) => {
                if before != Some(address) {
                    tracing::info!("passive FTP announces {address}, the address of {name}");
                }
                entry.address = Some(address);
            }
            (Err(why), Some(last)) => {
                tracing::warn!("cannot look up {name}: {why}; passive FTP goes on with {last}");
            }
            (Err(why), None) => tracing::error!(
                "cannot look up {name}, which passive FTP is to announce: {why}; clients are told \
                 to use EPSV"
            ),
        }
        let (waiting, address) = (entry.waiting.take(), entry.address);
        drop(known);
        for then in waiting.into_iter().flatten() {
            then(address);
        }
    }
}

/// Looks up the address of a name; blocks.
fn first_of_ipv4(resolve: &Resolve, name: &str) -> Result<Ipv4Addr, String> {
    let all = resolve(name).map_err(|e| e.to_string())?;
    let mut ipv4 = all.iter().filter_map(|ip| match ip.to_canonical() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    ipv4.next().ok_or_else(|| "it has no address of IPv4".to_owned())
}
