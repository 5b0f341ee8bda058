//! Signals as input of the loop: the handler writes a byte to a pipe, and a protocol reads it.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use medusa_core::transport::Transport;
use medusa_core::{Close, Context, Frame, Handle, Protocol};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Stops the server: at first when what is in flight has finished, or after `grace`; asked again,
/// at once.
struct Stop {
    grace: Duration,
}

impl Protocol for Stop {
    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        if let Frame::Part(bytes) = frame {
            for _ in bytes {
                cx.handle().shutdown(self.grace);
            }
        }
        Ok(())
    }
}

/// Stops the server on SIGTERM and SIGINT.
pub(crate) fn stop_on_signals(handle: &Handle, grace: Duration) -> io::Result<()> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    let transport = Transport::Unix(mio::net::UnixStream::from_std(read));
    handle.adopt_background(transport, Box::new(Stop { grace }));
    Ok(())
}
