//! Where servers listen and who connects: TCP and Unix-domain addresses in one type each.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An address to listen on or to connect to: `HOST:PORT` or `unix:PATH`; to listen on also
/// `systemd:NAME`, a socket that the service manager passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP (or UDP) address; port 0 lets the system choose when listening.
    Inet(SocketAddr),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
    /// A socket that the service manager passes under this name; without a name, the first that
    /// nobody has asked for.
    Passed(String),
}

/// The text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAddress(String);

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no address: write IP:PORT (as 127.0.0.1:8080 or [::1]:8080), :PORT for all \
             addresses of this machine, unix:PATH, or systemd:NAME for a socket that systemd passes",
            self.0
        )
    }
}

impl std::error::Error for BadAddress {}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() || path.contains('\0') {
                Err(bad())
            } else {
                Ok(Self::Unix(PathBuf::from(path)))
            };
        }
        if let Some(rest) = text.strip_prefix("systemd") {
            return match rest.strip_prefix(':') {
                Some(name) if !name.is_empty() => Ok(Self::Passed(name.to_owned())),
                None if rest.is_empty() => Ok(Self::Passed(String::new())),
                _ => Err(bad()),
            };
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| bad())?;
            return Ok(Self::Inet(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)));
        }
        if let Ok(inet) = text.parse() {
            return Ok(Self::Inet(inet));
        }
        // `localhost` is the one name that needs no resolver.
        match text.strip_prefix("localhost:") {
            Some(_) => text
                .to_socket_addrs()
                .ok()
                .and_then(|mut all| all.next())
                .map(Self::Inet)
                .ok_or_else(bad),
            None => Err(bad()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(inet) => inet.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(name) if name.is_empty() => f.write_str("systemd"),
            Self::Passed(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// Who is at the other end of a connection, kept small: there is one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IPv4 peer, also one that came to an IPv6 socket.
    V4(Ipv4Addr, u16),
    /// An IPv6 peer.
    V6([u8; 16], u16),
    /// A process on this machine, over a Unix-domain socket.
    Unix,
    /// Something that has no address: a test, a pipe.
    Unknown,
}

impl Peer {
    /// The peer's IP address, where it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(ip, _) => Some(IpAddr::V4(*ip)),
            Self::V6(ip, _) => Some(IpAddr::V6(Ipv6Addr::from(*ip))),
            Self::Unix | Self::Unknown => None,
        }
    }

    /// The peer's port, where it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::V4(_, port) | Self::V6(_, port) => Some(*port),
            Self::Unix | Self::Unknown => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip, addr.port()),
            IpAddr::V6(ip) => Self::V6(ip.octets(), addr.port()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(ip, port) => write!(f, "{ip}:{port}"),
            Self::V6(ip, port) => write!(f, "[{}]:{port}", Ipv6Addr::from(*ip)),
            Self::Unix => f.write_str("unix"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Whether the socket file at `path` is a leftover: nobody answers behind it.
pub(crate) fn is_stale_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
        // Without waiting: a server with a full backlog would make us wait for it.
        && mio::net::UnixStream::connect(path)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        for good in ["127.0.0.1:0", "[::1]:80", "unix:/run/x.sock", "systemd", "systemd:web"] {
            assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
        }
        assert_eq!(":8080".parse::<Address>().expect("all").to_string(), "[::]:8080");
        assert!("localhost:80".parse::<Address>().is_ok());
        for bad in
            ["", "8080", "unix:", "1.2.3.4", "1.2.3.4:99999", "example.org:80", ":x", "systemd:"]
        {
            let e = bad.parse::<Address>().expect_err(bad).to_string();
            assert!(e.contains("IP:PORT"), "{e}");
        }
    }

    #[test]
    fn a_mapped_peer_is_shown_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:10.1.2.3]:99".parse().expect("valid");
        assert_eq!(Peer::from(mapped).to_string(), "10.1.2.3:99");
        assert!(size_of::<Peer>() <= 20);
    }
}
