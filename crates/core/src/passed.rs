//! Sockets that come from another process: from the service manager, or from the process that
//! this one replaces.
//!
//! The one design choice: a passed socket is found by the address that it is bound to. So what a
//! server is told to listen on reads the same whether the socket is passed or made here.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use socket2::{SockAddr, Socket, Type};

use crate::address::Address;

/// Most sockets that a process is given.
pub const MAX_PASSED: usize = 1024;

/// A bound socket that one process leaves to another.
#[derive(Debug)]
pub struct PassedSocket {
    pub(crate) socket: Socket,
    bound: Address,
    kind: Kind,
    name: Option<String>,
    chosen: bool,
}

/// What a socket takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Connections.
    Listener,
    /// Datagrams.
    Datagram,
}

impl PassedSocket {
    /// Looks at a socket that was passed. `name` is what the service manager calls it: such a
    /// socket is the manager's, and the file of a Unix-domain one is never removed here. `chosen`
    /// says that its port was chosen by the system.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when it is no socket that a server can use: one that is connected, or that
    /// does not listen.
    pub fn new(descriptor: OwnedFd, name: Option<String>, chosen: bool) -> io::Result<Self> {
        let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        let socket = Socket::from(descriptor);
        let kind = match socket.r#type()? {
            Type::STREAM if socket.is_listener()? => Kind::Listener,
            Type::DGRAM => Kind::Datagram,
            Type::STREAM => return refused("it is a connection, not a socket that listens"),
            _ => return refused("it is neither a socket that listens nor one for datagrams"),
        };
        let Some(bound) = address_of(&socket.local_addr()?) else {
            return refused("it is bound to no address that this program knows");
        };
        Ok(Self { socket, bound, kind, name, chosen })
    }

    /// The address that it is bound to.
    pub fn bound(&self) -> &Address {
        &self.bound
    }

    /// What the service manager calls it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether its port was chosen by the system, for a server that had asked for port 0.
    pub fn is_chosen(&self) -> bool {
        self.chosen
    }

    /// Whether a server that was told `asked` means this one.
    fn fits(&self, asked: &Address) -> bool {
        match (asked, &self.bound) {
            (Address::Passed(name), _) => {
                self.name.as_ref().is_some_and(|own| name.is_empty() || own == name)
            }
            (Address::Inet(asked), Address::Inet(bound)) if asked.port() == 0 => {
                self.chosen && asked.ip() == bound.ip()
            }
            (asked, bound) => asked == bound,
        }
    }

    /// Whether it is what a system without IPv6 has for all addresses.
    fn stands_in(&self, asked: &Address) -> bool {
        let (Address::Inet(asked), Address::Inet(bound)) = (asked, &self.bound) else {
            return false;
        };
        let same_port = asked.port() == bound.port() || (asked.port() == 0 && self.chosen);
        asked.ip() == Ipv6Addr::UNSPECIFIED
            && matches!(bound.ip(), IpAddr::V4(ip) if ip.is_unspecified())
            && same_port
    }
}

impl AsFd for PassedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sockets that were passed and that no server has asked for yet.
#[derive(Default)]
pub(crate) struct Waiting(Vec<PassedSocket>);

impl Waiting {
    /// Adds what was passed.
    pub(crate) fn add(&mut self, sockets: Vec<PassedSocket>) {
        self.0.extend(sockets);
    }

    /// Takes the socket that fits what a server was told.
    ///
    /// # Errors
    ///
    /// `NotFound` when it can only be passed, and was not.
    pub(crate) fn take(&mut self, asked: &Address, kind: Kind) -> io::Result<Option<PassedSocket>> {
        let of_kind = |s: &PassedSocket| s.kind == kind;
        let at = self.0.iter().position(|s| of_kind(s) && s.fits(asked));
        let at = at.or_else(|| self.0.iter().position(|s| of_kind(s) && s.stands_in(asked)));
        match (at, asked) {
            (Some(at), _) => Ok(Some(self.0.remove(at))),
            (None, Address::Passed(_)) => Err(io::Error::new(io::ErrorKind::NotFound, {
                let names: Vec<_> = self.0.iter().filter_map(PassedSocket::name).collect();
                let others = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                format!("the service manager passed no such socket (not taken yet: {others})")
            })),
            (None, _) => Ok(None),
        }
    }

    /// Closes what nobody asked for; gives the addresses.
    pub(crate) fn close(&mut self) -> Vec<Address> {
        std::mem::take(&mut self.0).into_iter().map(|s| s.bound).collect()
    }
}

/// The address of a bound socket; that of an abstract Unix-domain one is shown with `@`.
fn address_of(bound: &SockAddr) -> Option<Address> {
    if let Some(inet) = bound.as_socket() {
        return Some(Address::Inet(inet));
    }
    if let Some(path) = bound.as_pathname() {
        return Some(Address::Unix(path.to_owned()));
    }
    let name = bound.as_abstract_namespace()?;
    let mut shown = std::ffi::OsString::from("@");
    shown.push(std::ffi::OsStr::from_bytes(name));
    Some(Address::Unix(PathBuf::from(shown)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    fn tcp(chosen: bool) -> PassedSocket {
        PassedSocket::new(TcpListener::bind("127.0.0.1:0").unwrap().into(), None, chosen).unwrap()
    }

    fn take(waiting: &mut Waiting, asked: &str) -> Option<Address> {
        let taken = waiting.take(&asked.parse().unwrap(), Kind::Listener).unwrap();
        taken.map(|socket| socket.bound)
    }

    #[test]
    fn sockets_are_found_by_their_address() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp_address = udp.local_addr().unwrap().to_string();
        let (fixed, chosen) = (tcp(false), tcp(true));
        let (fixed_address, chosen_address) = (fixed.bound.clone(), chosen.bound.clone());
        let mut waiting = Waiting::default();
        waiting.add(vec![
            PassedSocket::new(udp.into(), None, false).unwrap(),
            fixed,
            chosen,
            PassedSocket::new(unix.into(), None, false).unwrap(),
        ]);
        assert_eq!(take(&mut waiting, &udp_address), None, "it does not listen");
        assert_eq!(take(&mut waiting, "127.0.0.2:0"), None);
        assert_eq!(take(&mut waiting, "127.0.0.1:0"), Some(chosen_address));
        assert_eq!(take(&mut waiting, "127.0.0.1:0"), None, "the other was asked for by number");
        assert_eq!(take(&mut waiting, &fixed_address.to_string()), Some(fixed_address));
        let path = format!("unix:{}", path.display());
        assert_eq!(take(&mut waiting, &path).unwrap().to_string(), path);
        assert_eq!(waiting.close(), [udp_address.parse().unwrap()]);
    }

    #[test]
    fn sockets_of_the_service_manager_are_found_by_name() {
        let named = |name: &str| PassedSocket { name: Some(name.to_owned()), ..tcp(false) };
        let (a, b, own) = (named("a"), named("b"), tcp(false));
        let (first, second) = (a.bound.clone(), b.bound.clone());
        let mut waiting = Waiting::default();
        waiting.add(vec![own, a, b]);
        assert_eq!(take(&mut waiting, "systemd:b"), Some(second));
        let missing = waiting.take(&Address::Passed("b".to_owned()), Kind::Listener).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().contains("not taken yet: a"), "{missing}");
        assert_eq!(take(&mut waiting, "systemd"), Some(first));
        assert!(waiting.take(&Address::Passed(String::new()), Kind::Listener).is_err());
    }

    #[test]
    fn without_ipv6_all_addresses_are_those_of_ipv4() {
        let Ok(all) = TcpListener::bind("0.0.0.0:0") else { return };
        let all = PassedSocket::new(all.into(), None, false).unwrap();
        let Address::Inet(bound) = all.bound else { unreachable!("it is a TCP socket") };
        let mut waiting = Waiting::default();
        waiting.add(vec![all]);
        assert_eq!(take(&mut waiting, ":1"), None);
        assert_eq!(take(&mut waiting, &format!(":{}", bound.port())), Some(Address::Inet(bound)));
    }

    #[test]
    fn what_is_no_server_socket_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let refused = PassedSocket::new(connection.into(), None, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(PassedSocket::new(file.into(), None, false).is_err());
    }
}
