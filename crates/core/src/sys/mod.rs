//! Holds what needs the operating system directly; the only place in core with `unsafe`.

pub mod beneath;
pub mod persona;
