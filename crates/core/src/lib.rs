//! TODO

pub mod sys;
