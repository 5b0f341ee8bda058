//! The limits of the console, in one place.

use std::time::Duration;

/// Statements that the history keeps.
pub const HISTORY: usize = 1000;
/// Bytes of a statement beyond which the history does not keep it.
pub const HISTORY_STATEMENT: usize = 4096;
/// Columns of a table; further fields of its rows are left out, and their number is told.
pub const COLUMNS: usize = 32;
/// Cells to which a column of texts may be narrowed so that a table fits into a terminal.
pub const COLUMN: usize = 10;
/// Nested tables that are shown one in the other.
pub const DEPTH: usize = 32;
/// Cells that a line has where nothing says how wide the terminal is.
pub const WIDTH: usize = 80;
/// Names that a completion offers.
pub const CANDIDATES: usize = 200;
/// How long the tab key waits for the server.
pub const COMPLETION: Duration = Duration::from_secs(2);
/// How long a server may take to accept a connection.
pub const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may take to answer during the login; it is slow on purpose after failures.
pub const LOGIN: Duration = Duration::from_secs(60);
/// How long a server may take nothing of what it is sent.
pub const SEND: Duration = Duration::from_secs(30);
/// How long a connection that was lost is tried again.
pub const RECONNECT: Duration = Duration::from_secs(15);
/// How long to wait between two tries.
pub const RETRY: Duration = Duration::from_millis(200);
/// Messages of the server that wait to be shown; while there are as many, no more is read.
pub const MESSAGES: usize = 64;
/// Notices that wait to be shown above the prompt; further ones are dropped, and counted.
pub const NOTICES: usize = 64;
/// Rows of a result that are gathered to be shown at once where nobody is asked for more.
pub const GATHERED: usize = 1_000_000;
/// Bytes of a password file that are read.
pub const PASSWORD_FILE: u64 = 4096;
/// Lines of a traceback that are shown.
pub const TRACEBACK: usize = 12;
/// Bytes of a statement that are read from standard input.
pub const STATEMENT: usize = medusa_monitor::wire::CLIENT_LINE_BYTES;
/// Sockets that are looked at to find the servers of a user.
pub const SOCKETS: usize = 256;
