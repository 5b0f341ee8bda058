//! The limits of scripts, in one place.

use std::time::Duration;

/// Bytes of one text in an interpreter. What one instruction costs (a comparison, a concatenation)
/// is bounded by it.
pub const TEXT_BYTES: usize = 1 << 20;
/// Bytes of any other block: the stack, the array of a table, a buffer. The engine's own limit of
/// a million stack slots takes 16 MiB and is met first.
pub const BLOCK_BYTES: usize = 20 << 20;
/// Bytes beyond the limit that stay for the way out when the memory of an interpreter is used up.
pub const MEMORY_RESERVE: usize = 1 << 20;
/// Bytes of a script's source.
pub const SOURCE_BYTES: usize = 1 << 20;
/// Bytes of a source that a script compiles itself (`load`).
pub const LOADED_BYTES: usize = 32 << 10;

/// Instructions between two looks at the clock.
pub const WINDOW: u32 = 250;
/// A window that takes longer has expensive instructions in it. The next one is a sixteenth of it;
/// after that they double again.
pub const SLOW_WINDOW: Duration = Duration::from_micros(500);
/// How long a script runs before others get their turn.
pub const SLICE: Duration = Duration::from_millis(4);
/// How long others get their turn after a slice; at least the loop's own grain.
pub const PAUSE: Duration = Duration::from_millis(1);
/// How long a script runs where it cannot be interrupted, inside a function of the engine.
pub const UNINTERRUPTED: Duration = Duration::from_millis(12);

/// A function of the host that takes longer has the clock looked at right behind it.
pub const SLOW_CALL: Duration = Duration::from_micros(100);
/// A match that takes more steps has the clock looked at right behind it.
pub const SLOW_MATCH: u32 = 20_000;
/// Steps of one match of a pattern; about a nanosecond each.
pub const PATTERN_STEPS: u32 = 2_000_000;
/// Bytes of a pattern, unless it is searched for as it is.
pub const PATTERN_BYTES: usize = 4096;
/// Captures of a pattern.
pub const PATTERN_CAPTURES: usize = 32;
/// Depth of the recursion in one match.
pub const PATTERN_DEPTH: u32 = 200;

/// Scripts of one engine that run or wait.
pub const TASKS: usize = 16 << 10;
/// Scripts that one script has started and not waited for.
pub const CHILDREN: usize = 1000;
/// Coroutines that are kept for the next script.
pub const SPARE_THREADS: usize = 64;
/// Depth of a value that crosses the border, and of JSON.
pub const VALUE_DEPTH: usize = 64;
/// Parts of a value that crosses the border, which nothing interrupts.
pub const VALUE_PARTS: usize = 32_768;
/// Bytes of all texts in a value that crosses the border.
pub const VALUE_BYTES: usize = 4 << 20;
/// The longest sleep.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(366 * 24 * 3600);
/// Bytes of an error's message, and of its traceback.
pub const MESSAGE_BYTES: usize = 8 << 10;

/// Bytes of all names and values in the shared table.
pub const SHARED_BYTES: usize = 16 << 20;
/// Entries of the shared table.
pub const SHARED_ENTRIES: usize = 100_000;

/// Bytes of a key in the store.
pub const STORE_KEY_BYTES: usize = 1024;
/// Bytes of a value in the store.
pub const STORE_VALUE_BYTES: usize = 1 << 20;
/// Keys that one listing of the store gives.
pub const STORE_LISTED: usize = 1000;
/// Questions to the store that wait for a helper thread.
pub const STORE_QUEUE: usize = 1024;
/// Bytes of the store's file that are kept in memory while it is open.
pub const STORE_CACHE_BYTES: usize = 4 << 20;
/// How long the store's file stays open when nobody asks.
pub const STORE_IDLE: Duration = Duration::from_secs(1);
/// How long the store waits for a file that another process has open.
pub const STORE_PATIENCE: Duration = Duration::from_secs(10);
