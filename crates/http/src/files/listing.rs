//! The page that lists a directory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use maud::{DOCTYPE, PreEscaped, html};
use medusa_fs::{Detail, FileSystem, Kind, Persona, VirtualPath};

use crate::limits::LISTING_ENTRIES;
use crate::wire::reply::imf_date;
use crate::wire::target::escape_path;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.25rem;overflow-wrap:anywhere}\
table{width:100%;border-collapse:collapse}\
th{text-align:left;font-weight:600}\
th,td{padding:.35rem .5rem;border-bottom:1px solid #8884}\
td:first-child{overflow-wrap:anywhere}\
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
a{text-decoration:none}a:hover{text-decoration:underline}\
footer{color:#888;font-size:.85rem;margin-top:1rem}\
@media(max-width:40rem){.d{display:none}}";

struct Row {
    name: Vec<u8>,
    directory: bool,
    size: u64,
    modified: SystemTime,
}

/// Makes the page of a directory; blocks. Directories come first, then by name. At most
/// [`LISTING_ENTRIES`] are shown, and the page says so if there are more.
pub(super) fn page(
    tree: &dyn FileSystem,
    who: &Persona,
    path: &VirtualPath,
    now: Duration,
) -> medusa_fs::Result<Vec<u8>> {
    let mut rows = Vec::new();
    let mut more = false;
    for entry in tree.list(who, path, Detail::Full)? {
        let entry = entry?;
        if rows.len() == LISTING_ENTRIES {
            more = true;
            break;
        }
        // A link shows what it leads to; one that leads nowhere, or outside, is left out.
        let metadata = match (entry.kind, entry.metadata) {
            (Kind::Symlink, _) | (_, None) => {
                let Ok(child) = path.child(&entry.name) else { continue };
                match tree.metadata(who, &child) {
                    Ok(metadata) => metadata,
                    Err(_) => continue,
                }
            }
            (_, Some(metadata)) => metadata,
        };
        let directory = match metadata.kind {
            Kind::Dir => true,
            Kind::File => false,
            Kind::Symlink | Kind::Other => continue,
        };
        rows.push(Row {
            name: entry.name.into(),
            directory,
            size: metadata.size,
            modified: metadata.modified,
        });
    }
    rows.sort_unstable_by(|a, b| (!a.directory, &a.name).cmp(&(!b.directory, &b.name)));
    Ok(render(path, &rows, more, now).into_bytes())
}

fn render(path: &VirtualPath, rows: &[Row], more: bool, now: Duration) -> String {
    let title = String::from_utf8_lossy(path.as_bytes()).into_owned();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "Index of " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Index of " (title) }
                table {
                    thead { tr { th { "Name" } th.n { "Size" } th.n.d { "Modified" } } }
                    tbody {
                        @if !path.is_root() {
                            tr { td { a href="../" { "../" } } td.n {} td.n.d {} }
                        }
                        @for row in rows {
                            @let name = String::from_utf8_lossy(&row.name);
                            @let slash = if row.directory { "/" } else { "" };
                            tr {
                                td { a href={ (escape_path(&row.name)) (slash) } { (name) (slash) } }
                                td.n { @if !row.directory { (size(row.size)) } }
                                td.n.d { (date(row.modified)) }
                            }
                        }
                    }
                }
                footer {
                    @if more { "Only the first " (rows.len()) " entries are shown. " }
                    @else { (rows.len()) @if rows.len() == 1 { " entry. " } @else { " entries. " } }
                    "Medusa, " (String::from_utf8_lossy(&imf_date(now.as_secs())))
                }
            }
        }
    }
    .into_string()
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// The months as a date on the wire names them.
const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";

/// `2026-11-22 12:00`, in UTC.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Sun, 06 Nov 1994 08:49:37 GMT
    let date = imf_date(seconds);
    let part = |range| std::str::from_utf8(&date[range]).unwrap_or("?");
    let month = MONTHS.find(part(8..11)).map_or(0, |at| at / 3 + 1);
    format!("{}-{month:02}-{} {}", part(12..16), part(5..7), part(17..22))
}
