//! Every limit of the status page, with its unit.

use std::time::Duration;

/// Parts of the inspection tree in one view; of what is more it is only said that there is more.
pub const MAX_PARTS: usize = 512;

/// Parts of one part in a view.
pub const MAX_BELOW: usize = 64;

/// Levels of the tree below its root in a view.
pub const MAX_DEPTH: usize = 6;

/// Clients that look on at once; past them the answer is 503.
pub const MAX_WATCHERS: usize = 32;

/// Time between two events while somebody looks on.
pub const TICK: Duration = Duration::from_secs(1);

/// How far back charts go.
pub const HISTORY: Duration = Duration::from_secs(600);

/// Samples that are kept; more than one a second come when a view is asked for besides.
pub const MAX_SAMPLES: usize = 1200;

/// Protocols of listeners that are told apart in a sample.
pub const MAX_PROTOCOLS: usize = 16;

/// Bytes that may wait for a client that looks on; while there are more it is sent no further
/// events.
pub const WATCHER_BYTES: usize = 512 * 1024;
