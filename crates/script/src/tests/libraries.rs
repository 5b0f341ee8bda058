//! The libraries, against other programs' idea of them.

use medusa_core::testing::Harness;
use proptest::prelude::*;

use super::Scripts;
use crate::library::json_for_tests as json;
use crate::limits::SHARED_BYTES;
use crate::{Engine, SharedTable, Value};

#[test]
fn json_is_decoded_and_encoded() {
    let mut scripts = Scripts::new();
    for text in [
        "null",
        "true",
        "[]",
        "{}",
        "[1,2,3]",
        "[[],{}]",
        "1",
        "-5",
        "1.5",
        "\"a\\nb\\u0000é\"",
        "{\"a\":[null,{\"b\":false}]}",
        "9223372036854775807",
        "[null,null]",
    ] {
        let source = format!("return json.encode(json.decode([==[{text}]==]))");
        assert_eq!(scripts.value(&source), text.into());
    }
    assert_eq!(scripts.value("return json.encode({})"), "{}".into());
    assert_eq!(scripts.value("return json.encode(json.array())"), "[]".into());
    assert_eq!(scripts.value("return json.decode('null') == json.null"), true.into());
    assert_eq!(scripts.value("return json.pretty({1})"), "[\n  1\n]".into());
}

#[test]
fn what_is_no_json_is_refused_with_a_sentence() {
    let mut scripts = Scripts::new();
    for (source, why) in [
        ("json.decode('{')", "no JSON"),
        ("json.decode('1 2')", "no JSON"),
        ("json.decode(('['):rep(1000))", "nested too deeply"),
        ("json.decode('[' .. ('0,'):rep(200000) .. '0]')", "too many parts"),
        ("json.encode(print)", "function"),
        ("json.encode(1/0)", "cannot be written"),
        ("json.encode('\\255')", "UTF-8"),
        ("local t = {} t.t = t json.encode(t)", "contains itself"),
        ("json.encode({[{}] = 1})", "cannot be a key"),
        ("local t = {} for i = 1, 12 do t[i] = ('x'):rep(400000) end json.encode(t)", "bytes"),
        (
            "local s, t = ('x'):rep(1000000), {} for i = 1, 50 do t[i] = s end json.encode(t)",
            "bytes",
        ),
        ("json.decode()", "argument 1 must be a string"),
        ("json.array({a = 1})", "no array"),
    ] {
        let error = scripts.error(source);
        assert!(error.contains(why) && error.contains("test.lua:1:"), "{source}: {error}");
    }
}

#[test]
fn hashes_are_those_of_the_standards() {
    let mut scripts = Scripts::new();
    assert_eq!(
        scripts.value("return hash.sha256('abc')"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()
    );
    // RFC 4231, case 2.
    assert_eq!(
        scripts.value("return hash.hmac_sha256('Jefe', 'what do ya want for nothing?')"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843".into()
    );
    assert_eq!(scripts.value("return #hash.sha512('', 'bytes') + #hash.sha384('')"), 160i64.into());
    assert_eq!(
        scripts.value("return hash.equal('a', 'a') and not hash.equal('a', 'b')"),
        true.into()
    );
}

#[test]
fn time_is_that_of_the_loop() {
    let mut scripts = Scripts::new();
    let source = "local t, u = time.now(), time.running() sleep(10) \
        return time.now() - t >= 10 and time.running() - u >= 10";
    assert_eq!(scripts.value(source), true.into());
}

#[test]
fn base64_is_refused_when_it_is_wrong_or_long() {
    let mut scripts = Scripts::new();
    assert!(scripts.error("base64.decode('a')").contains("no base64"));
    assert!(scripts.error("base64.encode(('x'):rep(1000000))").contains("longer"));
    assert_eq!(scripts.value("return base64.encode_url('\\255\\254')"), "__4".into());
    assert_eq!(scripts.value("return base64.decode_url('__4')"), Value::from(vec![255, 254]));
}

#[test]
fn the_shared_table_outlives_engines_and_copies() {
    let mut h = Harness::new();
    let shared = SharedTable::default();
    let mut results = Vec::new();
    for source in [
        "shared.list = {1, 2} local t = shared.list t[1] = 9 return shared.list[1]",
        "return shared.list[2]",
        "shared.add('n') shared.add('n', 4) return shared.n",
        "shared.list = nil return #shared.keys()",
    ] {
        let engine = Engine::new(&h.handle(), super::MEMORY).expect("an interpreter");
        engine.add(shared.library()).expect("the library is added");
        let mut scripts = Scripts { h, engine };
        results.push(scripts.run(source).result.expect("it returns"));
        h = scripts.h;
    }
    let expected: Vec<Vec<Value>> = [1i64, 2, 5, 1].into_iter().map(|n| vec![n.into()]).collect();
    assert_eq!(results, expected);
}

#[test]
fn the_shared_table_is_bounded() {
    let shared = SharedTable::default();
    let long = Value::from(vec![b'x'; 1 << 20]);
    let mut held = 0;
    let error = loop {
        match shared.set(&format!("{held}").into(), long.clone()) {
            Ok(()) => held += 1,
            Err(error) => break error,
        }
    };
    assert!(error.contains(&SHARED_BYTES.to_string()), "{error}");
    // What is taken away makes room, and what is replaced counts once.
    for n in 0..held {
        shared.set(&format!("{n}").into(), long.clone()).expect("it takes no more room");
    }
    shared.set(&"0".into(), Value::Nil).expect("it is taken away");
    shared.set(&"new".into(), long).expect("there is room");
}

/// Any JSON value.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e12f64..1e12).prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map(".*", inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_what_the_reference_reads_and_writes(value in any_json()) {
        let text = serde_json::to_vec(&value).expect("it can be written");
        let ours = json::decode(&text).expect("it can be read");
        let written = json::encode_compact(&ours).expect("it can be written again");
        let read: serde_json::Value = serde_json::from_slice(&written).expect("it is JSON");
        prop_assert_eq!(read, value);
    }

    #[test]
    fn any_bytes_are_json_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let ours = json::decode(&bytes).is_ok();
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn base64_goes_there_and_back() {
    let mut scripts = Scripts::new();
    let source = r"
        for i = 1, 300 do
            local bytes = {}
            for j = 1, i % 50 do bytes[j] = string.char(math.random(0, 255)) end
            local text = table.concat(bytes)
            assert(base64.decode(base64.encode(text)) == text)
            assert(base64.decode_url(base64.encode_url(text)) == text)
        end
        -- RFC 4648, section 10.
        return base64.encode('') .. base64.encode('f') .. base64.encode('fo') .. base64.encode('foobar')
    ";
    assert_eq!(scripts.value(source), "Zg==Zm8=Zm9vYmFy".into());
}
