//! TODO

pub mod wire;
