//! What an FTP server may be told, with defaults, and the limits that are fixed.
//!
//! The limits of the wire format itself stand in [`crate::wire`].

use std::ops::RangeInclusive;
use std::time::Duration;

use medusa_core::Rate;

use crate::announce::Announcement;

/// Connections that the system holds for one passive port until they are accepted: the client's,
/// and some of strangers, who are turned away.
pub(crate) const PASSIVE_BACKLOG: u32 = 16;

/// Passive ports that are tried when other programs hold some of the range.
pub(crate) const PASSIVE_TRIES: usize = 32;

/// Passive ports when none are configured: those that Linux does not give to clients. A port of the
/// range is bound at once, where the system looks for a free one among all that still wait for
/// stray packets of transfers that have ended, which costs several times the transfer.
pub const PASSIVE_PORTS: RangeInclusive<u16> = 61_000..=65_535;

/// Lowest port that a client may have data sent to: below are the ports of services, which have no
/// business with it (RFC 2577, section 3).
pub(crate) const LOWEST_ACTIVE_PORT: u16 = 1024;

/// Bytes of a listing, or of a converted file, that a helper thread makes at a time; two such steps
/// are in memory.
pub(crate) const STEP_BYTES: usize = 64 * 1024;

/// Entries of a directory that a helper thread looks at before it takes on something else.
pub(crate) const STEP_ENTRIES: usize = 1024;

/// Entries of a directory that STAT shows on the control connection.
pub(crate) const STAT_ENTRIES: usize = 256;

/// Bytes of the largest file that SIZE counts the line ends of (type A).
pub(crate) const SIZE_ASCII_BYTES: u64 = 64 << 20;

/// Bytes that a helper thread reads for HASH before it takes on something else.
pub(crate) const HASH_STEP_BYTES: u64 = 8 << 20;

/// Bytes of a file that are read at once, to be hashed or counted.
pub(crate) const READ_BYTES: usize = 128 * 1024;

/// Time after which the address of a name that is announced is looked up again.
pub(crate) const RESOLVE_AGAIN: Duration = Duration::from_secs(300);

/// Time after which a name that has never been found is looked up again.
pub(crate) const RETRY_TO_RESOLVE: Duration = Duration::from_secs(10);

/// Bytes of the message of a directory that are shown, and lines.
pub(crate) const MESSAGE_BYTES: usize = 4096;
pub(crate) const MESSAGE_LINES: usize = 64;

/// Addresses whose failed logins are remembered.
pub(crate) const FAILURES_KEPT: usize = 4096;

/// Bytes of the name of a user.
pub const MAX_USER_BYTES: usize = 255;

/// Settings of one FTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtpSettings {
    /// The first line that a client reads.
    pub banner: String,
    /// Time for a client to log in.
    pub login_timeout: Duration,
    /// Time that a session may be idle.
    pub idle_timeout: Duration,
    /// Time that a session may be idle once another process, or nobody, listens where it came from.
    pub retire_idle: Duration,
    /// Time for a data connection to stand once a transfer was asked for.
    pub data_timeout: Duration,
    /// Time that a transfer may stand still.
    pub stall_timeout: Duration,
    /// Sessions at once.
    pub sessions: usize,
    /// Sessions at once from one address; of IPv6, from one network of 64 bits.
    pub sessions_per_address: usize,
    /// Wrong logins after which a session is closed.
    pub login_tries: u32,
    /// How long the answer to a wrong login takes.
    pub login_delay: Duration,
    /// Wrong logins from one address, each within `ban_time` of the one before, after which nobody
    /// is let in from there.
    pub ban_tries: u32,
    /// For how long that is.
    pub ban_time: Duration,
    /// Bandwidth of each transfer towards its client; `None` is any. Besides, a transfer is held to
    /// those of its user and of the server.
    pub transfer_send_rate: Option<Rate>,
    /// Bandwidth of each transfer from its client.
    pub transfer_receive_rate: Option<Rate>,
    /// Bandwidth of all transfers together towards their clients.
    pub send_rate: Option<Rate>,
    /// Bandwidth of all transfers together from their clients.
    pub receive_rate: Option<Rate>,
    /// Ports for passive data connections; without a range [`PASSIVE_PORTS`], and what the system
    /// chooses when none of those is free.
    pub passive_ports: Option<RangeInclusive<u16>>,
    /// The address that PASV announces to clients of a network; the first that fits. To others it
    /// announces the one that the client has connected to.
    pub announce: Vec<Announcement>,
    /// Whether the server connects to clients (PORT, EPRT). Only ever to the client's own address.
    pub active: bool,
    /// Whether an upload takes its name only when it is complete.
    pub atomic_uploads: bool,
    /// The name of the file in a directory that whoever enters it reads; with an empty one nobody
    /// reads anything.
    pub message: String,
}

impl Default for FtpSettings {
    fn default() -> Self {
        Self {
            banner: "Ready.".to_owned(),
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            retire_idle: Duration::from_secs(30),
            data_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            sessions: 10_000,
            sessions_per_address: 100,
            login_tries: 3,
            login_delay: Duration::from_secs(1),
            ban_tries: 12,
            ban_time: Duration::from_secs(300),
            transfer_send_rate: None,
            transfer_receive_rate: None,
            send_rate: None,
            receive_rate: None,
            passive_ports: None,
            announce: Vec::new(),
            active: true,
            atomic_uploads: true,
            message: ".message".to_owned(),
        }
    }
}
