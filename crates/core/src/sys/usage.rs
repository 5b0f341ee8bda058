//! What the process uses of the machine: memory, descriptors, threads, processor time.
//!
//! The one design choice: what the system does not tell is absent, not zero. On Linux it is read
//! from `/proc`, which counts the pages one by one and may take milliseconds: call this on a
//! helper thread. Elsewhere only what every system tells is there.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the process uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory that are resident, shared libraries and files among them.
    pub resident: Option<u64>,
    /// Bytes of memory that are resident and nobody else's.
    pub private: Option<u64>,
    /// Descriptors that are open.
    pub descriptors: Option<u64>,
    /// Descriptors that may be open at once; `None` is any number.
    pub descriptor_limit: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Time that processors spent on it.
    pub processor_time: Duration,
}

/// Reads what the process uses now. May block.
pub fn usage() -> Usage {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (spent.tv_sec.max(0) as u64, spent.tv_nsec.max(0) as u64);
    Usage {
        descriptor_limit: getrlimit(Resource::Nofile).current,
        processor_time: Duration::from_secs(seconds) + Duration::from_nanos(nanos),
        ..of_system()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn of_system() -> Usage {
    use std::fs::{read_dir, read_to_string};
    let memory = read_to_string("/proc/self/smaps_rollup").ok();
    let memory = |name| memory.as_deref().and_then(|text| kilobytes(text, name));
    let entries = |path| read_dir(path).ok().map(|entries| entries.count() as u64);
    Usage {
        resident: memory("Rss:"),
        private: memory("Private_Clean:").zip(memory("Private_Dirty:")).map(|(a, b)| a + b),
        // The one by which they are counted is not counted.
        descriptors: entries("/proc/self/fd").map(|n| n.saturating_sub(1)),
        threads: entries("/proc/self/task"),
        ..Usage::default()
    }
}

/// Other systems tell it in other ways, or not at all.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn of_system() -> Usage {
    Usage::default()
}

/// The bytes in the line `NAME: 123 kB`.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let text = "00400000-7ffd [rollup]\nRss:              5432 kB\nPss_Dirty: 1 kB\n\
                    Private_Dirty:         0 kB\nOdd: x kB\nLarge: 99999999999999999 kB\n";
        assert_eq!(kilobytes(text, "Rss:"), Some(5432 * 1024));
        assert_eq!(kilobytes(text, "Private_Dirty:"), Some(0));
        for name in ["Private_Clean:", "Odd:", "Large:"] {
            assert_eq!(kilobytes(text, name), None, "{name}");
        }
    }

    #[test]
    fn a_process_uses_something() {
        let usage = usage();
        assert!(usage.processor_time > Duration::ZERO);
        if cfg!(target_os = "linux") {
            let (resident, private) = (usage.resident.unwrap(), usage.private.unwrap());
            assert!(private > 0 && resident >= private, "{usage:?}");
            assert!(usage.descriptors.is_some_and(|n| n >= 3), "{usage:?}");
            assert!(usage.threads.is_some_and(|n| n >= 1), "{usage:?}");
        }
    }
}
