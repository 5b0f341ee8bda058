//! The resolver of Medusa's loop: names to addresses, without waiting for anything.
//!
//! Read the modules in this order: [`wire`] (messages), [`cache`], [`files`] (what the
//! machine says), [`resolver`], [`forward`] (the resolver as a service).

pub mod cache;
pub mod files;
pub mod forward;
pub mod limits;
pub mod resolver;
pub mod wire;

pub use forward::Forwarder;
pub use resolver::{ResolveError, Resolver, ResolverSettings};

#[cfg(test)]
mod tests;
