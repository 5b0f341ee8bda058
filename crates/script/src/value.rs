//! Values that cross the border between scripts and the host.
//!
//! The one design choice: they are copied, within limits, so that neither side can change what
//! the other has, and no type of the engine is seen outside of this crate.

use std::rc::Rc;

use bytes::Bytes;
use mlua::{Lua, Table};

use crate::engine::Callable;
use crate::interpreter::Interpreter;
use crate::limits::{VALUE_BYTES, VALUE_DEPTH, VALUE_PARTS};

/// A value of a script.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// `nil`.
    #[default]
    Nil,
    /// The null of JSON, which a table can hold: `json.null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// A text, which may be any bytes.
    Text(Bytes),
    /// A table with the keys 1 to n, or one that a script marked with `json.array`.
    List(Vec<Value>),
    /// Any other table.
    Map(Vec<(Value, Value)>),
    /// A function.
    Function(Callable),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, Self::Nil) | (Self::Null, Self::Null) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Value {
    /// The bytes of a text.
    pub fn as_text(&self) -> Option<&Bytes> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is a whole one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            // Exact up to 2^53.
            Self::Number(n) if n.fract() == 0.0 && n.abs() < 9e15 => Some(*n as i64),
            _ => None,
        }
    }

    /// The number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(n) => Some(*n as f64),
            Self::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// Whether it counts as true: all but `nil` and `false`.
    pub fn is_true(&self) -> bool {
        !matches!(self, Self::Nil | Self::Boolean(false))
    }

    /// What it is, as scripts call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Null => "null",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) | Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) | Self::Map(_) => "table",
            Self::Function(_) => "function",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(text: Vec<u8>) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

/// Makes the engine's value of ours.
pub(crate) fn give(lua: &Lua, lists: &Table, value: &Value) -> mlua::Result<mlua::Value> {
    Ok(match value {
        Value::Nil => mlua::Value::Nil,
        Value::Null => mlua::Value::NULL,
        Value::Boolean(b) => mlua::Value::Boolean(*b),
        Value::Integer(n) => mlua::Value::Integer(*n),
        Value::Number(n) => mlua::Value::Number(*n),
        Value::Text(text) => mlua::Value::String(lua.create_string(text)?),
        Value::List(list) => {
            let table = lua.create_table_with_capacity(list.len(), 0)?;
            for (at, value) in list.iter().enumerate() {
                table.raw_set(at + 1, give(lua, lists, value)?)?;
            }
            table.set_metatable(Some(lists.clone()))?;
            mlua::Value::Table(table)
        }
        Value::Map(map) => {
            let table = lua.create_table_with_capacity(0, map.len())?;
            for (key, value) in map {
                table.raw_set(give(lua, lists, key)?, give(lua, lists, value)?)?;
            }
            mlua::Value::Table(table)
        }
        Value::Function(callable) => mlua::Value::Function(callable.function.clone()),
    })
}

/// What may still be taken of one value.
struct Room {
    parts: usize,
    bytes: usize,
}

/// Makes our value of the engine's, or says why it cannot be taken.
pub(crate) fn take(of: &Rc<Interpreter>, value: &mlua::Value) -> Result<Value, String> {
    let mut room = Room { parts: VALUE_PARTS, bytes: VALUE_BYTES };
    take_within(of, value, VALUE_DEPTH, &mut room)
}

fn take_within(
    of: &Rc<Interpreter>,
    value: &mlua::Value,
    depth: usize,
    room: &mut Room,
) -> Result<Value, String> {
    room.parts = room
        .parts
        .checked_sub(1)
        .ok_or_else(|| format!("the value has more than {VALUE_PARTS} parts"))?;
    Ok(match value {
        mlua::Value::Nil => Value::Nil,
        mlua::Value::Boolean(b) => Value::Boolean(*b),
        mlua::Value::Integer(n) => Value::Integer(*n),
        mlua::Value::Number(n) => Value::Number(*n),
        mlua::Value::String(text) => {
            let text = text.as_bytes();
            room.bytes = room
                .bytes
                .checked_sub(text.len())
                .ok_or_else(|| format!("the value has more than {VALUE_BYTES} bytes of text"))?;
            Value::Text(Bytes::copy_from_slice(&text))
        }
        mlua::Value::Table(table) => {
            let depth = depth.checked_sub(1).ok_or_else(|| {
                format!("the value is nested deeper than {VALUE_DEPTH}, or contains itself")
            })?;
            take_table(of, table, depth, room)?
        }
        mlua::Value::Function(function) => {
            Value::Function(Callable { interpreter: of.clone(), function: function.clone() })
        }
        value if value.is_null() => Value::Null,
        other => return Err(format!("a {} cannot be handed over", other.type_name())),
    })
}

fn take_table(
    of: &Rc<Interpreter>,
    table: &Table,
    depth: usize,
    room: &mut Room,
) -> Result<Value, String> {
    let len = table.raw_len();
    let mut pairs = Vec::new();
    let mut is_list = len > 0 || table.metatable().as_ref() == Some(&of.lists);
    for pair in table.pairs::<mlua::Value, mlua::Value>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        is_list = is_list && key.as_integer().is_some_and(|n| n >= 1 && n as usize <= len);
        if !matches!(
            key,
            mlua::Value::String(_)
                | mlua::Value::Integer(_)
                | mlua::Value::Number(_)
                | mlua::Value::Boolean(_)
        ) {
            return Err(format!("a {} cannot be a key here", key.type_name()));
        }
        let key = take_within(of, &key, depth, room)?;
        pairs.push((key, take_within(of, &value, depth, room)?));
    }
    if !is_list || pairs.len() != len {
        return Ok(Value::Map(pairs));
    }
    // The engine may keep some of a list's entries where they have no order.
    pairs.sort_by_key(|(key, _)| key.as_integer());
    Ok(Value::List(pairs.into_iter().map(|(_, value)| value).collect()))
}
