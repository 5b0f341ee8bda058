//! An FTP server: RFC 959 with 1123, 2389, 2428, 2577, 2640 and 3659, over the file trees that all
//! servers share.
//!
//! Read the modules in this order: [`wire`] (bytes in, values out), `session` (the control
//! connection), `commands` (what each command does), `data` (the connections that files go over),
//! [`announce`] (where clients are told to connect),
//! [`authorizer`] (who may do what), [`unix_users`] (the users of the system),
//! [`guard`] (how many may come, and how often they may guess),
//! [`events`] and [`records`] (what is told of it), [`service`] (what all sessions share).
//!
//! The one design choice: whatever might block runs on a helper thread and comes back to the session
//! as a task. While one is out the session takes no further command, so that replies keep the order
//! of the commands, and a session is never in two states at once.

#![forbid(unsafe_code)]

pub mod announce;
pub mod authorizer;
mod commands;
mod data;
pub mod events;
pub mod guard;
pub mod limits;
mod listing;
mod message;
mod passive;
mod reading;
pub mod records;
pub mod service;
mod session;
mod shown;
mod sink;
#[cfg(test)]
mod tests;
pub mod unix_users;
pub mod wire;

pub use announce::{Announced, Announcement};
pub use authorizer::{Anonymous, Authorizer, Permissions, Rights, User, Verdict, VirtualUsers};
pub use events::{Event, Events, Transfer};
pub use limits::FtpSettings;
pub use records::RecordForm;
pub use service::FtpService;
pub use unix_users::{UnixOptions, UnixUsers};
