//! Lines as syslog messages of RFC 5424: to the daemon of this machine, or by UDP (RFC 5426).
//!
//! The one design choice: each line is one message, sent by the destination's own thread with
//! plain blocking calls. A daemon that restarts is connected to anew, and the line in hand is
//! sent again.

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::limits::{SYSLOG_LOCAL_BYTES, SYSLOG_TAG_CHARS, SYSLOG_UDP_BYTES};
use crate::queue::Queue;
use crate::writer::Sink;

/// Where the daemon of this machine listens.
const LOCAL: &str = "/dev/log";

/// The severity `informational` (RFC 5424 section 6.2.1).
const INFORMATIONAL: u8 = 6;

/// Where syslog messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A Unix socket of datagrams, or else of a stream in which each message is a line.
    Unix(PathBuf),
    /// A collector that takes UDP.
    Udp(SocketAddr),
}

/// How lines are sent to syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogOptions {
    /// Where to.
    pub address: SyslogAddress,
    /// What kind of program says it.
    pub facility: Facility,
    /// The name under which it is said (APP-NAME): 1 to 48 printable ASCII characters.
    pub tag: String,
}

impl Default for SyslogOptions {
    fn default() -> Self {
        Self {
            address: SyslogAddress::Unix(LOCAL.into()),
            facility: Facility(3),
            tag: "medusa".to_owned(),
        }
    }
}

impl FromStr for SyslogAddress {
    type Err = String;

    /// Reads `unix:PATH` or `IP:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("the path behind `unix:` is missing".to_owned()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Udp).map_err(|_| {
                format!(
                    "`{text}` is no address of a syslog server: write IP:PORT, since names cannot \
                     be looked up here, or unix:PATH"
                )
            }),
        }
    }
}

/// The facility of syslog messages (RFC 5424 section 6.2.1), by its usual name: `daemon`,
/// `local0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

/// The names of facilities in the order of their numbers. Those without one are the clock's and
/// the log's own.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

impl FromStr for Facility {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = FACILITIES.iter().position(|known| *known == name && !name.is_empty());
        found.map(|number| Self(number as u8)).ok_or_else(|| {
            format!(
                "there is no syslog facility `{name}`; usual ones are daemon and local0 to local7"
            )
        })
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FACILITIES[usize::from(self.0)])
    }
}

/// Whether this can be the name under which messages are sent.
pub(crate) fn is_tag(tag: &str) -> bool {
    (1..=SYSLOG_TAG_CHARS).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_graphic())
}

/// Sends each line as a message.
pub(crate) struct Syslog {
    address: SyslogAddress,
    /// `<30>1 `
    before_time: String,
    /// ` host tag process - - `
    after_time: String,
    socket: Option<Socket>,
    message: Vec<u8>,
}

enum Socket {
    Datagram(UnixDatagram),
    Stream(UnixStream),
    /// Not connected, so that a collector that is away is no error here.
    Udp(UdpSocket, SocketAddr),
}

impl Syslog {
    /// Connects to the daemon.
    pub(crate) fn open(options: &SyslogOptions) -> io::Result<Self> {
        let priority = options.facility.0 * 8 + INFORMATIONAL;
        let host = rustix::system::uname();
        let host = host.nodename().to_str().ok().filter(|host| {
            !host.is_empty() && host.len() <= 255 && host.bytes().all(|b| b.is_ascii_graphic())
        });
        let (tag, process) = (&options.tag, std::process::id());
        Ok(Self {
            socket: Some(connect(&options.address)?),
            address: options.address.clone(),
            before_time: format!("<{priority}>1 "),
            after_time: format!(" {} {tag} {process} - - ", host.unwrap_or("-")),
            message: Vec::new(),
        })
    }

    /// Makes the message of one line.
    fn make(&mut self, line: &[u8], now: Duration) {
        let (limit, ends_with_line) = match &self.socket {
            Some(Socket::Udp(..)) => (SYSLOG_UDP_BYTES, false),
            Some(Socket::Stream(_)) => (SYSLOG_LOCAL_BYTES, true),
            _ => (SYSLOG_LOCAL_BYTES, false),
        };
        let out = &mut self.message;
        out.clear();
        out.extend_from_slice(self.before_time.as_bytes());
        let time = i64::try_from(now.as_micros()).ok();
        match time.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok()) {
            Some(time) => write!(out, "{time:.6}").expect("a vector takes everything"),
            None => out.push(b'-'),
        }
        out.extend_from_slice(self.after_time.as_bytes());
        out.extend_from_slice(line);
        out.truncate(limit - usize::from(ends_with_line));
        if ends_with_line {
            out.push(b'\n');
        }
    }

    fn send(&mut self) -> io::Result<()> {
        match &mut self.socket {
            None => Err(io::ErrorKind::NotConnected.into()),
            Some(Socket::Datagram(socket)) => socket.send(&self.message).map(|_| ()),
            Some(Socket::Stream(socket)) => socket.write_all(&self.message),
            Some(Socket::Udp(socket, to)) => socket.send_to(&self.message, *to).map(|_| ()),
        }
    }
}

fn connect(address: &SyslogAddress) -> io::Result<Socket> {
    match address {
        SyslogAddress::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            match socket.connect(path) {
                Ok(()) => Ok(Socket::Datagram(socket)),
                // EPROTOTYPE: a socket is there, but a stream.
                Err(e) if e.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
                    Ok(Socket::Stream(UnixStream::connect(path)?))
                }
                Err(e) => Err(e),
            }
        }
        SyslogAddress::Udp(to) => {
            let any: SocketAddr = match to {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            Ok(Socket::Udp(UdpSocket::bind(any)?, *to))
        }
    }
}

impl Sink for Syslog {
    fn write(&mut self, bytes: &[u8], now: Duration, _: &Queue) -> io::Result<usize> {
        let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
        self.make(&bytes[..end], now);
        if self.send().is_err() {
            self.socket = None;
            self.socket = Some(connect(&self.address)?);
            self.make(&bytes[..end], now);
            self.send()?;
        }
        Ok(bytes.len().min(end + 1))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.socket = Some(connect(&self.address)?);
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/syslog.rs"]
mod tests;
