//! Signals as input of the loop: the handler writes a byte to a pipe, and a protocol reads it.

use std::io;
use std::os::unix::net::UnixStream;

use medusa_core::transport::Transport;
use medusa_core::{Close, Context, Frame, Handle, Protocol};
use medusa_log::Logs;
use signal_hook::consts::SIGUSR1;

/// Does something for each signal that came.
struct OnSignal<F>(F);

impl<F: FnMut(&Handle)> Protocol for OnSignal<F> {
    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        if let Frame::Part(bytes) = frame {
            for _ in bytes {
                (self.0)(cx.handle());
            }
        }
        Ok(())
    }
}

/// Opens the logs anew on SIGUSR1, as programs that rotate logs ask for it.
pub(crate) fn reopen_on_signal(handle: &Handle, logs: Logs) -> io::Result<()> {
    on_signals(handle, &[SIGUSR1], move |_| logs.reopen())
}

/// Calls `act` on the loop's thread for each of these signals that comes.
pub(crate) fn on_signals(
    handle: &Handle,
    signals: &[i32],
    act: impl FnMut(&Handle) + 'static,
) -> io::Result<()> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for &signal in signals {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    let transport = Transport::Unix(mio::net::UnixStream::from_std(read));
    handle.adopt_background(transport, Box::new(OnSignal(act)));
    Ok(())
}
