//! What may stand in the list of extensions besides [`Files`](crate::Files).

pub mod basic_auth;

pub use basic_auth::{BasicAuth, BasicAuthOptions};
