//! What a server tells of its sessions: to logs, and to whoever wants to act on it.

use std::time::Duration;

use medusa_core::Peer;
use medusa_fs::VirtualPath;

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
