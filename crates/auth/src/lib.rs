//! Checking of names and passwords: against password files, and of the system's users.
//!
//! Read the modules in this order: [`password`] (hashing one and verifying one, which is slow on
//! purpose), [`file`](mod@file) (the file that `medusa passwd` writes), `turns` (of checks, few run
//! at once), [`checker`] (what a server asks: on a helper thread, and remembered for a short while).
//! Then `crypt` and `shadow` (the hashes of the system's users, and what is said of accounts beside
//! them), [`pam`] (another program is asked, which asks PAM), [`system`] (what a server asks whose
//! users are the system's). [`scram`] is for logins in which the password does not cross the wire.
//!
//! The one design choice: servers of all protocols ask the same checker, so that there is one place
//! where somebody who guesses passwords meets a limit, and one where the time that an answer takes
//! says nothing about which names exist.

#![forbid(unsafe_code)]

pub mod checker;
mod crypt;
pub mod file;
pub mod pam;
pub mod password;
pub mod scram;
mod shadow;
pub mod system;
mod turns;

pub use checker::{Checker, CheckerSettings, Verdict};
pub use file::PasswordFile;
pub use system::{Login, SystemFiles, SystemSettings, SystemUsers};
