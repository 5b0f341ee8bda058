//! The limits of the monitor, in one place.

use std::path::PathBuf;
use std::time::Duration;

use medusa_script::Budget;

/// Connections that have not logged in yet. One more closes the oldest of them, so that whoever
/// opens many and says nothing keeps nobody out.
pub const HALF_OPEN: usize = 64;

/// How long the answer to a wrong login is held back.
pub const FAILED_LOGIN_DELAY: Duration = Duration::from_secs(2);

/// How long other connections get their turn between two requests that came together.
pub const REST: Duration = Duration::from_millis(1);

/// Sessions whose connection is gone and that wait to be resumed. One more ends the oldest.
pub const WAITING_SESSIONS: usize = 4;

/// How long a session waits to be resumed.
pub const RESUME_WITHIN: Duration = Duration::from_secs(300);

/// How long a statement may go on when another process has taken over, or the server stops, before
/// the connection of its session ends.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes that may wait for a client before lines that it follows are left out.
pub const FOLLOW_BACKLOG: usize = 256 * 1024;

/// Bytes of one line that is followed; what is longer is cut.
pub const FOLLOWED_LINE_BYTES: usize = 8 * 1024;

/// The longest time in which a change can be confirmed.
pub const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// Changes in one trial.
pub const TRIED_CHANGES: usize = 1000;

/// Bytes of a statement in the audit trail; what is longer is cut.
pub const AUDITED_BYTES: usize = 4096;

/// Actions of one statement that the audit trail names.
pub const AUDITED_ACTIONS: usize = 16;

/// Bytes of the variables that a session takes along to another process.
pub const KEPT_BYTES: usize = 48 * 1024;

/// Values in one line of a result.
pub const RESULT_PARTS: i64 = 5000;

/// Bytes of all texts in a result in one line; JSON makes each at most six.
pub const RESULT_TEXT_BYTES: i64 = 96 * 1024;

/// Depth of what is inside of a result.
pub const RESULT_DEPTH: i64 = 8;

/// Entries of a table inside of a result; those of the outermost are paged.
pub const RESULT_ENTRIES: i64 = 100;

/// What completing a word may use.
pub const COMPLETION: Budget = Budget {
    instructions: 10_000_000,
    time: Duration::from_millis(200),
    within: Duration::from_secs(2),
    output: 0,
};

/// What may differ by server.
#[derive(Clone, Debug)]
pub struct MonitorSettings {
    /// The file of operators (see [`crate::operators`]); without it nobody can log in but the
    /// server's own user, over a Unix-domain socket.
    pub operators: Option<PathBuf>,
    /// How long a login may take.
    pub login_within: Duration,
    /// Sessions at once; each may use the memory of its interpreter.
    pub sessions: usize,
    /// What a statement may use.
    pub statement: Budget,
    /// Bytes of memory of the interpreter of a session.
    pub memory: usize,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            operators: None,
            login_within: Duration::from_secs(30),
            sessions: 16,
            statement: Budget { within: Duration::from_secs(24 * 3600), ..Budget::STATEMENT },
            memory: 32 << 20,
        }
    }
}
