//! Where a request goes, and how a name is found.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use medusa_core::{Address, Handle};

use super::ADDRESSES_TRIED;

/// Where a request goes. Connections are kept by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An address: TCP or a Unix-domain socket.
    Address(Address),
    /// A host's name, which is looked up at every connect, and a port.
    Name(String, u16),
}

impl Target {
    /// The target of a host, as it stands in a URL without the brackets of IPv6, and a port.
    pub fn new(host: &str, port: u16) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::Address(Address::Inet(SocketAddr::new(ip, port))),
            Err(_) => Self::Name(host.to_ascii_lowercase(), port),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Hears the addresses of a name, the best one first, or why there are none.
pub type Found = Box<dyn FnOnce(Result<Vec<Address>, String>)>;

/// Finds the addresses of names.
pub trait Lookup {
    /// Looks a name up; `then` is called once, not necessarily from within this call.
    fn look_up(&self, host: &str, port: u16, then: Found);
}

/// Asks the system, on helper threads.
pub struct SystemLookup(
    /// The loop whose helper threads are used.
    pub Handle,
);

impl Lookup for SystemLookup {
    fn look_up(&self, host: &str, port: u16, then: Found) {
        let host = host.to_owned();
        let find = move || -> Result<Vec<Address>, String> {
            let found = (host.as_str(), port).to_socket_addrs().map_err(|e| e.to_string())?;
            Ok(found.take(ADDRESSES_TRIED).map(Address::Inet).collect())
        };
        self.0.run(find, move |found| then(found.unwrap_or_else(|lost| Err(lost.to_string()))));
    }
}
