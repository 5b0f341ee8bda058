//! What passes between the process and a service manager that speaks systemd's protocols:
//! sockets (`sd_listen_fds`), notices (`sd_notify`) and the watchdog (`sd_watchdog_enabled`).
//!
//! The one design choice: notices are sent at once and never waited for. Nobody hears when one is
//! lost, which the protocol allows: the service manager has timeouts of its own.

use std::cell::Cell;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;
use std::time::Duration;

use medusa_core::passed::MAX_PASSED;
use medusa_core::{Handle, PassedSocket, sys};
use rustix::time::{ClockId, clock_gettime};

/// The variables by which the service manager speaks to one process and not to those it starts.
pub(super) const PRIVATE: [&str; 5] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID"];

/// The name of a socket to which the service manager gave none.
const UNNAMED: &str = "unknown";

/// Takes the sockets that the service manager passed to this process.
pub(super) fn passed_sockets() -> io::Result<Vec<PassedSocket>> {
    let variable = |name| env::var(name).ok();
    let names = named(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )?;
    let sockets = names.into_iter().zip(sys::passed::FIRST..).map(|(name, number)| {
        let with = |e: io::Error| {
            io::Error::new(e.kind(), format!("the socket `{name}` from systemd: {e}"))
        };
        let descriptor = sys::passed::take(number).map_err(with)?;
        PassedSocket::new(descriptor, Some(name.clone()), false).map_err(with)
    });
    sockets.collect()
}

/// The names of the sockets that were passed to the process `own`, in order.
fn named(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> io::Result<Vec<String>> {
    let (Some(pid), Some(count)) = (pid, count) else { return Ok(Vec::new()) };
    if pid.parse() != Ok(own) {
        // They were for a process before us.
        return Ok(Vec::new());
    }
    let count = count.parse().ok().filter(|count| *count <= MAX_PASSED).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("LISTEN_FDS is `{count}`: it must be a number up to {MAX_PASSED}"),
        )
    })?;
    let mut given = names.into_iter().flat_map(|names| names.split(':')).map(str::to_owned);
    Ok((0..count).map(|_| given.next().unwrap_or_else(|| UNNAMED.to_owned())).collect())
}

/// Tells the service manager how the process is doing. Without one it does nothing.
pub(crate) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often the service manager wants to hear that the loop turns.
    watchdog: Option<Duration>,
    /// Another process speaks for the service now.
    replaced: Cell<bool>,
}

impl Notifier {
    /// The notifier that the environment asks for.
    pub(super) fn of_this_process() -> Self {
        let to = env::var_os("NOTIFY_SOCKET").and_then(|address| {
            let address = address_of(&address)?;
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let variable = |name| env::var(name).ok();
        let watchdog = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        Self { to, watchdog, replaced: Cell::new(false) }
    }

    /// The server serves; also said when it has reloaded its configuration.
    pub(crate) fn ready(&self) {
        self.send("READY=1\nSTATUS=Serving");
    }

    /// It reloads its configuration; [`Notifier::ready`] must follow, whatever comes of it.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let mut message = String::from("RELOADING=1\nSTATUS=Reloading\n");
        // Writing to a string cannot fail.
        let _ = write!(message, "MONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000);
        self.send(&message);
    }

    /// It stops.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping");
    }

    /// Another process is the service from now on; this one says nothing more.
    pub(super) fn replaced_by(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}\nREADY=1\nSTATUS=Serving"));
        self.replaced.set(true);
    }

    /// Tells the watchdog, for as long as the loop turns, that it does.
    pub(super) fn feed_watchdog(self: &Rc<Self>, handle: &Handle) {
        let Some(every) = self.watchdog else { return };
        self.send("WATCHDOG=1");
        let notifier = self.clone();
        handle.timer(every / 2, move |handle| notifier.feed_watchdog(handle));
    }

    fn send(&self, message: &str) {
        let Some((socket, to)) = &self.to else { return };
        if self.replaced.get() {
            return;
        }
        if let Err(e) = socket.send_to_addr(message.as_bytes(), to) {
            tracing::debug!("the service manager does not hear: {e}");
        }
    }
}

/// How often the watchdog of the process `own` wants to be fed.
fn watchdog(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let every = microseconds?.parse().ok().filter(|every| *every > 0)?;
    ours.then(|| Duration::from_micros(every))
}

/// The address behind `NOTIFY_SOCKET`: a path, or with `@` the name of an abstract socket.
fn address_of(text: &OsString) -> Option<SocketAddr> {
    match text.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(text).ok(),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_for_one_process_only_and_each_has_a_name() {
        let names = |pid, count, names| named(pid, count, names, 7).expect("it is sound");
        assert_eq!(names(None, Some("1"), None), [""; 0]);
        assert_eq!(names(Some("7"), None, None), [""; 0]);
        assert_eq!(names(Some("8"), Some("1"), None), [""; 0]);
        assert_eq!(names(Some("7"), Some("2"), None), ["unknown", "unknown"]);
        assert_eq!(names(Some("7"), Some("2"), Some("web:api")), ["web", "api"]);
        assert_eq!(names(Some("7"), Some("1"), Some("web:api")), ["web"]);
        for bad in ["", "-1", "1025", "many"] {
            assert!(named(Some("7"), Some(bad), None, 7).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_watchdog_is_for_one_process_only() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("8"), 7), None);
        for none in [None, Some("0"), Some("x")] {
            assert_eq!(watchdog(none, None, 7), None);
        }
    }

    #[test]
    fn notices_go_to_paths_and_to_abstract_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("bound");
        let mut all = vec![(path.into_os_string(), by_path)];
        if cfg!(target_os = "linux") {
            let name = OsString::from(format!("@medusa-test-{}", std::process::id()));
            let address = address_of(&name).expect("an address");
            all.push((name, UnixDatagram::bind_addr(&address).expect("bound")));
        }
        for (name, manager) in all {
            let socket = UnixDatagram::unbound().expect("a socket");
            let to = address_of(&name).map(|address| (socket, address));
            let notifier = Notifier { to, watchdog: None, replaced: Cell::new(false) };
            notifier.reloading();
            notifier.replaced_by(9);
            notifier.stopping();
            manager.set_nonblocking(true).expect("a socket option");
            let mut buffer = [0; 256];
            let mut next = || {
                let length = manager.recv(&mut buffer).ok()?;
                Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
            };
            let reloading = next().expect("it was sent");
            assert!(reloading.starts_with("RELOADING=1\n") && reloading.contains("\nMONOTONIC_"));
            assert_eq!(next().as_deref(), Some("MAINPID=9\nREADY=1\nSTATUS=Serving"));
            assert_eq!(next(), None, "it is another process's to say that it stops");
        }
        assert!(address_of(&OsString::from("relative")).is_none());
    }
}
