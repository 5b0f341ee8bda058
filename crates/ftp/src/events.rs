//! What a server tells of its sessions: to logs, and to whoever wants to act on it.

use std::time::Duration;

use medusa_core::Peer;
use medusa_fs::VirtualPath;

use crate::wire::reply::push_text;

/// Hears what happens; on the loop's thread, so it must not block.
pub trait Events {
    /// Something has happened.
    fn event(&self, event: &Event<'_>);
}

/// Something that happened in a session.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Somebody has logged in.
    Login {
        /// Who.
        user: &'a str,
        /// From where.
        peer: Peer,
    },
    /// Somebody has not.
    LoginFailed {
        /// The name that was given; a client may send anything.
        name: &'a str,
        /// From where.
        peer: Peer,
    },
    /// A session of somebody who had logged in has ended.
    Logout {
        /// Who.
        user: &'a str,
        /// From where.
        peer: Peer,
    },
    /// A file was sent or received, wholly or in part.
    Transfer(&'a Transfer<'a>),
}

/// Which way a file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Sent,
    /// From the client.
    Received,
}

/// A transfer that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Transfer<'a> {
    /// Who.
    pub user: &'a str,
    /// Whether there is no telling who that is.
    pub is_anonymous: bool,
    /// The peer of the control connection.
    pub peer: Peer,
    /// Which way.
    pub direction: Direction,
    /// The file, as the user sees it.
    pub path: &'a VirtualPath,
    /// Bytes that went over the data connection; converted ones in type A.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// When it ended, as the time since 1970.
    pub ended: Duration,
    /// Whether it was of type A.
    pub ascii: bool,
    /// Whether all of it went; if not, what was received has left nothing behind, unless it was
    /// written into a file that was there before.
    pub complete: bool,
}

impl Transfer<'_> {
    /// Appends the line of xferlog, as wu-ftpd introduced it.
    pub fn xferlog(&self, out: &mut Vec<u8>) {
        let seconds = i64::try_from(self.ended.as_secs()).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let took = self.took.as_secs_f64().round().max(1.0);
        let host = self.peer.ip().map_or_else(|| self.peer.to_string(), |ip| ip.to_string());
        let date = time.strftime("%a %b %e %H:%M:%S %Y");
        out.extend_from_slice(format!("{date} {took} {host} {} ", self.bytes).as_bytes());
        push_word(out, self.path.as_bytes());
        out.extend_from_slice(if self.ascii { b" a _ " } else { b" b _ " });
        out.push(if self.direction == Direction::Sent { b'o' } else { b'i' });
        out.extend_from_slice(if self.is_anonymous { b" a " } else { b" r " });
        push_word(out, self.user.as_bytes());
        out.extend_from_slice(if self.complete { b" ftp 0 * c\n" } else { b" ftp 0 * i\n" });
    }
}

/// Appends a word: a space would begin the next one.
fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    let begin = out.len();
    push_text(out, word);
    for byte in &mut out[begin..] {
        if *byte == b' ' {
            *byte = b'_';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_xferlog() {
        let path = VirtualPath::parse(b"/a b\n").expect("a path").path;
        let transfer = Transfer {
            user: "ann",
            is_anonymous: false,
            peer: Peer::V4([10, 0, 0, 1].into(), 5000),
            direction: Direction::Received,
            path: &path,
            bytes: 42,
            took: Duration::from_millis(2600),
            ended: Duration::from_secs(1_000_000_000),
            ascii: false,
            complete: false,
        };
        let mut line = Vec::new();
        transfer.xferlog(&mut line);
        assert_eq!(
            String::from_utf8(line).expect("text"),
            "Sun Sep  9 01:46:40 2001 3 10.0.0.1 42 /a_b? b _ i r ann ftp 0 * i\n"
        );
    }
}
