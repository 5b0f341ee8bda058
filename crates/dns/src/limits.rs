//! The limits of the resolver, in one place.

use std::time::Duration;

/// Aliases (CNAME) that are followed on the way to an answer.
pub const MAX_ALIASES: usize = 8;

/// Records of one answer that are looked at; one that has more is refused.
pub const MAX_RECORDS: usize = 1024;

/// What a kept answer counts for beside its own bytes: its place in a table.
pub const ENTRY_BYTES: usize = 96;

/// Bytes of resolv.conf and of the hosts file that are read.
pub const FILE_BYTES: u64 = 1 << 20;

/// Servers that are asked; further ones in resolv.conf are passed over.
pub const MAX_SERVERS: usize = 8;

/// Domains in which a short name is looked for; further ones in resolv.conf are passed over.
pub const MAX_SEARCH: usize = 8;

/// Questions that are being asked at once, each with a socket for every server tried.
pub const MAX_QUESTIONS: usize = 1024;

/// Those who wait for one question.
pub const MAX_WAITERS: usize = 4096;

/// How long a question that no server answered is not asked again (RFC 9520, section 3.2).
pub const FAILED_TIME: Duration = Duration::from_secs(5);

/// Questions without an answer that are remembered.
pub const FAILED_KEPT: usize = 1024;

/// How long others are asked before a server that did not answer.
pub const DOWN_TIME: Duration = Duration::from_secs(30);

/// How long an answer that is past its time is taken for good, when no server answered
/// (RFC 8767, section 5).
pub const STALE_LIFE: Duration = Duration::from_secs(30);

/// How often resolv.conf and the hosts file are looked at, when something is asked.
pub const FILES_TIME: Duration = Duration::from_secs(5);

/// Kept answers that are named at once to whoever looks into the cache.
pub const LISTED: usize = 1000;

/// Bytes of a datagram to a client that says nothing of its room (RFC 1035, section 4.2.1).
pub const PLAIN_DATAGRAM: usize = 512;

/// Seconds for which clients may keep what the hosts file says.
pub const LOCAL_TTL: u32 = 10;

/// Requests of one TCP connection of the forwarder that may be without a reply.
pub const STREAM_REQUESTS: usize = 64;

/// How long a TCP connection of the forwarder may be idle.
pub const STREAM_IDLE: Duration = Duration::from_secs(20);
