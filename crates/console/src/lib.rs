//! The client of the monitor: `medusa console`.
//!
//! What is shown and how lines are understood is pure ([`show`], [`table`], [`cell`], [`fault`],
//! [`lua`], [`text`]); connection and terminal stand around it. A person gets a line editor
//! (`interactive`), scripts get exit statuses and JSON ([`batch`]); both ask the server through
//! [`link`].
//!
//! The one design choice: the client knows nothing of the server's parts. What there is, what it
//! is called and what can be done with it comes from the server, so that any console fits.

#![forbid(unsafe_code)]

pub mod batch;
pub mod cell;
mod editor;
pub mod fault;
pub mod find;
pub mod history;
mod interactive;
pub mod limits;
pub mod link;
pub mod login;
pub mod lua;
pub mod paint;
mod run;
pub mod screen;
pub mod show;
pub mod stream;
pub mod table;
pub mod target;
pub mod text;

pub use batch::End;
pub use run::{Options, run};
pub use target::Target;
