//! The messages of panics on their way to standard error.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write;
use std::sync::Arc;

use crate::limits::PANIC_WAIT;
use crate::queue::Queue;

/// Has the messages of all panics written by the thread of standard error.
pub(crate) fn take(stderr: Arc<Queue>) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let mut text = format!("thread '{}' panicked", thread.name().unwrap_or("<unnamed>"));
        if let Some(place) = panic.location() {
            write!(text, " at {place}").expect("a string takes everything");
        }
        let said = said(panic.payload());
        text.push_str(":\n");
        for line in said.lines() {
            writeln!(text, "{}", line.escape_debug()).expect("a string takes everything");
        }
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            writeln!(text, "{trace}").expect("a string takes everything");
        }
        // If others wait already, this may stand still; the end of the process writes it.
        let is_idle = stderr.waiting() == 0;
        stderr.append(text.as_bytes());
        if is_idle {
            stderr.wait_until_written(PANIC_WAIT);
        }
    }));
}

fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
