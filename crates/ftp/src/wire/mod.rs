//! The wire format of FTP: bytes in, values out, and back.
//!
//! Read the modules in this order: [`command`] (a line of the control connection), [`reply`] (the
//! answer to it), [`address`] (where data connections go), [`time`], [`facts`] and [`list`] (what is
//! told of a file), [`ascii`] (type A), [`glob`] (patterns of names).
//!
//! The one design choice: everything here is pure. What may come in pieces is taken in pieces, and
//! how it was cut makes no difference.

pub mod address;
pub mod ascii;
pub mod command;
pub mod facts;
pub mod glob;
pub mod list;
pub mod reply;
pub mod time;

/// Bytes of one command line before its end.
pub const MAX_LINE_BYTES: u32 = 4096;

/// Bytes of a verb; the longest that there are have four, those of later drafts up to eight.
pub const MAX_VERB_BYTES: usize = 8;
