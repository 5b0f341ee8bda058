//! Password files, and the checking of names and passwords against them.
//!
//! Read the modules in this order: [`password`] (hashing one and verifying one, which is slow on
//! purpose), [`file`](mod@file) (the file that `medusa passwd` writes), [`checker`] (what a server
//! asks: on a helper thread, a few at a time, and remembered for a short while). [`scram`] is for
//! logins in which the password does not cross the wire.
//!
//! The one design choice: servers of all protocols ask the same checker, so that there is one place
//! where somebody who guesses passwords meets a limit, and one where the time that an answer takes
//! says nothing about which names exist.

#![forbid(unsafe_code)]

pub mod checker;
pub mod file;
pub mod password;
pub mod scram;

pub use checker::{Checker, CheckerSettings, Verdict};
pub use file::PasswordFile;
