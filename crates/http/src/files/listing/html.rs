//! A listing as a page for people: breadcrumbs, a table whose columns sort, links to download the
//! directory, a form to upload into it.
//!
//! The one design choice: everything works without a script, and what the page may run, load and
//! send is said by a policy that names its style and its script by their digests. So a name that
//! got past the escaping could still do nothing.

use std::borrow::Cow;
use std::fmt;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use medusa_fs::VirtualPath;

use crate::files::civil::Civil;
use crate::files::listing::Offers;
use crate::files::listing::table::{Entry, Table};
use crate::files::query::{Order, Query, Sort};
use crate::wire::target::escape_path;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What a browser may do with the page. The digests are those of `style.css` and `script.js`; a
/// test says what they must be.
pub(super) const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-6hoSqQm6hOGY6TY0SK/Zid/hiJkku/TIxyFwei4JupI='; \
    script-src 'sha256-XCwoStiahstw3YlZcOf+RFW0aT6O0wPHD3R7sPkbwi0='; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'self'";

/// The page up to its rows: all that is known before the directory is read.
pub(super) fn begin(path: &VirtualPath, query: Query, offers: Offers) -> String {
    let title = Shown(path.as_bytes());
    let names: Vec<&[u8]> = path.components().collect();
    html! {
        (DOCTYPE)
        (PreEscaped("<html lang=\"en\">"))
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width,initial-scale=1";
            title { "Index of " (title) }
            style { (PreEscaped(STYLE)) }
        }
        (PreEscaped("<body><main>"))
        h1 {
            // Relative, for the tree need not stand at the root of the host.
            @if let Some((last, above)) = names.split_last() {
                a href=("../".repeat(names.len())) { "Home" }
                @for (depth, name) in above.iter().enumerate() {
                    i { "/" }
                    a href=("../".repeat(above.len() - depth)) { (Shown(name)) }
                }
                i { "/" }
                span aria-current="page" { (Shown(last)) }
            } @else {
                span aria-current="page" { "Home" }
            }
        }
        div.bar {
            input #filter type="search" placeholder="Filter" aria-label="Filter by name" hidden;
            @if offers.archives {
                a href="?archive=zip" rel="nofollow" download { "Download zip" }
                a href="?archive=tar" rel="nofollow" download { "Download tar" }
            }
            @if offers.upload {
                form name="upload" method="post" enctype="multipart/form-data" {
                    input type="file" name="file" multiple required aria-label="Files to upload";
                    button { "Upload" }
                }
            }
        }
        (PreEscaped("<table>"))
        thead { tr {
            (column(query, Sort::Name, "Name", ""))
            (column(query, Sort::Size, "Size", "n"))
            (column(query, Sort::Time, "Modified", "t"))
        } }
        (PreEscaped("<tbody>\n"))
    }
    .into_string()
}

/// The head of a column, which leads to the listing sorted by it: by name from the beginning, else
/// the largest and the newest first, and turned round if it is sorted so already.
fn column(query: Query, sort: Sort, title: &str, class: &str) -> Markup {
    let (name, first) = match sort {
        Sort::Name => ("name", Order::Ascending),
        Sort::Size => ("size", Order::Descending),
        Sort::Time => ("time", Order::Descending),
    };
    let sorted = (query.sort == sort).then_some(query.order);
    let next = match (sorted, first) {
        (Some(Order::Descending), _) | (None, Order::Ascending) => "asc",
        (Some(Order::Ascending), _) | (None, Order::Descending) => "desc",
    };
    let is = sorted.map(|order| match order {
        Order::Ascending => "ascending",
        Order::Descending => "descending",
    });
    let class = (!class.is_empty()).then_some(class);
    html! {
        th scope="col" class=[class] aria-sort=[is] {
            a href={ "?sort=" (name) "&order=" (next) } rel="nofollow" { (title) }
        }
    }
}

/// One row.
pub(super) fn row(entry: Entry<'_>) -> String {
    let slash = if entry.directory { "/" } else { "" };
    let class = entry.directory.then_some("d");
    let modified = Civil::new(entry.modified);
    let Civil { year, month, day, hour, minute, .. } = modified;
    let shown = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}");
    html! {
        tr class=[class] {
            td { a href={ (escape_path(entry.name)) (slash) } { (Shown(entry.name)) (slash) } }
            @if entry.directory { td.n {} }
            @else { td.n title={ (Grouped(entry.size)) " bytes" } { (size(entry.size)) } }
            td.t { time datetime=(modified) { (shown) } }
        }
        "\n"
    }
    .into_string()
}

/// The page behind its rows.
pub(super) fn end(table: &Table) -> String {
    let (directories, files, bytes) = table.sums();
    let plural = |n: usize, one: &'static str, many: &'static str| if n == 1 { one } else { many };
    html! {
        (PreEscaped("</tbody></table>"))
        @if table.len() == 0 { p { "This directory is empty." } }
        @else {
            footer {
                @if table.more {
                    "Only the first " (Grouped(table.len() as u64)) " entries that were found are \
                     shown: there are more. "
                }
                @if directories > 0 {
                    (Grouped(directories as u64)) " " (plural(directories, "directory", "directories"))
                    @if files > 0 { ", " }
                }
                @if files > 0 {
                    (Grouped(files as u64)) " " (plural(files, "file", "files")) ", " (size(bytes))
                }
                ". Times are UTC."
            }
        }
        script { (PreEscaped(SCRIPT)) }
        (PreEscaped("</main></body></html>\n"))
    }
    .into_string()
}

/// Shows a name. What is not UTF-8, would not be seen, or would turn the text around (so that a
/// name looks like another) is replaced.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Cow<'_, str> = String::from_utf8_lossy(self.0);
        let mut parts = text.split(is_invisible);
        f.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| write!(f, "\u{fffd}{part}"))
    }
}

impl maud::Render for Shown<'_> {
    fn render_to(&self, out: &mut String) {
        maud::display(self).render_to(out);
    }
}

/// Whether a character moves others or is not seen: controls, marks and overrides of direction,
/// line ends, and spaces without width.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number with its digits in threes.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl maud::Render for Grouped {
    fn render_to(&self, out: &mut String) {
        maud::display(self).render_to(out);
    }
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded up to 1024 is one of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
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

    #[test]
    fn names_show_what_they_are() {
        for (name, shown) in [
            (&b"plain.txt"[..], "plain.txt"),
            ("ä 日本".as_bytes(), "ä 日本"),
            (b"a\nb\x1b\x7f", "a\u{fffd}b\u{fffd}\u{fffd}"),
            (b"\xff", "\u{fffd}"),
            // Would be shown as a picture.
            ("a\u{202e}gpj.exe".as_bytes(), "a\u{fffd}gpj.exe"),
            ("a\u{200b}b\u{2066}c\u{feff}".as_bytes(), "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("\u{61c}\u{200f}\u{2028}".as_bytes(), "\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(Shown(name).to_string(), shown);
        }
    }

    #[test]
    fn sizes_and_numbers_are_readable() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_500, "1023.9 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Grouped(number).to_string(), shown);
        }
    }
}
