//! Passive ports: a listener that waits for one client and turns strangers away.
//!
//! The one design choice: a stranger's connection does not count. Whoever does not come from the
//! address of the control connection is closed, and the listener goes on waiting for the client
//! until the session gives it up.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;

use medusa_core::handle::ListenerId;
use medusa_core::{Address, ChannelSettings, Handle, ListenOptions, Peer, Protocol, Service};

use crate::data::{DataConnection, Link};
use crate::limits::{PASSIVE_BACKLOG, PASSIVE_PORTS, PASSIVE_TRIES};

/// The ports of the range that are in use by this server.
#[derive(Clone, Default)]
pub(crate) struct Ports(Rc<RefCell<HashSet<u16>>>);

/// A port of the range, free again when this is dropped.
struct Lease {
    ports: Ports,
    port: u16,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ports.0.borrow_mut().remove(&self.port);
    }
}

impl Ports {
    /// Takes a free port: the first behind a random one, so that nobody knows which comes next.
    fn take(&self, range: &RangeInclusive<u16>) -> Option<Lease> {
        let mut used = self.0.borrow_mut();
        let size = u32::from(range.end().checked_sub(*range.start())?) + 1;
        let begin = getrandom::u32().unwrap_or_default() % size;
        let port = (0..size)
            .map(|n| range.start() + ((begin + n) % size) as u16)
            .find(|port| !used.contains(port))?;
        used.insert(port);
        Some(Lease { ports: self.clone(), port })
    }

    /// How many are in use.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// A listener that waits for a client; it stops when this is dropped.
pub(crate) struct Listening {
    handle: Handle,
    id: ListenerId,
    _lease: Option<Lease>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.unlisten(self.id);
    }
}

/// Where to listen, and for whom.
pub(crate) struct Wanted {
    pub(crate) ip: IpAddr,
    /// Nothing is the default range, and any port behind it.
    pub(crate) range: Option<RangeInclusive<u16>>,
    pub(crate) ports: Ports,
    pub(crate) client: Option<IpAddr>,
    pub(crate) link: Link,
    pub(crate) settings: Rc<ChannelSettings>,
}

/// Listens; `then` hears the port, or that there is none.
pub(crate) fn listen(
    wanted: Wanted,
    handle: &Handle,
    then: impl FnOnce(Option<(Listening, u16)>) + 'static,
) {
    attempt(Rc::new(wanted), handle, PASSIVE_TRIES, Vec::new(), Box::new(then));
}

type Then = Box<dyn FnOnce(Option<(Listening, u16)>)>;

/// Tries a port, and others if that is taken. Those that were are held meanwhile, so that none is
/// tried twice. Without tries left, only the system may choose.
fn attempt(wanted: Rc<Wanted>, handle: &Handle, tries: usize, mut held: Vec<Lease>, then: Then) {
    let range = wanted.range.as_ref().unwrap_or(&PASSIVE_PORTS);
    let lease = if tries > 0 { wanted.ports.take(range) } else { None };
    if lease.is_none() && wanted.range.is_some() {
        return then(None);
    }
    let port = lease.as_ref().map_or(0, |lease| lease.port);
    let address = Address::Inet(SocketAddr::new(wanted.ip, port));
    let acceptor = Rc::new(Acceptor {
        client: wanted.client,
        link: wanted.link.clone(),
        settings: wanted.settings.clone(),
    });
    let options = ListenOptions { backlog: PASSIVE_BACKLOG, transient: true, ..Default::default() };
    let again = handle.clone();
    handle.listen(address, acceptor, options, move |bound| match bound {
        Ok((id, Address::Inet(address))) => {
            let listening = Listening { handle: again, id, _lease: lease };
            then(Some((listening, address.port())));
        }
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && lease.is_some() => {
            held.extend(lease);
            attempt(wanted, &again, tries - 1, held, then);
        }
        other => {
            if let Err(e) = other {
                tracing::warn!("no port for a data connection at {}: {e}", wanted.ip);
            }
            then(None);
        }
    });
}

/// Lets one connection in.
struct Acceptor {
    client: Option<IpAddr>,
    link: Link,
    settings: Rc<ChannelSettings>,
}

impl Service for Acceptor {
    fn name(&self) -> &'static str {
        "ftp-data"
    }

    fn accept(&self, peer: &Peer, _: &Handle) -> Option<Box<dyn Protocol>> {
        if peer.ip() != self.client {
            tracing::warn!("a stranger at {peer} was turned away from a data connection");
            return None;
        }
        self.link.claim().then(|| Box::new(DataConnection::new(self.link.clone())) as _)
    }

    fn settings(&self) -> Rc<ChannelSettings> {
        self.settings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_used_up_to_its_last_port_and_comes_back() {
        let ports = Ports::default();
        let range = 60_000..=60_009;
        let leases: Vec<_> = (0..10).map(|_| ports.take(&range).expect("one is free")).collect();
        let taken: HashSet<_> = leases.iter().map(|lease| lease.port).collect();
        assert_eq!(taken, range.clone().collect());
        assert!(ports.take(&range).is_none());
        drop(leases);
        assert!(ports.take(&range).is_some());
        #[expect(clippy::reversed_empty_ranges, reason = "a mistake of the configuration")]
        let empty = 60_009..=60_000;
        assert!(ports.take(&empty).is_none());
    }
}
