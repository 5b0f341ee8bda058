//! The page for people, which shows what the stream of events tells.
//!
//! The one design choice: the page has no figure in it. It is the same bytes for everybody, and
//! its script puts every value into it as text, never as markup; what it may run, load and ask is
//! said by a policy that names its style and its script by their digests. So nothing that a peer
//! has made up can become a part of it.

use bytes::Bytes;
use medusa_http::{Body, Reply};

#[cfg(test)]
const STYLE: &str = include_str!("style.css");
#[cfg(test)]
const SCRIPT: &str = include_str!("script.js");

const PAGE: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">",
    "<link rel=\"icon\" href=\"data:,\"><title>Server status</title><style>",
    include_str!("style.css"),
    "</style></head>",
    include_str!("body.html"),
    "<script>",
    include_str!("script.js"),
    "</script></body></html>\n"
);

/// What a browser may do with the page. The digests are those of `style.css` and `script.js`; a
/// test says what they must be.
const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-ZrSmb9ii5kP3CSj84O8Z7RAh/Pz2yd9DyyzhTWUnGek='; \
    script-src 'sha256-PXdeDgJXUNcCJaDYttsnHvNOF3z0cpMG2CyY39qRa1w='; \
    img-src data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

/// The page.
pub(crate) fn reply() -> Reply {
    Reply::new(200)
        .field("Content-Type", "text/html; charset=utf-8")
        .field("Content-Security-Policy", POLICY)
        .field("X-Content-Type-Options", "nosniff")
        .field("Referrer-Policy", "no-referrer")
        .field("Cache-Control", "no-cache")
        .field("Vary", "Accept")
        .body(Body::Bytes(Bytes::from_static(PAGE.as_bytes())))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_names_style_and_script() {
        for (kind, text) in [("style", STYLE), ("script", SCRIPT)] {
            let digest = STANDARD.encode(Sha256::digest(text));
            let named = format!("{kind}-src 'sha256-{digest}';");
            assert!(POLICY.contains(&named), "the policy must have {named}");
            // It would end the element, and its digest would be that of the rest.
            assert!(!text.contains("</"), "{kind}");
        }
    }
}
