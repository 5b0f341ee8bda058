//! Every limit of the core, in one place, with its unit.
//!
//! Settings that a server may change stand in [`ChannelSettings`]; the rest are constants.

use std::time::Duration;

use crate::rate::Rate;

/// Bytes in the buffer that the whole loop shares for reading; no frame can be longer than half.
pub const READ_BUFFER_BYTES: usize = 128 * 1024;

/// Largest limit that a delimiter or a framer may ask for, in bytes: the rest of the shared
/// buffer is left for reading.
pub const MAX_FRAME_BYTES: usize = READ_BUFFER_BYTES / 2;

/// Longest boundary of a streamed frame, in bytes; those of MIME have at most 74.
pub const MAX_BOUNDARY_BYTES: usize = 256;

/// Frames that one channel may have handled in one turn before the others get theirs.
pub const FRAMES_A_TURN: usize = 256;

/// Bytes that one channel may read in one turn.
pub const READ_BYTES_A_TURN: usize = 256 * 1024;

/// Bytes that one channel may write in one turn. More fills the system's buffers faster than the
/// peer empties them, which serves neither it nor its neighbours.
pub const WRITE_BYTES_A_TURN: usize = 256 * 1024;

/// Connections that one listener may accept in one turn.
pub const ACCEPTS_A_TURN: usize = 64;

/// Datagrams that one UDP socket may receive in one turn.
pub const DATAGRAMS_A_TURN: usize = 64;

/// Bytes of the largest datagram that can be received.
pub const MAX_DATAGRAM_BYTES: usize = 64 * 1024;

/// Datagrams that wait in a UDP socket's send queue; further ones are dropped and counted.
pub const DATAGRAM_QUEUE: usize = 256;

/// Nodes of the inspection tree in one list, and in one turn those after which further lists wait
/// for the next.
pub const LISTED_A_TURN: usize = 256;

/// Channels that are named when all of them are looked at; a list gives the others.
pub const NAMED_CHILDREN: usize = 1024;

/// Slices handed to one `writev`.
pub const SLICES_A_WRITE: usize = 64;

/// Items (pieces, producers, marks) in one output queue above which its channel stops reading.
pub const QUEUED_ITEMS: usize = 512;

/// Pieces up to this many bytes are copied beside their neighbours instead of queued by reference.
pub const COALESCE_BYTES: usize = 4096;

/// Bytes that have left of an output queue's storage before the rest is moved to its front.
pub const COMPACT_BYTES: usize = 16 * 1024;

/// Bytes that the loop's spare output queue may keep between connections.
pub const SPARE_OUTPUT_BYTES: usize = 256 * 1024;

/// Smallest and largest piece asked of a producer, as powers of two (4 KiB, 1 MiB).
pub const PIECE_LOG2: std::ops::RangeInclusive<u8> = 12..=20;

/// Bytes a lingering close reads and throws away before it gives up: an upload of usual size, for
/// many clients read the answer only when they have sent everything. [`LINGER_TIME`] is the
/// limit that a hostile one meets first.
pub const LINGER_BYTES: u64 = 16 * 1024 * 1024;

/// How long a lingering close waits for the peer's end.
pub const LINGER_TIME: Duration = Duration::from_secs(5);

/// How long a listener rests after the process ran out of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest time that a shutdown waits for connections to finish, whatever was asked for.
pub const MAX_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Jobs that wait for a helper thread; further ones fail at once.
pub const POOL_QUEUE: usize = 4096;

/// Helper threads, started when first needed.
pub const POOL_THREADS: usize = 4;

/// Messages that wait in the loop's remote queue beyond finished jobs.
pub const REMOTE_QUEUE: usize = 4096;

/// Bytes of a file that are looked for in memory, and fetched if they are not there, before they
/// are sent.
pub const WARM_BYTES: u64 = 1024 * 1024;

/// Ports that are tried when one is to be free for TCP and UDP at once.
pub const PORT_TRIES: usize = 16;

/// Readiness events taken from the system in one turn.
pub const EVENTS_A_TURN: usize = 1024;

/// Buffers that a file collector may have on their way to the disk.
pub const COLLECTOR_BUFFERS: usize = 2;

/// Bytes of one such buffer.
pub const COLLECTOR_BUFFER_BYTES: usize = 128 * 1024;

/// Pieces in a feed at which its pusher is told to stop, however few bytes they have.
pub const FEED_PIECES: usize = 1024;

/// Default high mark of a feed, in bytes: at or above it the pusher is told to stop.
pub const FEED_HIGH_BYTES: usize = 64 * 1024;

/// Default low mark of a feed, in bytes: at or below it the pusher is told to go on.
pub const FEED_LOW_BYTES: usize = 16 * 1024;

/// Largest amount, and largest burst, of a [`Rate`]: bytes or requests in its time.
pub const MAX_RATE_AMOUNT: u64 = 1 << 36;

/// Longest time of a [`Rate`].
pub const MAX_RATE_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// Bandwidths that one connection shares with others: its server's, its user's, and the like.
pub const BANDWIDTHS_A_CONNECTION: usize = 4;

/// Bytes that a bandwidth lets through at once, at least.
pub const MIN_BURST_BYTES: u64 = 16 * 1024;

/// Times a second that a connection that is held to a bandwidth goes on, at most.
pub const PACES_A_SECOND: u64 = 64;

/// Bytes that such a connection waits for, at least, before it goes on.
pub const MIN_PACE_BYTES: u64 = 1024;

/// Bytes read of a connection that is turned away, so that it can hear why.
pub const TURNED_AWAY_READ_BYTES: usize = 16 * 1024;

/// Networks whose peers count as no clients.
pub const MAX_EXEMPT_NETWORKS: usize = 256;

/// Shortest time, in milliseconds, for which a client that was counted is remembered.
pub const MIN_GENERATION_MS: u64 = 1000;

/// A turn of the loop that takes longer counts as slow: somebody may notice it.
pub const SLOW_TURN: Duration = Duration::from_millis(20);

/// Of the slowest turns, so many are remembered.
pub const SLOW_TURNS: usize = 8;

/// For how long they are, at least; at most twice as long.
pub const SLOW_TURNS_LAST: Duration = Duration::from_secs(300);

/// Time between two lines in the log of something that happens again and again.
pub const SELDOM: Duration = Duration::from_secs(1);

/// What may be set for each server, and changed for each of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    /// Bytes asked of the socket in one read; at most [`READ_BUFFER_BYTES`].
    pub read_bytes: usize,
    /// Bytes in the output queue at which the channel stops taking input.
    pub output_high_bytes: usize,
    /// Bytes in the output queue at which it goes on.
    pub output_low_bytes: usize,
    /// Bytes asked of a producer at first; adjusts itself within `piece_min..=piece_max`.
    pub piece_start_bytes: usize,
    /// Smallest piece asked of a producer on a connection that drains slowly.
    pub piece_min_bytes: usize,
    /// Largest piece asked of a producer on a connection that drains quickly.
    pub piece_max_bytes: usize,
    /// How long queued output may stand still before the connection is closed.
    pub stall: Duration,
    /// Bytes a second that the peer must take on average while output waits for it, over as long
    /// as [`ChannelSettings::stall`]; 0 asks for nothing. Output that waits for a producer, or
    /// for a bandwidth to allow it, does not wait for the peer.
    pub min_send_rate: u64,
    /// Bandwidth of the connection towards the peer; `None` is any.
    pub send_rate: Option<Rate>,
    /// Bandwidth of the connection from the peer. What is read and thrown away when the
    /// connection closes counts too.
    pub receive_rate: Option<Rate>,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            read_bytes: 64 * 1024,
            output_high_bytes: 256 * 1024,
            output_low_bytes: 64 * 1024,
            piece_start_bytes: 16 * 1024,
            piece_min_bytes: 4 * 1024,
            piece_max_bytes: 512 * 1024,
            stall: Duration::from_secs(60),
            min_send_rate: 240,
            send_rate: None,
            receive_rate: None,
        }
    }
}
