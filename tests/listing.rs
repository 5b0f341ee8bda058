//! Directories as foreign programs see them: archives in tar, unzip and Python, pages in a browser.
#![allow(missing_docs)]

mod server;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use server::{Server, is_missing, noise};

/// Names that do harm where they are taken for something else.
const ODD_NAMES: [&str; 10] = [
    "plain.txt",
    "two words",
    "<img src=x onerror=parent.harm=1>",
    "\"><script>parent.harm=1<\\script>",
    "'&amp;%41?#:x",
    "javascript:parent.harm=1",
    "new\nline",
    "ä 日本",
    "turned \u{202e}gpj.exe",
    "-rf",
];

/// A directory `d` with odd names, and files of many sizes.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let d = directory.path().join("d");
    fs::create_dir_all(d.join("sub/deeper")).expect("it is made");
    let write = |name: &OsStr, content: &[u8]| {
        fs::write(d.join(name), content).expect("it is written");
    };
    for name in ODD_NAMES {
        write(OsStr::new(name), name.as_bytes());
    }
    write(OsStr::from_bytes(b"latin \xe4"), b"latin");
    write(OsStr::from_bytes(&[b"line\nend \xff", &b"x"[..].repeat(150)[..]].concat()), b"long");
    for size in [0, 511, 512, 65_536, 65_537, 3_000_000] {
        write(OsStr::new(&format!("sub/{size}")), &noise(size));
    }
    write(OsStr::new("sub/deeper/x"), b"x");
    directory
}

/// Runs a program to its end, which must be a good one.
#[track_caller]
fn run(program: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    let Output { status, stdout, stderr } = output;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(status.success(), "{program}: {status}: {}{}", said(&stdout), said(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// Saves what is at a path of the server.
fn save(server: &Server, path: &str, to: &Path) {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let output = server.ask(request);
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    assert!(output.starts_with(b"HTTP/1.1 200 "), "{}", output[..end].escape_ascii());
    fs::write(to, &output[end + 4..]).expect("it is written");
}

#[test]
fn tar_and_unzip_unpack_what_is_there() {
    let (directory, out) = (directory(), tempfile::tempdir().expect("a directory"));
    let server = Server::of(directory.path());
    // unzip leaves control bytes out of names unless it is told to take them.
    let commands: [(&str, &[&str], &str); 2] =
        [("tar", &["-xf"], "-C"), ("unzip", &["-q", "-^"], "-d")];
    for (program, unpack, into) in commands {
        if is_missing(program, "tar_and_unzip_unpack_what_is_there") {
            continue;
        }
        let kind = if program == "tar" { "tar" } else { "zip" };
        let (file, place) = (out.path().join(kind), out.path().join("unpacked").join(kind));
        // What unzip makes of names that are no text is its own affair.
        if kind == "zip" {
            for entry in fs::read_dir(directory.path().join("d")).expect("it is there") {
                let entry = entry.expect("it is there");
                if entry.file_name().to_str().is_none() {
                    fs::remove_file(entry.path()).expect("it is removed");
                }
            }
        }
        save(&server, &format!("/d/?archive={kind}"), &file);
        fs::create_dir_all(&place).expect("it is made");
        let mut arguments: Vec<&OsStr> = unpack.iter().map(OsStr::new).collect();
        arguments.extend([file.as_os_str(), OsStr::new(into), place.as_os_str()]);
        // A UTF-8 locale, for unzip asks it what it may write.
        let mut command = Command::new(program);
        let output = command.args(&arguments).env("LC_ALL", "C.UTF-8").output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {}: {said}", output.status);
        let (was, is) = (directory.path().join("d"), place.join("d"));
        run("diff", &["-r".as_ref(), was.as_ref(), is.as_ref()]);
    }
}

/// Compares each file of an archive with the one on disk, names byte by byte.
const COMPARE: &str = r#"
import os, sys, tarfile, zipfile
directory, kind, file = sys.argv[1:]
expected = {}
for place, _, names in os.walk(os.fsencode(directory)):
    for name in names:
        path = os.path.join(place, name)
        expected[b"d/" + os.path.relpath(path, os.fsencode(directory))] = open(path, "rb").read()
got = {}
if kind == "tar":
    archive = tarfile.open(file)
    for member in archive:
        if member.isfile():
            name = member.name.encode("utf-8", "surrogateescape")
            got[name] = archive.extractfile(member).read()
else:
    archive = zipfile.ZipFile(file)
    assert archive.testzip() is None
    for member in archive.infolist():
        if not member.is_dir():
            name = member.orig_filename.encode("utf-8" if member.flag_bits & 0x800 else "cp437")
            got[name] = archive.read(member)
assert sorted(got) == sorted(expected), (sorted(got), sorted(expected))
assert got == expected
"#;

#[test]
fn python_reads_what_is_there() {
    if is_missing("python3", "python_reads_what_is_there") {
        return;
    }
    let (directory, out) = (directory(), tempfile::tempdir().expect("a directory"));
    let server = Server::of(directory.path());
    let d = directory.path().join("d");
    for kind in ["tar", "zip"] {
        let file = out.path().join(kind);
        save(&server, &format!("/d/?archive={kind}"), &file);
        let arguments = ["-c", COMPARE].map(OsStr::new);
        let more = [d.as_os_str(), OsStr::new(kind), file.as_os_str()];
        run("python3", &[&arguments[..], &more[..]].concat());
    }
}

/// A page of the same origin that loads the listing as a visitor would, and uses it.
const VISITOR: &str = r#"<!DOCTYPE html><meta charset="utf-8"><body><pre id="out"></pre>
<iframe id="frame" src="/d/" width="390" height="800"></iframe><script>
const frame = document.getElementById("frame"), out = document.getElementById("out");
const names = page => [...page.querySelectorAll("tbody a")].map(a => decodeURIComponent(
    a.getAttribute("href").replaceAll(/%(?![0-7])[0-9A-F]{2}/g, "?")));
const steps = [
    page => {
        const filter = page.getElementById("filter");
        filter.value = "PLAIN";
        filter.dispatchEvent(new Event("input"));
        const rows = [...page.querySelectorAll("tbody tr")].filter(row => row.checkVisibility());
        out.append(`shown: ${filter.checkVisibility()} filtered: ${rows.length}\n`);
        page.querySelectorAll("thead a")[1].click();
    },
    page => {
        out.append(`by size: ${page.querySelector("[aria-sort]").textContent} ${names(page)[0]}` +
            ` ${names(page)[1]} ${page.querySelector("td.n[title]").title}\n`);
        page.querySelector("tbody .d a").click();
    },
    page => {
        out.append(`in sub: ${names(page).join()} ${page.querySelector("h1").textContent}\n`);
        page.querySelectorAll("h1 a")[1].click();
    },
    page => {
        out.append(`back: ${new URL(page.URL).pathname} harm: ${window.harm}\n`);
        out.append("done\n");
    },
];
frame.onload = () => steps.shift()?.(frame.contentDocument);
</script>"#;

/// Runs the browser on a page; gives what it says, or leaves a picture.
fn browse(url: &str, arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().expect("a directory");
    // It waits for nobody longer than this, should it hang.
    let mut all = vec!["300", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu"];
    let profile = format!("--user-data-dir={}", profile.path().display());
    all.extend(["--no-proxy-server", "--hide-scrollbars", &profile]);
    all.extend(arguments);
    all.push(url);
    let all: Vec<&OsStr> = all.into_iter().map(OsStr::new).collect();
    run("timeout", &all)
}

#[test]
fn a_browser_lists_sorts_filters_and_is_not_harmed() {
    if is_missing("chromium", "a_browser_lists_sorts_filters_and_is_not_harmed") {
        return;
    }
    let directory = directory();
    fs::write(directory.path().join("visitor.html"), VISITOR).expect("it is written");
    let server = Server::of(directory.path());
    let url = server.url("/visitor.html");
    let page = browse(&url, &["--virtual-time-budget=60000", "--dump-dom"]);
    let said = page.split_once("<pre id=\"out\">").expect("the page").1;
    let said = said.split_once("</pre>").expect("the page").0;
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "shown: true filtered: 1",
        // The one with the longest name is the largest.
        "by size: Size sub/ &lt;img src=x onerror=parent.harm=1&gt; 33 bytes",
        "in sub: deeper/,0,511,512,65536,65537,3000000 Home/d/sub",
        "back: /d/ harm: undefined",
        "done",
    ];
    assert_eq!(lines, expected);
    for (width, height) in [(1200, 900), (390, 844)] {
        let picture = directory.path().join("picture.png");
        let size = format!("--window-size={width},{height}");
        let to = format!("--screenshot={}", picture.display());
        browse(&server.url("/d/"), &[&size, &to]);
        let picture = fs::read(&picture).expect("a picture");
        assert_eq!(picture[..8], *b"\x89PNG\r\n\x1a\n");
        let sizes = picture[16..24].chunks(4).map(|n| n.try_into().map_or(0, u32::from_be_bytes));
        assert!(sizes.eq([width, height]));
        assert!(picture.len() > 10_000, "there is something to see");
    }
}
