//! `json`: RFC 8259.
//!
//! The one design choice: what is decoded can be encoded again. Arrays are marked, so that an empty
//! one stays an array; null is a value of its own; integers stay integers where they fit.

use std::fmt;

use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::{Library, text};
use crate::limits::{TEXT_BYTES, VALUE_BYTES, VALUE_DEPTH, VALUE_PARTS};
use crate::value::Value;

pub(super) fn library() -> Library {
    Library::new("json")
        .function("encode", |args| {
            let value = args.first().unwrap_or(&Value::Nil);
            Ok(vec![Value::from(encode(value, CompactFormatter)?)])
        })
        .function("pretty", |args| {
            let value = args.first().unwrap_or(&Value::Nil);
            Ok(vec![Value::from(encode(value, PrettyFormatter::new())?)])
        })
        .function("decode", |args| Ok(vec![decode(text(args, 0)?)?]))
        // Handed over and back, a list is marked as one.
        .function("array", |args| match args.first() {
            Some(list @ Value::List(_)) => Ok(vec![list.clone()]),
            None | Some(Value::Nil) => Ok(vec![Value::List(Vec::new())]),
            Some(Value::Map(map)) if map.is_empty() => Ok(vec![Value::List(Vec::new())]),
            Some(other) => Err(format!("{} is no array: its keys are not 1 to n", other.kind())),
        })
        .value("null", Value::Null)
}

/// Writes a value.
pub(crate) fn encode(value: &Value, formatter: impl Formatter) -> Result<Vec<u8>, String> {
    let mut writer = Writer { out: Vec::new(), formatter };
    writer.write(value, VALUE_DEPTH)?;
    writer.check()?;
    Ok(writer.out)
}

struct Writer<F> {
    out: Vec<u8>,
    formatter: F,
}

/// A vector takes everything that is written.
const WRITTEN: &str = "a vector takes what is written";

impl<F: Formatter> Writer<F> {
    fn check(&self) -> Result<(), String> {
        if self.out.len() > TEXT_BYTES {
            return Err(format!("the JSON is longer than {TEXT_BYTES} bytes"));
        }
        Ok(())
    }

    fn write(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        self.check()?;
        let depth = depth.checked_sub(1).ok_or("the value is nested too deeply")?;
        let Self { out, formatter } = self;
        match value {
            Value::Nil | Value::Null => formatter.write_null(out).expect(WRITTEN),
            Value::Boolean(b) => formatter.write_bool(out, *b).expect(WRITTEN),
            Value::Integer(n) => formatter.write_i64(out, *n).expect(WRITTEN),
            Value::Number(n) if n.is_finite() => formatter.write_f64(out, *n).expect(WRITTEN),
            Value::Number(n) => return Err(format!("{n} cannot be written as JSON")),
            Value::Text(text) => self.write_text(text)?,
            Value::List(list) => {
                formatter.begin_array(out).expect(WRITTEN);
                for (at, value) in list.iter().enumerate() {
                    self.formatter.begin_array_value(&mut self.out, at == 0).expect(WRITTEN);
                    self.write(value, depth)?;
                    self.formatter.end_array_value(&mut self.out).expect(WRITTEN);
                }
                self.formatter.end_array(&mut self.out).expect(WRITTEN);
            }
            Value::Map(map) => {
                formatter.begin_object(out).expect(WRITTEN);
                for (at, (key, value)) in map.iter().enumerate() {
                    self.formatter.begin_object_key(&mut self.out, at == 0).expect(WRITTEN);
                    match key {
                        Value::Text(key) => self.write_text(key)?,
                        Value::Integer(n) => self.write_text(n.to_string().as_bytes())?,
                        other => {
                            return Err(format!("a {} cannot be a key in JSON", other.kind()));
                        }
                    }
                    self.formatter.end_object_key(&mut self.out).expect(WRITTEN);
                    self.formatter.begin_object_value(&mut self.out).expect(WRITTEN);
                    self.write(value, depth)?;
                    self.formatter.end_object_value(&mut self.out).expect(WRITTEN);
                }
                self.formatter.end_object(&mut self.out).expect(WRITTEN);
            }
            Value::Function(_) => return Err("a function cannot be written as JSON".to_owned()),
        }
        Ok(())
    }

    fn write_text(&mut self, text: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(text)
            .map_err(|_| "a string that is not UTF-8 cannot be written as JSON".to_owned())?;
        if text.len() > TEXT_BYTES {
            return Err(format!("the JSON is longer than {TEXT_BYTES} bytes"));
        }
        serde_json::to_writer(&mut self.out, text).expect(WRITTEN);
        Ok(())
    }
}

/// Reads a value; depth, parts and length have their limits.
pub(crate) fn decode(text: &[u8]) -> Result<Value, String> {
    if text.len() > VALUE_BYTES {
        return Err(format!("the JSON is longer than {VALUE_BYTES} bytes"));
    }
    let mut parts = VALUE_PARTS;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let seed = Seed { parts: &mut parts, depth: VALUE_DEPTH };
    let value = serde::de::DeserializeSeed::deserialize(seed, &mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|e| format!("no JSON: {e}"))
}

/// Reads one value within what is left of the limits.
struct Seed<'a> {
    parts: &'a mut usize,
    depth: usize,
}

impl<'de> serde::de::DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let refused = |what| <D::Error as serde::de::Error>::custom(what);
        *self.parts =
            self.parts.checked_sub(1).ok_or_else(|| refused("the value has too many parts"))?;
        from.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Boolean(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Integer(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or(Value::Number(n as f64), Value::Integer))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Number(n))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let depth = deeper::<A::Error>(self.depth)?;
        let mut list = Vec::new();
        while let Some(value) = from.next_element_seed(Seed { parts: self.parts, depth })? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let depth = deeper::<A::Error>(self.depth)?;
        let mut map = Vec::new();
        while let Some(key) = from.next_key::<String>()? {
            let value = from.next_value_seed(Seed { parts: self.parts, depth })?;
            map.push((Value::from(key), value));
        }
        Ok(Value::Map(map))
    }
}

fn deeper<E: serde::de::Error>(depth: usize) -> Result<usize, E> {
    depth.checked_sub(1).ok_or_else(|| E::custom("the value is nested too deeply"))
}
