//! The limits of logs.

use std::time::Duration;

/// Bytes gathered on the loop before they are handed to the writing thread.
pub const BUFFER_BYTES: usize = 128 * 1024;

/// Bytes that wait to be written to one destination; what does not fit is dropped and counted.
pub const QUEUE_BYTES: usize = 16 * BUFFER_BYTES;

/// Bytes beyond [`QUEUE_BYTES`] that only diagnostics may use, so that a flood of access lines
/// does not hide why it is one.
pub const DIAGNOSTICS_BYTES: usize = 64 * 1024;

/// How long a line waits at most before it is handed over.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// How long a destination that failed is left alone before it is tried again.
pub const RETRY: Duration = Duration::from_secs(1);

/// How long a file goes on growing after it could not be rotated, before that is tried again.
pub const ROTATE_RETRY: Duration = Duration::from_secs(60);

/// How long a writing thread sleeps at most when it waits for a time of day: the clock may be
/// set meanwhile.
pub const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// How long the end of the program waits for a destination that takes nothing. While it takes
/// something, the end waits until all is written.
pub const LAST_WAIT: Duration = Duration::from_secs(1);

/// How long a panic waits for its message to be written, before the thread unwinds.
pub const PANIC_WAIT: Duration = Duration::from_millis(100);

/// Bytes that one write to a pipe or a terminal has, so that a slow reader is told from one that
/// stands still.
pub const STREAM_BYTES: usize = 16 * 1024;

/// Destinations that are open at once; each has a thread.
pub const DESTINATIONS: usize = 64;

/// Old files that a rotation may keep.
pub const KEPT_FILES: u32 = 1000;

/// Bytes of a message to the syslog daemon of this machine; the rest of a longer line is cut
/// off. It is what rsyslog takes unless told otherwise.
pub const SYSLOG_LOCAL_BYTES: usize = 8 * 1024;

/// Bytes of a syslog message by UDP, which receivers should take (RFC 5426 section 3.2).
pub const SYSLOG_UDP_BYTES: usize = 2048;

/// Characters of a syslog tag (APP-NAME, RFC 5424 section 6).
pub const SYSLOG_TAG_CHARS: usize = 48;

/// Bytes of lines that wait, within a turn, for somebody who follows a log; of further ones only the
/// number is told.
pub const FOLLOWED_BYTES: usize = 256 * 1024;
