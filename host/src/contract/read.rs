//! From the contract's form to that of the bindings.

use chrono::DateTime;
use serde_json::{Map, Number, Value};
use wit_parser::{Type, TypeDefKind, TypeId};

use super::{ATTRS, Contract, INSTANT, Misfit, PACKED, camel, snake};

impl Contract {
    pub(super) fn read(&self, ty: &Type, value: &Value, at: &mut Pointer) -> Result<Value, Misfit> {
        match ty {
            Type::Id(id) => self.read_defined(*id, value, at),
            Type::String => match value {
                Value::String(_) => Ok(value.clone()),
                _ => Err(at.misfit("a string", value)),
            },
            Type::Bool => match value {
                Value::Bool(_) => Ok(value.clone()),
                _ => Err(at.misfit("true or false", value)),
            },
            Type::S32 | Type::S64 => match value.as_i64() {
                Some(number) if matches!(ty, Type::S64) || i32::try_from(number).is_ok() => {
                    Ok(value.clone())
                }
                _ => Err(at.misfit("a whole number", value)),
            },
            Type::U32 | Type::U64 => match value.as_u64() {
                Some(number) if matches!(ty, Type::U64) || u32::try_from(number).is_ok() => {
                    Ok(value.clone())
                }
                _ => Err(at.misfit("a whole number, 0 or more", value)),
            },
            _ => Ok(value.clone()),
        }
    }

    fn read_defined(&self, id: TypeId, value: &Value, at: &mut Pointer) -> Result<Value, Misfit> {
        let (kind, special) = self.behind(id);
        match special {
            Some(PACKED) => return read_packed(value, at),
            Some(INSTANT) => return read_instant(value, at),
            Some(ATTRS) => return read_attrs(value, at),
            _ => {}
        }
        match kind {
            TypeDefKind::Type(ty) => self.read(ty, value, at),
            TypeDefKind::Option(_) if value.is_null() => Ok(Value::Null),
            TypeDefKind::Option(ty) => self.read(ty, value, at),
            TypeDefKind::List(ty) => {
                let Value::Array(items) = value else {
                    return Err(at.misfit("a list", value));
                };
                let read = |(n, item): (usize, &Value)| {
                    at.under(&n.to_string(), |at| self.read(ty, item, at))
                };
                items.iter().enumerate().map(read).collect()
            }
            TypeDefKind::Tuple(tuple) => {
                let Some(items) = value
                    .as_array()
                    .filter(|items| items.len() == tuple.types.len())
                else {
                    return Err(at.misfit(&format!("a list of {}", tuple.types.len()), value));
                };
                let read = |(n, (ty, item)): (usize, (&Type, &Value))| {
                    at.under(&n.to_string(), |at| self.read(ty, item, at))
                };
                tuple
                    .types
                    .iter()
                    .zip(items)
                    .enumerate()
                    .map(read)
                    .collect()
            }
            TypeDefKind::Record(record) => {
                let Value::Object(given) = value else {
                    return Err(at.misfit("an object", value));
                };
                let names = || record.fields.iter().map(|field| field.name.as_str());
                if let Some(other) = given.keys().find(|key| !names().any(|name| name == *key)) {
                    let known = names().collect::<Vec<_>>().join(", ");
                    return at.under(other, |at| {
                        Err(at.problem(format!("there is no such field; there are {known}")))
                    });
                }
                let mut read = Map::new();
                for field in &record.fields {
                    let field_value = match given.get(&field.name) {
                        Some(value) => {
                            at.under(&field.name, |at| self.read(&field.ty, value, at))?
                        }
                        None => at.under(&field.name, |at| self.empty(&field.ty, at))?,
                    };
                    read.insert(snake(&field.name), field_value);
                }
                Ok(Value::Object(read))
            }
            TypeDefKind::Enum(cases) => {
                let known = || cases.cases.iter().map(|case| case.name.as_str());
                match value.as_str() {
                    Some(name) if known().any(|known| known == name) => {
                        Ok(Value::String(camel(name)))
                    }
                    _ => Err(at.misfit(&one_of(known()), value)),
                }
            }
            TypeDefKind::Variant(cases) => {
                let known = || cases.cases.iter().map(|case| case.name.as_str());
                let (name, payload) = match value {
                    Value::String(name) => (name.as_str(), None),
                    Value::Object(object) if object.len() == 1 => match object.iter().next() {
                        Some((name, payload)) => (name.as_str(), Some(payload)),
                        None => return Err(at.misfit(&one_of(known()), value)),
                    },
                    _ => return Err(at.misfit(&one_of(known()), value)),
                };
                let Some(case) = cases.cases.iter().find(|case| case.name == name) else {
                    return Err(at.misfit(&one_of(known()), value));
                };
                match (&case.ty, payload) {
                    (None, None) => Ok(Value::String(camel(name))),
                    (Some(ty), Some(payload)) => {
                        let payload = at.under(name, |at| self.read(ty, payload, at))?;
                        Ok(Value::Object(Map::from_iter([(camel(name), payload)])))
                    }
                    (None, Some(_)) => {
                        Err(at.problem(format!("`{name}` stands alone, as a string")))
                    }
                    (Some(_), None) => {
                        Err(at
                            .problem(format!("`{name}` says more: it is an object with that key")))
                    }
                }
            }
            _ => Ok(value.clone()),
        }
    }

    /// What stands for a field that was left out.
    fn empty(&self, ty: &Type, at: &mut Pointer) -> Result<Value, Misfit> {
        let Type::Id(id) = ty else {
            return Ok(match ty {
                Type::String => Value::String(String::new()),
                Type::Bool => Value::Bool(false),
                _ => Value::Number(Number::from(0)),
            });
        };
        match (self.behind(*id), ()) {
            ((_, Some(PACKED)), ()) => Ok(Value::String(String::new())),
            ((TypeDefKind::Type(ty), _), ()) => self.empty(ty, at),
            ((TypeDefKind::Option(_), _), ()) => Ok(Value::Null),
            ((TypeDefKind::List(_), _), ()) => Ok(Value::Array(vec![])),
            ((TypeDefKind::Record(record), _), ()) => {
                let mut empty = Map::new();
                for field in &record.fields {
                    let value = at.under(&field.name, |at| self.empty(&field.ty, at))?;
                    empty.insert(snake(&field.name), value);
                }
                Ok(Value::Object(empty))
            }
            ((TypeDefKind::Enum(cases), _), ()) => Err(at.problem(format!(
                "it is missing; it is {}",
                one_of(cases.cases.iter().map(|case| case.name.as_str()))
            ))),
            _ => Err(at.problem("it is missing".to_owned())),
        }
    }
}

fn read_packed(value: &Value, at: &mut Pointer) -> Result<Value, Misfit> {
    let Value::Array(items) = value else {
        return Err(at.misfit("a list of strings", value));
    };
    let mut packed = String::new();
    for (n, item) in items.iter().enumerate() {
        match item.as_str() {
            Some(text) if !text.contains('\0') => {
                packed.push_str(text);
                packed.push('\0');
            }
            _ => {
                return at.under(&n.to_string(), |at| {
                    Err(at.misfit("a string without NUL", item))
                });
            }
        }
    }
    Ok(Value::String(packed))
}

fn read_instant(value: &Value, at: &mut Pointer) -> Result<Value, Misfit> {
    if value.is_u64() {
        return Ok(value.clone());
    }
    let instant = value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .and_then(|time| u64::try_from(time.timestamp_millis()).ok());
    match instant {
        Some(millis) => Ok(Value::Number(millis.into())),
        None => Err(at.misfit(
            "a time like `2026-11-22T08:00:00Z`, or milliseconds since 1970",
            value,
        )),
    }
}

fn read_attrs(value: &Value, at: &mut Pointer) -> Result<Value, Misfit> {
    let Value::Object(attrs) = value else {
        return Err(at.misfit("an object of strings", value));
    };
    // Sorted, as the contract has them.
    let mut pairs: Vec<(&String, &Value)> = attrs.iter().collect();
    pairs.sort_unstable_by_key(|(key, _)| *key);
    pairs
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(_) => Ok(Value::Array(vec![
                Value::String(key.clone()),
                value.clone(),
            ])),
            _ => at.under(key, |at| Err(at.misfit("a string", value))),
        })
        .collect()
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// Where in a value the reading is.
#[derive(Default)]
pub(super) struct Pointer(String);

impl Pointer {
    fn under<A>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> A) -> A {
        let before = self.0.len();
        self.0.push('/');
        self.0.push_str(&key.replace('~', "~0").replace('/', "~1"));
        let read = read(self);
        self.0.truncate(before);
        read
    }

    fn problem(&self, problem: String) -> Misfit {
        Misfit {
            at: self.0.clone(),
            problem,
        }
    }

    fn misfit(&self, wanted: &str, found: &Value) -> Misfit {
        let found = match found {
            Value::Null => "null".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            other => {
                let mut text = other.to_string();
                text.truncate(text.floor_char_boundary(80));
                text
            }
        };
        self.problem(format!("{found} is not {wanted}"))
    }
}
