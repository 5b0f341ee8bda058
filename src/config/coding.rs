//! `[coding]`: what is compressed on the fly, by all servers together.

use medusa_http::coding::Levels;
use medusa_http::{Coding, CodingOptions};

use crate::config::kind::{Choice, List, Number, Size, Text};
use crate::config::section::Section;

/// Media types that can be listed.
const MAX_TYPES: usize = 256;

/// The words for codings.
pub(crate) fn coding() -> Choice<Coding> {
    Choice(&[("br", Coding::Brotli), ("zstd", Coding::Zstd), ("gzip", Coding::Gzip)])
}

/// Reads `[coding]`.
pub(crate) fn options(section: &mut Section<'_>) -> CodingOptions {
    let defaults = CodingOptions::default();
    let codings = section.or(
        "codings",
        "The codings in use. Where a client likes several alike, the first of them is taken; none \
         switches coding on the fly off.",
        &List(coding(), 0..=Coding::ALL.len()),
        defaults.codings,
    );
    let mut level =
        |name, doc, range, default: u8| section.or(name, doc, &Number(range), default.into()) as u8;
    let gzip = level("gzip_level", "How hard gzip tries.", 1..=9, defaults.levels.gzip);
    let zstd = level(
        "zstd_level",
        "How hard zstd tries.",
        1..=u64::from(Levels::MOST_ZSTD),
        defaults.levels.zstd,
    );
    let brotli = level(
        "brotli_level",
        "How hard br tries.",
        0..=u64::from(Levels::MOST_BROTLI),
        defaults.levels.brotli,
    );
    let types = section.or(
        "types",
        "The media types that are worth it; one `*` may stand at the front or the end.",
        &List(Text("a media type"), 0..=MAX_TYPES),
        defaults.types.iter().map(ToString::to_string).collect(),
    );
    let least_bytes = section.or(
        "least",
        "Bytes of body below which it is not worth it.",
        &Size(0..=1 << 40),
        defaults.least_bytes,
    );
    let memory_bytes = section.or(
        "memory",
        "Bytes of memory that all compressions may take together; past them replies go uncoded.",
        &Size(0..=1 << 40),
        defaults.memory_bytes as u64,
    );
    CodingOptions {
        codings,
        levels: Levels { gzip, zstd, brotli },
        types: types.into_iter().map(String::into_boxed_str).collect(),
        least_bytes,
        memory_bytes: memory_bytes as usize,
    }
}
