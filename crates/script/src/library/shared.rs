//! `shared`: a table that all scripts of all engines on the loop share, for as long as the process
//! lives.
//!
//! The one design choice: values are copied in and out, so what one script does to a table that
//! it took out changes nothing for another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use super::{Library, text};
use crate::limits::{SHARED_BYTES, SHARED_ENTRIES};
use crate::value::Value;

/// What the library looks like to scripts: fields that are read and written.
const SOURCE: &str = r#"
return function(host, setmetatable)
    local methods = { add = host.add, keys = host.keys }
    return setmetatable({}, {
        __index = function(_, name) return methods[name] or host.get(name) end,
        __newindex = function(_, name, value)
            if methods[name] then error("'" .. name .. "' is a function of shared", 2) end
            host.set(name, value)
        end,
        __metatable = false,
    })
end
"#;

/// The shared table; cheap to clone.
#[derive(Clone, Default)]
pub struct SharedTable(Rc<RefCell<Entries>>);

#[derive(Default)]
struct Entries {
    values: BTreeMap<Bytes, Value>,
    bytes: usize,
}

impl SharedTable {
    /// The library that engines which share it are given.
    pub fn library(&self) -> Library {
        let (get, set, add, keys) = (self.clone(), self.clone(), self.clone(), self.clone());
        Library::new("shared")
            .function("get", move |args| Ok(vec![get.get(text(args, 0)?)]))
            .function("set", move |args| {
                set.set(text(args, 0)?, args.get(1).cloned().unwrap_or_default())?;
                Ok(Vec::new())
            })
            .function("add", move |args| {
                let by = match args.get(1) {
                    None | Some(Value::Nil) => Value::Integer(1),
                    Some(by) => by.clone(),
                };
                Ok(vec![add.add(text(args, 0)?, &by)?])
            })
            .function("keys", move |_| {
                let entries = keys.0.borrow();
                Ok(vec![Value::List(entries.values.keys().cloned().map(Value::Text).collect())])
            })
            .made_by(SOURCE)
    }

    /// The value of this name; nil when there is none.
    pub fn get(&self, name: &[u8]) -> Value {
        self.0.borrow().values.get(name).cloned().unwrap_or_default()
    }

    /// Sets a value; nil takes it away. Functions cannot be shared.
    pub fn set(&self, name: &Bytes, value: Value) -> Result<(), String> {
        let mut entries = self.0.borrow_mut();
        let size = name.len() + size(&value)?;
        let before = entries.values.get(name).map_or(Ok(0), self::size)?;
        let is_new = !entries.values.contains_key(name);
        let bytes = entries.bytes - if is_new { 0 } else { before + name.len() };
        if value == Value::Nil {
            entries.values.remove(name);
            entries.bytes = bytes;
            return Ok(());
        }
        if bytes + size > SHARED_BYTES {
            return Err(format!("the shared table is full: it holds {SHARED_BYTES} bytes"));
        }
        if is_new && entries.values.len() >= SHARED_ENTRIES {
            return Err(format!("the shared table is full: it holds {SHARED_ENTRIES} entries"));
        }
        entries.bytes = bytes + size;
        entries.values.insert(name.clone(), value);
        Ok(())
    }

    /// Adds to a number, which begins at 0, and gives the sum.
    fn add(&self, name: &Bytes, by: &Value) -> Result<Value, String> {
        let was = match self.get(name) {
            Value::Nil => Value::Integer(0),
            was => was,
        };
        let sum = match (&was, by) {
            (Value::Integer(a), Value::Integer(b)) => Value::Integer(a.wrapping_add(*b)),
            _ => match (was.as_number(), by.as_number()) {
                (Some(a), Some(b)) => Value::Number(a + b),
                _ => return Err("only numbers can be added".to_owned()),
            },
        };
        self.set(name, sum.clone())?;
        Ok(sum)
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> Result<usize, String> {
    const EACH: usize = 32;
    Ok(EACH
        + match value {
            Value::Function(_) => return Err("a function cannot be shared".to_owned()),
            Value::Text(text) => text.len(),
            Value::List(list) => list.iter().map(size).sum::<Result<usize, _>>()?,
            Value::Map(map) => map
                .iter()
                .map(|(key, value)| Ok(size(key)? + size(value)?))
                .sum::<Result<usize, String>>()?,
            _ => 0,
        })
}
