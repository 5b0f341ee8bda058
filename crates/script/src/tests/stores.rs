//! The library `store`.

use std::path::PathBuf;

use super::Scripts;
use crate::limits::{STORE_KEY_BYTES, STORE_LISTED, STORE_QUEUE};
use crate::{Store, Value};

/// Scripts with a store in a file of its own, which holds so many bytes.
fn stored(most: u64) -> (Scripts, tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.db");
    (open(path.clone(), most), directory, path)
}

fn open(path: PathBuf, most: u64) -> Scripts {
    let scripts = Scripts::new();
    let store = Store::new(&scripts.h.handle(), path, most);
    scripts.engine.add(Store::library(Some(&store))).expect("it is added");
    scripts
}

#[test]
fn what_is_put_is_found_again_also_by_the_next_process() {
    let (mut scripts, _directory, path) = stored(1 << 20);
    let put = "store.put('text', 'a\\0\\255') store.put('number', 1.5) store.put('no', false)
        store.put('table', { list = json.array({}), deep = { 1, 'x' } })
        return store.get('text') == 'a\\0\\255' and store.get('nothing') == nil";
    assert_eq!(scripts.value(put), Value::Boolean(true));
    drop(scripts);
    let mut scripts = open(path, 1 << 20);
    let got = "local t = store.get('table') return json.encode({ store.get('number'), \
               store.get('no'), t.deep, t.list }) .. #store.get('text')";
    assert_eq!(scripts.value(got), "[1.5,false,[1,\"x\"],[]]3".into());
    let deleted = "return tostring(store.delete('no')) .. tostring(store.delete('no')) .. \
                   tostring(store.get('no'))";
    assert_eq!(scripts.value(deleted), "truefalsenil".into());
}

#[test]
fn keys_are_listed_in_order_by_their_beginning_and_in_parts() {
    let (mut scripts, _directory, _) = stored(1 << 20);
    let source =
        "for _, k in ipairs { 'b', 'a/2', 'a/1', 'a', 'a/10', 'a0' } do store.put(k, k) end
        local function l(...) return table.concat(store.list(...), ' ') end
        return l() .. '|' .. l('a/') .. '|' .. l('a/', 'a/1') .. '|' .. l('a', nil, 2) .. '|' ..
            l(nil, 'a0') .. '|' .. l('c') .. '|' .. l('a/', 'b')";
    let all = "a a/1 a/10 a/2 a0 b|a/1 a/10 a/2|a/10 a/2|a a/1|b||";
    assert_eq!(scripts.value(source), all.into());
}

#[test]
fn the_store_has_its_limits() {
    let (mut scripts, _directory, _) = stored(1000);
    let error = scripts.error("store.put('a', ('x'):rep(1000))");
    assert!(error.contains("the store is full: it holds 1000 bytes"), "{error}");
    // What is replaced or deleted makes room.
    let source = "store.put('a', ('x'):rep(900)) store.put('a', ('y'):rep(900))
        local ok = pcall(store.put, 'b', ('x'):rep(200)) store.delete('a')
        store.put('b', ('x'):rep(900)) return ok";
    assert_eq!(scripts.value(source), Value::Boolean(false));
    for (wrong, why) in [
        ("store.put('', 1)".to_owned(), "a key has 1 to 1024 bytes"),
        (format!("store.get(('k'):rep({STORE_KEY_BYTES} + 1))"), "a key has 1 to 1024 bytes"),
        ("store.put('a')".to_owned(), "nil cannot be put"),
        ("store.put('a', print)".to_owned(), "a function cannot be written"),
        ("store.put('a', ('x'):rep(1 << 20))".to_owned(), "a value has at most"),
        (format!("store.list('', '', {STORE_LISTED} + 1)"), "a number from 1 to 1000"),
        ("store.get(1)".to_owned(), "must be a string"),
    ] {
        let error = scripts.error(&wrong);
        assert!(error.contains(why), "{wrong}: {error}");
    }
}

#[test]
fn many_questions_are_answered_in_their_order() {
    let (mut scripts, _directory, _) = stored(1 << 20);
    let source = "local all = {}
        for i = 1, 100 do all[i] = start(function() store.put('k', i) return store.get('k') end) end
        local last for i = 1, 100 do last = all[i]:wait() end
        return store.get('k')";
    assert_eq!(scripts.value(source), 100i64.into());
}

#[test]
fn a_file_that_is_no_store_is_an_error_that_names_it() {
    let (mut scripts, _directory, path) = stored(1 << 20);
    std::fs::write(&path, "no database at all").expect("it is written");
    let error = scripts.error("return store.get('a')");
    assert!(error.contains("store.db"), "{error}");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(scripts.value("return store.put('a', 1)"), Value::Boolean(true));
}

#[test]
fn what_waits_for_the_store_has_a_limit() {
    let (mut scripts, _directory, _) = stored(1 << 20);
    let source = "local refused, all = 0, {}
        for i = 1, 900 do all[i] = start(pcall, store.get, 'k') end
        for _, one in ipairs(all) do
            local ok, why = one:wait()
            if not ok then refused = refused + 1 assert(why:find('too busy'), why) end
        end
        return refused";
    let both = [0, 1].map(|_| scripts.begin(source, crate::Budget::default()));
    let refused = both.map(|ended| {
        let result = scripts.ended(&ended).result.expect("it ends well");
        result[0].as_integer().expect("it is a number")
    });
    let refused = usize::try_from(refused[0] + refused[1]).expect("it is not negative");
    // The first question is with a helper thread at once. On a busy machine a script is stopped
    // and goes on later, and there may be room again by then.
    assert!((1..=2 * 900 - STORE_QUEUE - 1).contains(&refused), "{refused}");
}
