//! Listening sockets: bound with care, accepting within a budget, never spinning when the process
//! is out of descriptors.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::{Address, Peer, is_stale_socket};
use crate::passed::PassedSocket;
use crate::protocol::Service;
use crate::sys;
use crate::transport::Transport;

/// How to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections that the system holds until they are accepted.
    pub backlog: u32,
    /// The mode of a Unix-domain socket's file; `None` leaves it to the umask.
    pub mode: Option<u32>,
    /// Whether it belongs to one connection and lasts no longer than that needs it: it takes no
    /// socket that was passed to the process, is passed on to none, is not shown, and stays when
    /// the process retires.
    pub transient: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 4096, mode: None, transient: false }
    }
}

/// A listening socket in the loop.
pub(crate) struct Listener {
    socket: Socketed,
    pub(crate) service: Rc<dyn Service>,
    pub(crate) address: Address,
    pub(crate) counts: Rc<Counts>,
    /// What the service manager calls the socket, if it comes from there.
    name: Option<String>,
    /// The port was left to the system.
    chosen: bool,
    /// See [`ListenOptions::transient`].
    pub(crate) transient: bool,
    /// The number of the UDP socket beside it.
    pub(crate) datagrams: Option<u32>,
    /// There may be connections to accept.
    pub(crate) ready: bool,
    /// No accepting before this time: the process is out of descriptors.
    pub(crate) rests_until: Option<Instant>,
}

/// What a listener shows of itself, shared with the inspection tree.
#[derive(Default)]
pub(crate) struct Counts {
    /// Connections taken from the system, refused ones included.
    pub(crate) accepted: Cell<u64>,
    /// Connections that have not ended.
    pub(crate) open: Cell<u64>,
    /// Connections whose clients had too many.
    pub(crate) turned_away: Cell<u64>,
}

enum Socketed {
    Tcp(mio::net::TcpListener),
    /// The file goes when the listener goes, if it is ours.
    Unix(mio::net::UnixListener, Option<SocketFile>),
}

/// The file of a Unix-domain listener, removed with it.
struct SocketFile {
    path: PathBuf,
    /// Its device and inode: by now another server may have bound a file of its own there.
    file: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: Self::identity(path) }
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        std::fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.file.is_some() && Self::identity(&self.path) == self.file {
            // Somebody else may have removed it, which is just as well.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Binds and listens.
    pub(crate) fn bind(
        asked: &Address,
        service: Rc<dyn Service>,
        options: ListenOptions,
    ) -> io::Result<Self> {
        let backlog = backlog(options);
        let (socket, address) = match asked {
            Address::Inet(inet) => {
                let all = inet.is_ipv6() && inet.ip().is_unspecified();
                let socket = match bind_inet(*inet, backlog) {
                    // A system without IPv6 still has all addresses of IPv4.
                    Err(e) if all && lacks_ipv6(&e) => {
                        bind_inet((Ipv4Addr::UNSPECIFIED, inet.port()).into(), backlog)?
                    }
                    other => other?,
                };
                let listener = mio::net::TcpListener::from_std(socket.into());
                let address = Address::Inet(listener.local_addr()?);
                (Socketed::Tcp(listener), address)
            }
            Address::Unix(path) => {
                if is_stale_socket(path) {
                    std::fs::remove_file(path)?;
                }
                let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
                socket.bind(&socket2::SockAddr::unix(path)?)?;
                let file = SocketFile::new(path);
                set_mode(path, options)?;
                socket.listen(backlog)?;
                let listener = mio::net::UnixListener::from_std(socket.into());
                (Socketed::Unix(listener, Some(file)), asked.clone())
            }
            Address::Passed(_) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Self {
            socket,
            service,
            chosen: asked_for_any_port(asked),
            transient: options.transient,
            address,
            name: None,
            counts: Rc::default(),
            // One that is short-lived is not asked before the system says that somebody is there.
            ready: !options.transient,
            datagrams: None,
            rests_until: None,
        })
    }

    /// Listens on a socket that another process has left to this one.
    pub(crate) fn take_over(
        passed: PassedSocket,
        service: Rc<dyn Service>,
        options: ListenOptions,
    ) -> io::Result<Self> {
        let (address, chosen) = (passed.bound().clone(), passed.is_chosen());
        let name = passed.name().map(str::to_owned);
        let socket = passed.socket;
        // Whoever made it may have chosen otherwise.
        socket.set_nonblocking(true)?;
        socket.listen(backlog(options))?;
        let socket = if let Address::Unix(path) = &address {
            if name.is_none() {
                set_mode(path, options)?;
            }
            let file = name.is_none().then(|| SocketFile::new(path));
            Socketed::Unix(mio::net::UnixListener::from_std(socket.into()), file)
        } else {
            prepare_inet(&socket, &address)?;
            Socketed::Tcp(mio::net::TcpListener::from_std(socket.into()))
        };
        let (ready, counts, transient) = (true, Rc::default(), false);
        let rests_until = None;
        Ok(Self {
            socket,
            service,
            address,
            counts,
            name,
            chosen,
            transient,
            datagrams: None,
            ready,
            rests_until,
        })
    }

    /// Duplicates the socket, for a process that is to take it over.
    pub(crate) fn passed(&self) -> io::Result<PassedSocket> {
        let descriptor = match &self.socket {
            Socketed::Tcp(s) => s.as_fd().try_clone_to_owned(),
            Socketed::Unix(s, _) => s.as_fd().try_clone_to_owned(),
        };
        PassedSocket::new(descriptor?, self.name.clone(), self.chosen)
    }

    /// Leaves the file of a Unix-domain socket to the process that has taken the socket over.
    pub(crate) fn leave_file(&mut self) {
        if let Socketed::Unix(_, Some(file)) = &mut self.socket {
            file.file = None;
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socketed::Tcp(s) => s.register(registry, token, Interest::READABLE),
            Socketed::Unix(s, _) => s.register(registry, token, Interest::READABLE),
        }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        if self.transient {
            // It is passed to nobody, so closing it, which comes next, takes it out of the poll.
            return;
        }
        // Closing takes it out of the poll where this fails.
        let _ = match &mut self.socket {
            Socketed::Tcp(s) => s.deregister(registry),
            Socketed::Unix(s, _) => s.deregister(registry),
        };
    }

    pub(crate) fn accept(&self) -> io::Result<(Transport, Peer)> {
        match &self.socket {
            Socketed::Tcp(s) => s.accept().map(|(s, a)| (Transport::Tcp(s), a.into())),
            Socketed::Unix(s, _) => s.accept().map(|(s, _)| (Transport::Unix(s), Peer::Unix)),
        }
    }
}

/// Makes a TCP socket that listens.
fn bind_inet(inet: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(inet), kind, Some(Protocol::TCP))?;
    // Restarting must not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    if inet.is_ipv6() {
        socket.set_only_v6(!inet.ip().is_unspecified())?;
    }
    prepare_inet(&socket, &Address::Inet(inet))?;
    socket.bind(&inet.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Sets what the connections of a TCP socket inherit from it.
fn prepare_inet(socket: &Socket, address: &Address) -> io::Result<()> {
    // Replies leave whole, and nothing else waits.
    socket.set_tcp_nodelay(true)?;
    // Urgent data stays where it stands in the stream (RFC 6093, section 4): taken out of it, the
    // last byte of a line that was sent urgently would be missing, and nobody know.
    socket.set_out_of_band_inline(true)?;
    if matches!(address, Address::Inet(inet) if inet.ip().is_loopback()) {
        sys::choose_for_loopback(socket);
    }
    Ok(())
}

fn backlog(options: ListenOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

/// Gives the file of a Unix-domain socket its mode.
fn set_mode(path: &Path, options: ListenOptions) -> io::Result<()> {
    let Some(mode) = options.mode else { return Ok(()) };
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))
}

pub(crate) fn asked_for_any_port(asked: &Address) -> bool {
    matches!(asked, Address::Inet(inet) if inet.port() == 0)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// A descriptor held back, so that one connection can be accepted and closed when the process
/// has no other left: a client then sees an end instead of hanging in the backlog.
pub(crate) struct Reserve(Option<File>);

impl Reserve {
    pub(crate) fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Gives the descriptor up for as long as `refuse` runs.
    pub(crate) fn lend(&mut self, refuse: impl FnOnce()) {
        if self.0.take().is_some() {
            refuse();
        }
        *self = Self::new();
    }
}

/// Whether accepting failed because there is no descriptor or memory for another connection.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}
