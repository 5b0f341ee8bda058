//! What is known of the terminal.

use std::io::{self, IsTerminal};

use crate::limits::WIDTH;
use crate::paint::Paint;

/// Where output goes.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Cells of a line; `None` if it is no terminal.
    pub cells: Option<usize>,
    /// Lines that are seen at once.
    pub lines: usize,
    /// Colours.
    pub paint: Paint,
}

impl Screen {
    /// Standard output, as it is now.
    pub fn output() -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let size = rustix::termios::tcgetwinsize(&out).ok().filter(|size| size.ws_col > 0);
        Self {
            cells: terminal.then(|| size.map_or(WIDTH, |size| usize::from(size.ws_col))),
            lines: size.map_or(24, |size| usize::from(size.ws_row)),
            paint: paint(&out),
        }
    }
}

/// Whether a stream is given colours: a terminal that has them, unless the user wants none
/// (`NO_COLOR`).
pub fn paint(stream: &impl IsTerminal) -> Paint {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    Paint(stream.is_terminal() && !dumb && !set("NO_COLOR"))
}
