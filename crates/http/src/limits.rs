//! What an HTTP server may be told, with defaults, and the limits that are fixed.
//!
//! The limits of the wire format itself stand in [`crate::wire`].

use std::time::Duration;

use medusa_core::ServerLimitOptions;

use crate::extensions::RateLimitOptions;

/// Bytes of an unread request body that are read and thrown away, so that the connection can be
/// kept; past them it is closed.
pub const DRAIN_BYTES: u64 = 64 * 1024;

/// Extensions in one list, to which operators may add.
pub const MAX_EXTENSIONS: usize = 1024;

/// Times that extensions may put another head in place of one request's, or have themselves asked
/// about it again.
pub const MAX_REWRITES: usize = 16;

/// Bytes of replies that have come and cannot leave yet, because one before them has not come: at
/// so many, no further request of the connection is read.
pub const READY_BYTES: usize = 1 << 20;

/// Clients whose rates are remembered at once, unless told otherwise; some 100 bytes each.
pub const REMEMBERED_CLIENTS: usize = 65_536;

/// Records of past requests kept for reuse, so that logging allocates nothing.
pub const SPARE_RECORDS: usize = 64;

/// Of a server's slowest requests, so many are remembered.
pub const SLOW_REQUESTS: usize = 16;

/// For how long they are, at least; at most twice as long.
pub const SLOW_REQUESTS_LAST: Duration = Duration::from_secs(300);

/// Bytes of its request line that are remembered of a slow request.
pub const SLOW_REQUEST_BYTES: usize = 256;

/// Largest file kept in memory, in bytes.
pub const CACHED_FILE_BYTES: u64 = 64 * 1024;

/// Bytes of small files that the file extension keeps in memory, unless told otherwise.
pub const CACHE_BYTES: usize = 16 << 20;

/// Bytes of directory listings in memory, read and not yet sent, of one tree.
pub const LISTING_BYTES: usize = 64 << 20;

/// Files kept in memory that the system is asked to watch; others are looked at each turn.
pub const WATCHED_FILES: usize = 1024;

/// How long the silence about a watched file is trusted before it is looked at all the same.
pub const WATCH_LASTS: Duration = Duration::from_millis(50);

/// Bytes of input that one step of a coding on the loop takes; longer bodies go to helper threads.
pub const CODING_LOOP_BYTES: usize = 16 * 1024;

/// Bytes of input that are coded on the loop in one turn, of all replies together.
pub const CODING_LOOP_BYTES_A_TURN: usize = 64 * 1024;

/// Bytes that a step on the loop counts for at least, however few it takes.
pub const CODING_LEAST_STEP_BYTES: usize = 256;

/// Largest body, in bytes, that a helper thread codes in one go.
pub const CODING_WHOLE_BYTES: u64 = 256 * 1024;

/// Bytes of input that a helper thread takes at a time of a larger body.
pub const CODING_STEP_BYTES: usize = 64 * 1024;

/// Bytes of a body below which it is not coded, unless told otherwise.
pub const CODING_LEAST_BYTES: u64 = 1024;

/// Bytes of memory that all codings under way may take, unless told otherwise.
pub const CODING_BYTES: usize = 64 << 20;

/// Bytes of coded files that the file extension keeps in memory, unless told otherwise.
pub const CODED_BYTES: usize = 16 << 20;

/// How long a missing neighbour in another coding is taken to be missing still.
pub const NEIGHBOURS_LAST: Duration = Duration::from_secs(1);

/// Entries shown in one directory listing; the page says so when there are more.
pub const LISTING_ENTRIES: usize = 50_000;

/// Bytes that the body of one upload may have, unless told otherwise.
pub const UPLOAD_BYTES: u64 = 4 << 30;

/// Uploads to one tree that are received at once, unless told otherwise; each has a file open and
/// two buffers at most. Past them the answer is 503.
pub const UPLOADS_AT_ONCE: usize = 64;

/// When a client whose upload was one too many may try again.
pub const UPLOAD_RETRY: Duration = Duration::from_secs(5);

/// Bytes that the entries of one directory listing take in memory: past them the page shows what
/// it has and says so.
pub const LISTING_TABLE_BYTES: usize = 4 << 20;

/// Entries of a directory that are read before the reply begins.
pub const LISTING_FIRST_ENTRIES: usize = 1024;

/// Entries of a directory that are read by a helper thread before it takes on something else.
pub const LISTING_STEP_ENTRIES: usize = 4096;

/// Bytes of a listing that a helper thread writes at a time; two such steps are in memory.
pub const STEP_BYTES: usize = 64 * 1024;

/// Archives of directories on their way to clients, of one tree.
pub const ARCHIVES_AT_ONCE: usize = 16;

/// Bytes of an archive that a helper thread makes at a time, and then one small file at most; two
/// such steps are in memory.
pub const ARCHIVE_STEP_BYTES: usize = 128 * 1024;

/// Entries of an archive that a helper thread looks at before it takes on something else.
pub const ARCHIVE_STEP_ENTRIES: usize = 256;

/// Largest file that is read into an archive; larger ones are sent from where they lie, or a piece
/// at a time. In bytes.
pub const ARCHIVE_SMALL_BYTES: usize = 64 * 1024;

/// Directories within each other in an archive; each of them is open while those in it are read.
/// A deeper tree ends the archive.
pub const ARCHIVE_DEPTH: usize = 32;

/// Entries of an archive; more end it.
pub const ARCHIVE_ENTRIES: usize = 1_000_000;

/// Bytes of the directory at the end of a zip archive, which is kept until then: enough for about
/// 80,000 entries. More end the archive.
pub const ZIP_DIRECTORY_BYTES: usize = 8 << 20;

/// After so many seconds a client may ask again that was told that too much is on its way.
pub const BUSY_RETRY_SECONDS: u32 = 2;

/// Settings of one HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Time for the first request head of a connection to arrive. A later one may take what is
    /// left of the keep-alive time, and then this long.
    pub head_timeout: Duration,
    /// Time within which some of a request body must arrive, and for which a body may fall behind
    /// [`HttpSettings::min_body_rate`].
    pub body_timeout: Duration,
    /// Bytes a second with which a request body must come on average; 0 asks for nothing. While
    /// whoever takes the body wants none of it, or a bandwidth of ours holds it back, no time
    /// passes for it.
    pub min_body_rate: u64,
    /// Time that a connection may be idle between requests.
    pub keep_alive: Duration,
    /// Time that it may be idle when another process has taken over the listener: so long its
    /// client has to send a request whose reply says that the connection ends.
    pub retire_idle: Duration,
    /// Requests of one connection whose replies have not left yet.
    pub pipeline_depth: usize,
    /// Bytes that a request body may have, unless an extension says less.
    pub max_body_bytes: u64,
}

/// What a server as a whole holds its clients to; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections of one client, and the bandwidth of all together. That of one connection
    /// stands in [`ChannelSettings`](medusa_core::ChannelSettings).
    pub server: ServerLimitOptions,
    /// Requests of one client, whatever they ask for.
    pub requests: Option<RateLimitOptions>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 240,
            keep_alive: Duration::from_secs(75),
            retire_idle: Duration::from_secs(10),
            pipeline_depth: 64,
            max_body_bytes: 1 << 30,
        }
    }
}
