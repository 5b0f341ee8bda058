//! The extension that codes the replies of those behind it.

use crate::coding::{Accepted, Coder};
use crate::extension::{Exchange, Extension, Handled, Request};

/// Lets every request pass, and codes its reply as the client likes it; see [`Coder::encode`].
///
/// Whatever an extension codes by itself, as [`Files`](crate::Files) does, goes as it is.
pub struct Compress(Coder);

impl Compress {
    /// Codes with `coder`, and within its bounds.
    pub fn new(coder: Coder) -> Self {
        Self(coder)
    }
}

impl Extension for Compress {
    fn name(&self) -> &'static str {
        "compress"
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        true
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let accepted = Accepted::by(&request.head.fields);
        let (coder, handle) = (self.0.clone(), request.handle.clone());
        exchange.on_reply(move |reply| coder.encode(reply, accepted, handle.now()));
        Handled::Pass
    }
}
