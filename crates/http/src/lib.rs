//! HTTP/1.0 and 1.1 on the event loop of Medusa.
//!
//! Read the modules in the order in which one request flows: [`wire`] (bytes in and out, pure),
//! `session` (the state machine of one connection), `body` (a request's body on its way),
//! [`hosts`] (whose list of extensions a request walks through),
//! [`extension`] (who answers), `walk` and `decision` (how the one that does is found), `edit`
//! (how a request is changed on the way), [`reply`] (what is answered), `write` and `late` (how it is
//! written, now or later), `chunked` and `exact` (how its body is framed), [`coding`] (its content
//! codings), [`files`] (the default extension), [`upload`] (the one that writes), [`extensions`]
//! (the small ones) with [`pattern`], [`access_log`]. The other way round, [`client`] makes requests.
//!
//! RFC 9110 and RFC 9112; where they leave a choice, the strict one is taken.

#![forbid(unsafe_code)]

pub mod access_log;
mod body;
pub mod chunked;
pub mod client;
pub mod coding;
mod decision;
mod edit;
mod exact;
pub mod extension;
pub mod extensions;
mod figures;
pub mod files;
pub mod hosts;
mod late;
pub mod limits;
pub mod list;
pub mod pattern;
pub mod reply;
mod service;
mod session;
mod shown;
pub mod upload;
mod walk;
pub mod wire;
mod write;

pub use coding::{Coder, Coding, CodingOptions, Compress};
pub use decision::Decision;
pub use edit::{FRAMING_FIELDS, FieldError, HeadEdit};
pub use extension::{Exchange, Extension, Handled, Request};
pub use files::{CacheRule, Files, FilesOptions, MediaTypes};
pub use hosts::{Host, Hosts};
pub use late::Responder;
pub use limits::{HttpLimits, HttpSettings};
pub use list::Extensions;
pub use reply::{Body, Reply};
pub use service::HttpService;
pub use shown::{Made, Maker};
pub use upload::{Upload, UploadOptions};
