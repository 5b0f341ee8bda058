//! Messages of DNS (RFC 1035): bytes in, values out.

pub mod answer;
pub mod question;
pub(crate) mod request;

pub use answer::{Answer, Fault, Found, Target};
pub use question::{BadName, Kind, Question};
