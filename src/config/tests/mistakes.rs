//! Typical mistakes, each with all that is said about it.

use super::{SERVER, load_text, place};

/// What is said about a file, without the line that names it.
fn told(text: &str) -> String {
    let place = place();
    let error = load_text(place.path(), text).map(|_| ()).expect_err("it is wrong");
    let error = error.replace(&format!("{}/", place.path().display()), "");
    let (first, rest) = error.split_once('\n').unwrap_or((&error, ""));
    assert_eq!(first, "`m.toml` cannot be used:");
    rest.to_owned()
}

/// What is said about a file that has a server as well.
fn told_besides(text: &str) -> String {
    told(&format!("{text}{SERVER}"))
}

#[test]
fn a_key_that_is_spelled_wrong() {
    assert_eq!(
        told_besides("[files.site]\npath = \"public\"\nwriteable = true\n"),
        "m.toml:3:1: [files.site] has no key `writeable`
  |
3 | writeable = true
  | ^^^^^^^^^
  = did you mean `writable`? allowed here: layers, memory, mount, path, show_backups, show_hidden, writable"
    );
}

#[test]
fn a_section_that_is_spelled_wrong() {
    assert_eq!(
        told_besides("[proces]\nx = 1\n"),
        "m.toml:1:2: the file has no key `proces`
  |
1 | [proces]
  |  ^^^^^^
  = did you mean `process`? allowed here: coding, files, log, monitor, process, resolver, script, server"
    );
}

#[test]
fn a_value_of_another_kind() {
    assert_eq!(
        told_besides("[files.site]\npath = \"public\"\nwritable = \"yes\"\n"),
        "m.toml:3:12: `writable` takes true or false, not a text
  |
3 | writable = \"yes\"
  |            ^^^^^"
    );
}

#[test]
fn a_time_without_a_unit() {
    assert_eq!(
        told(&format!("{SERVER}[server.limits]\nkeep_alive = 30\n")),
        "m.toml:10:14: `keep_alive` takes a time from 0ms to 1d, as \"30s\", not 30 without a unit
   |
10 | keep_alive = 30
   |              ^^
   = units are ms, s, m, h and d"
    );
}

#[test]
fn a_server_that_answers_nothing() {
    assert_eq!(
        told("[[server]]\nprotocol = \"http\"\nlisten = \":1\"\n"),
        "m.toml:1:1: the server answers nothing
  |
1 | [[server]]
  | ^^^^^^^^^^
  = give it [[server.extension]] or [[server.host]]"
    );
}

/// What is said about one extension more.
fn told_of_extension(text: &str) -> String {
    told(&format!("{SERVER}[[server.extension]]\n{text}"))
}

#[test]
fn an_extension_that_there_is_not() {
    assert_eq!(
        told_of_extension("use = \"redirct\"\nto = \"/\"\n"),
        "m.toml:10:7: `use` takes \"files\", \"upload\", \"redirect\", \"rewrite\", \"script\", \"fixed\", \"compress\", \"header\", \
         \"access\", \"basic-auth\", \"rate-limit\", \"body-limit\", \"status\", \"error-pages\" or \
         \"user-directories\", not \"redirct\"
   |
10 | use = \"redirct\"
   |       ^^^^^^^^^
   = did you mean `redirect`?"
    );
}

#[test]
fn a_key_of_another_extension() {
    assert_eq!(
        told_of_extension("use = \"fixed\"\nto = \"/\"\n"),
        "m.toml:11:1: [[server.extension]] has no key `to`
   |
11 | to = \"/\"
   | ^^
   = allowed here: match, methods, name, status, text, type, use"
    );
}

#[test]
fn a_target_with_a_capture_that_there_is_not() {
    assert_eq!(
        told_of_extension("match = \"/old/\"\nuse = \"redirect\"\nto = \"/new/$1\"\n"),
        "m.toml:12:6: there is no `$1`: the pattern has fewer asterisks
   |
12 | to = \"/new/$1\"
   |      ^^^^^^^^^"
    );
}

#[test]
fn a_pattern_that_is_none() {
    assert_eq!(
        told_of_extension("match = \"dir/*\"\nuse = \"fixed\"\n"),
        "m.toml:10:9: `match` takes a pattern of paths, as \"/\", \"/dir/\", \"/old/*\" or \
         \"*.php\", not \"dir/*\"
   |
10 | match = \"dir/*\"
   |         ^^^^^^^
   = a pattern of more than a name begins with a slash; without one it matches the last name of a \
         path, as `*.php` does"
    );
}

#[test]
fn a_field_that_is_the_servers_own() {
    assert_eq!(
        told_of_extension(
            "use = \"header\"\n[[server.extension.change]]\nname = \"Content-Length\"\n"
        ),
        "m.toml:12:8: the field `Content-Length` cannot be changed: the server itself writes this \
         field; choose another one
   |
12 | name = \"Content-Length\"
   |        ^^^^^^^^^^^^^^^^"
    );
}

#[test]
fn a_network_with_bits_too_many() {
    assert_eq!(
        told_of_extension(
            "use = \"access\"\nrule = [{ action = \"allow\", from = \"10.0.0.1/8\" }]\n"
        ),
        "m.toml:11:36: `from` takes \"all\", \"unix\", an address or a network, not \"10.0.0.1/8\"
   |
11 | rule = [{ action = \"allow\", from = \"10.0.0.1/8\" }]
   |                                    ^^^^^^^^^^^^
   = `10.0.0.1/8` has bits behind its prefix; write `10.0.0.0/8`"
    );
}

#[test]
fn hosts_with_the_same_name_or_none() {
    let host = |names: &str| {
        format!(
            "[[server.host]]\nnames = {names}\n[[server.host.extension]]\nuse = \"files\"\n\
             files = \"x\"\n"
        )
    };
    let hosts = [host("[\"a.example\", \"a b\"]"), host("\"A.example\"")].concat();
    assert_eq!(
        told(&format!("{SERVER}{hosts}")),
        "m.toml:10:23: `a b` is no host name: it needs labels of letters, digits and hyphens, \
         with dots between
   |
10 | names = [\"a.example\", \"a b\"]
   |                       ^^^^^
m.toml:15:9: the host name `A.example` stands twice; remove one
   |
15 | names = \"A.example\"
   |         ^^^^^^^^^^^"
    );
}

#[test]
fn a_size_in_a_unit_that_there_is_not() {
    assert_eq!(
        told_besides("[files.m]\nmemory = \"10 MB\"\n"),
        "m.toml:2:10: `memory` takes a size from 1 B to 1 TiB, as \"64 KiB\", not \"10 MB\"
  |
2 | memory = \"10 MB\"
  |          ^^^^^^^
  = units are B, KiB, MiB, GiB and TiB"
    );
}

#[test]
fn a_number_out_of_its_range() {
    assert_eq!(
        told_besides("[process]\nmax_connections = 0\n"),
        "m.toml:2:19: `max_connections` takes a number from 1 to 4294967295, not 0
  |
2 | max_connections = 0
  |                   ^"
    );
}

#[test]
fn a_word_that_there_is_not() {
    assert_eq!(
        told_besides("[log]\nlevel = \"warning\"\n"),
        "m.toml:2:9: `level` takes \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", \
         not \"warning\"
  |
2 | level = \"warning\"
  |         ^^^^^^^^^"
    );
}

#[test]
fn an_address_that_is_none() {
    assert_eq!(
        told(&SERVER.replace("\"127.0.0.1:0\"", "[\":80\", \"example.org:80\"]")),
        "m.toml:5:18: `listen` takes an address: \"IP:PORT\", \":PORT\", \"unix:PATH\" or \"systemd:NAME\", not \
         \"example.org:80\"
  |
5 | listen = [\":80\", \"example.org:80\"]
  |                  ^^^^^^^^^^^^^^^^"
    );
}

#[test]
fn a_server_without_an_address() {
    assert_eq!(
        told(&SERVER.replace("listen = \"127.0.0.1:0\"\n", "")),
        "m.toml:3:1: [[server]] needs `listen`
  |
3 | [[server]]
  | ^^^^^^^^^^
  = `listen` takes a list of 1 to 256, each an address: \"IP:PORT\", \":PORT\", \"unix:PATH\" or \"systemd:NAME\""
    );
}

#[test]
fn no_server_at_all() {
    assert_eq!(
        told("# nothing\n"),
        "m.toml:1:1: there is no server
  |
1 | # nothing
  | ^
  = a server begins with [[server]] and needs `protocol` and `listen`"
    );
}

#[test]
fn two_servers_on_one_address() {
    let server = SERVER.replace(":0", ":1");
    let again = &server[server.find("[[server]]").expect("there is one")..];
    assert_eq!(
        told(&format!("{server}{again}")),
        "m.toml:11:10: 127.0.0.1:1 is given twice: another server listens there already
   |
11 | listen = \"127.0.0.1:1\"
   |          ^^^^^^^^^^^^^
   = servers that share an address are hosts of one server"
    );
}

#[test]
fn a_protocol_that_there_is_not_hides_nothing_else() {
    assert_eq!(
        told("[[server]]\nprotocol = \"htp\"\nlisten = \":99999\"\nanything = 1\n"),
        "m.toml:2:12: `protocol` takes \"http\", \"ftp\", \"script\" or \"dns\", not \"htp\"
  |
2 | protocol = \"htp\"
  |            ^^^^^
  = did you mean `http`?
m.toml:3:10: `listen` takes an address: \"IP:PORT\", \":PORT\", \"unix:PATH\" or \"systemd:NAME\", not \":99999\"
  |
3 | listen = \":99999\"
  |          ^^^^^^^^"
    );
}

#[test]
fn a_tree_that_there_is_not() {
    let extension = "[[server.extension]]\nuse = \"files\"\nfiles = \"sit\"\n";
    assert_eq!(
        told(&format!("[files.site]\npath = \"public\"\n{SERVER}{extension}")),
        "m.toml:13:9: `files` takes the name of a file tree, not \"sit\"
   |
13 | files = \"sit\"
   |         ^^^^^
   = did you mean `site`?"
    );
    assert_eq!(
        told(&format!("{SERVER}{extension}")),
        "m.toml:11:9: `files` takes the name of a file tree, not \"sit\"
   |
11 | files = \"sit\"
   |         ^^^^^
   = there is `x`"
    );
}

#[test]
fn a_directory_that_does_not_exist() {
    assert_eq!(
        told_besides("[files.site]\npath = \"pub\"\n"),
        "m.toml:2:8: there is no directory `pub`
  |
2 | path = \"pub\"
  |        ^^^^^
  = name one that exists"
    );
    assert_eq!(
        told_besides("[files.site]\npath = \"public/f\"\n"),
        "m.toml:2:8: `public/f` is not a directory
  |
2 | path = \"public/f\"
  |        ^^^^^^^^^^
  = name the directory that it is in"
    );
}

#[test]
fn a_tree_that_is_nothing_or_too_much() {
    assert_eq!(
        told_besides("[files.a]\nwritable = true\n[files.b]\npath = \"public\"\nmemory = 1\n"),
        "m.toml:1:1: the tree `a` consists of nothing
  |
1 | [files.a]
  | ^^^^^^^^^
  = give it one of `path`, `memory`, `layers` and `script`
m.toml:5:10: a tree cannot have both `path` and `memory`
  |
5 | memory = 1
  |          ^
  = make a tree of each, and lay them over each other"
    );
}

#[test]
fn trees_that_are_made_of_each_other() {
    assert_eq!(
        told_besides("[files.a]\nlayers = [\"b\"]\n[files.b]\nlayers = [\"a\"]\n"),
        "m.toml:2:10: the tree `a` is made of itself
  |
2 | layers = [\"b\"]
  |          ^^^^^
  = its parts lead back to it: `b`
m.toml:4:10: the tree `b` is made of itself
  |
4 | layers = [\"a\"]
  |          ^^^^^
  = its parts lead back to it: `a`"
    );
}

#[test]
fn no_toml_and_no_text() {
    assert_eq!(
        told("[files\n"),
        "m.toml:1:7: this is no TOML: unclosed table, expected `]`
  |
1 | [files
  |       ^"
    );
    assert_eq!(
        told("a = 1\na = 2\n"),
        "m.toml:2:1: this is no TOML: duplicate key
  |
2 | a = 2
  | ^"
    );
}

#[test]
fn of_many_mistakes_the_number_is_told() {
    let many: Vec<_> = (0..30).map(|n| format!("k{n} = {n}\n")).collect();
    let told = told_besides(&many.concat());
    assert_eq!(told.matches("has no key").count(), 20);
    assert!(told.ends_with("\nand 10 more"), "{told}");
}

#[test]
fn long_lines_and_tabs_are_shown_where_they_are_wrong() {
    let told = told(&format!("\tk = \"{}\"\t# ü\n", "é".repeat(500)));
    assert!(told.contains("m.toml:1:2: the file has no key `k`"), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 110), "{told}");
}
