//! Where lines go, as people name it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::rotate::Rotate;
use crate::syslog::{SyslogAddress, SyslogOptions};

/// Where lines go.
///
/// As text: `stderr`; `stdout` or `-`; `syslog` for the daemon of this machine, `syslog:unix:PATH`
/// and `syslog:IP:PORT` for others; anything else is the path of a file (`./stderr` is one, too).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file that is appended to; made, for owner and group only, if it is missing. Its
    /// directory must exist.
    File {
        /// The file.
        path: PathBuf,
        /// When it is rotated; without this never.
        rotate: Option<Rotate>,
    },
    /// Syslog messages.
    Syslog(SyslogOptions),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => return Err("the name of the log is missing".to_owned()),
            "stderr" => Self::Stderr,
            "stdout" | "-" => Self::Stdout,
            "syslog" => Self::Syslog(SyslogOptions::default()),
            _ => match text.strip_prefix("syslog:") {
                Some(address) => Self::Syslog(SyslogOptions {
                    address: address.parse::<SyslogAddress>()?,
                    ..SyslogOptions::default()
                }),
                None => Self::File { path: text.into(), rotate: None },
            },
        })
    }
}

/// A log cannot be opened; the text says which, why, and what to do.
#[derive(Debug)]
pub struct OpenError(pub(crate) String);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    pub(crate) fn of_file(path: &Path, error: &io::Error) -> Self {
        const NO_READER: i32 = rustix::io::Errno::NXIO.raw_os_error();
        let why = match error.kind() {
            io::ErrorKind::NotFound => {
                "its directory does not exist; make it, or name another file".to_owned()
            }
            io::ErrorKind::PermissionDenied => {
                "this user may not write there; allow it, or name another file".to_owned()
            }
            io::ErrorKind::IsADirectory => "it is a directory; name a file in it".to_owned(),
            _ if error.raw_os_error() == Some(NO_READER) => {
                "it is a pipe that nobody reads; start its reader first".to_owned()
            }
            _ => error.to_string(),
        };
        Self(format!("cannot open the log `{}`: {why}", path.display()))
    }

    pub(crate) fn of_syslog(address: &SyslogAddress, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "nobody listens there".to_owned()
            }
            io::ErrorKind::PermissionDenied => "this user may not write there".to_owned(),
            _ => error.to_string(),
        };
        Self(match address {
            SyslogAddress::Unix(path) => format!(
                "cannot reach a syslog daemon at `{}`: {why}; start it, or name another log",
                path.display()
            ),
            SyslogAddress::Udp(to) => format!("cannot make a socket for syslog to {to}: {why}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let file = |path: &str| Destination::File { path: path.into(), rotate: None };
        let syslog =
            |address| Destination::Syslog(SyslogOptions { address, ..SyslogOptions::default() });
        for (text, expected) in [
            ("-", Destination::Stdout),
            ("stdout", Destination::Stdout),
            ("stderr", Destination::Stderr),
            ("./stderr", file("./stderr")),
            ("/var/log/a:b", file("/var/log/a:b")),
            ("syslog", syslog(SyslogAddress::Unix("/dev/log".into()))),
            ("syslog:unix:/run/x", syslog(SyslogAddress::Unix("/run/x".into()))),
            (
                "syslog:[::1]:514",
                syslog(SyslogAddress::Udp(([0, 0, 0, 0, 0, 0, 0, 1], 514).into())),
            ),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        let error = "syslog:logs.example.org:514".parse::<Destination>().expect_err("a name");
        assert!(error.contains("logs.example.org:514") && error.contains("IP:PORT"), "{error}");
        assert!(
            "".parse::<Destination>().is_err() && "syslog:unix:".parse::<Destination>().is_err()
        );
    }
}
