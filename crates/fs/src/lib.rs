//! Gives HTTP, FTP and scripts one view of files: a tree of virtual paths.
//!
//! The design choice: no call on a tree exists without a [`Persona`], so there is one choke point
//! where the identity is switched, and nothing can run as the server by oversight.
//!
//! Reading order: [`VirtualPath`] (what a path is), [`FileSystem`] (what a tree can do),
//! [`LocalTree`] (a directory of the machine), [`MemoryTree`], [`LayeredTree`] (trees over each
//! other), [`MountedTree`] (trees inside each other), [`QuotaTree`] (one that holds only so much).
//! The last three are trees made of trees, so that any shape can be composed.

#![forbid(unsafe_code)]

mod error;
mod layered;
mod local;
mod memory;
mod mounted;
mod path;
mod quota;
mod tree;

pub use medusa_core::sys::beneath::Resolver;
pub use medusa_core::sys::persona::{Identity, Persona};

pub use crate::error::{Error, ErrorKind, Result};
pub use crate::layered::{LayeredTree, MAX_WHITEOUTS};
pub use crate::local::LocalTree;
pub use crate::memory::{DEFAULT_CAPACITY, MemoryTree};
pub use crate::mounted::{MAX_MOUNTS, MountedTree};
pub use crate::path::{MAX_NAME_BYTES, MAX_PATH_BYTES, Parsed, PathError, VirtualPath};
pub use crate::quota::{MAX_QUOTA_DIRS, MAX_QUOTA_ENTRIES, QUOTA_AGE, Quota, QuotaTree, Usage};
pub use crate::tree::{
    Commit, Content, Detail, DirEntry, Entries, FileSystem, Freshness, Kind, Metadata, OpenFile,
    Placement, Staged, Stamp, TreeOptions, WriteFile,
};
