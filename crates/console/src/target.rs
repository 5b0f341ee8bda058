//! Where the server is.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;

use crate::limits::{CONNECT, SEND};
use crate::stream::Stream;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Unix-domain socket.
    Unix(PathBuf),
    /// A host, by name or number, and a port.
    Tcp(String),
}

impl FromStr for Target {
    type Err = String;

    /// Reads `unix:PATH`, `HOST:PORT` or `:PORT`. What contains a slash is a path, too.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix:").or_else(|| text.contains('/').then_some(text));
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let port = |(host, port): (&str, &str)| Some((host.to_owned(), port.parse::<u16>().ok()?));
        match text.rsplit_once(':').and_then(port) {
            Some((host, port)) if host.is_empty() => Ok(Self::Tcp(format!("127.0.0.1:{port}"))),
            Some(_) => Ok(Self::Tcp(text.to_owned())),
            None => Err(format!(
                "`{}` is no address: use unix:PATH, HOST:PORT or :PORT",
                text.escape_debug()
            )),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

impl Target {
    /// Connects; the error says what to do.
    pub fn connect(&self) -> Result<Stream, String> {
        let stream = match self {
            Self::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Self::Tcp(address) => connect_any(address).map(Stream::Tcp),
        };
        let stream = stream.and_then(|stream| stream.set_write_timeout(SEND).map(|()| stream));
        stream.map_err(|e| {
            let hint = match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ": no monitor listens there"
                }
                _ => "",
            };
            format!("cannot connect to {self}: {e}{hint}")
        })
    }
}

/// Tries all addresses that a name has.
fn connect_any(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("unix:/run/m.sock", "unix:/run/m.sock"),
            ("./m.sock", "unix:./m.sock"),
            ("unix:m", "unix:m"),
            (":7000", "127.0.0.1:7000"),
            ("localhost:7000", "localhost:7000"),
            ("[::1]:7000", "[::1]:7000"),
        ] {
            assert_eq!(text.parse::<Target>().expect("an address").to_string(), shown, "{text}");
        }
        for text in ["", "localhost", "localhost:", "localhost:70000", "unix:", "a:b"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
