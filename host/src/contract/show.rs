//! From the form of the bindings to the contract's.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use wit_parser::{Type, TypeDefKind};

use super::{ATTRS, Contract, INSTANT, PACKED, camel, snake};

impl Contract {
    pub(super) fn show(&self, ty: &Type, value: &Value) -> Value {
        let Type::Id(id) = ty else {
            return value.clone();
        };
        let (kind, special) = self.behind(*id);
        match (special, value) {
            (Some(PACKED), Value::String(packed)) => return show_packed(packed),
            (Some(INSTANT), _) => return show_instant(value),
            (Some(ATTRS), Value::Array(pairs)) => return show_attrs(pairs),
            _ => {}
        }
        match (kind, value) {
            (_, Value::Null) => Value::Null,
            (TypeDefKind::Type(ty) | TypeDefKind::Option(ty), _) => self.show(ty, value),
            (TypeDefKind::List(ty), Value::Array(items)) => {
                items.iter().map(|item| self.show(ty, item)).collect()
            }
            (TypeDefKind::Tuple(tuple), Value::Array(items)) => tuple
                .types
                .iter()
                .zip(items)
                .map(|(ty, item)| self.show(ty, item))
                .collect(),
            (TypeDefKind::Record(record), Value::Object(fields)) => {
                let shown = record.fields.iter().filter_map(|field| {
                    let value = fields.get(&snake(&field.name))?;
                    Some((field.name.clone(), self.show(&field.ty, value)))
                });
                Value::Object(shown.collect())
            }
            (TypeDefKind::Enum(cases), Value::String(name)) => {
                let case = cases.cases.iter().find(|case| camel(&case.name) == *name);
                case.map_or_else(|| value.clone(), |case| Value::String(case.name.clone()))
            }
            (TypeDefKind::Variant(cases), Value::String(name)) => {
                let case = cases.cases.iter().find(|case| camel(&case.name) == *name);
                case.map_or_else(|| value.clone(), |case| Value::String(case.name.clone()))
            }
            (TypeDefKind::Variant(cases), Value::Object(object)) => {
                let shown = object.iter().map(|(name, payload)| {
                    let case = cases.cases.iter().find(|case| camel(&case.name) == *name);
                    match case {
                        Some(case) => (
                            case.name.clone(),
                            case.ty
                                .as_ref()
                                .map_or_else(|| payload.clone(), |ty| self.show(ty, payload)),
                        ),
                        None => (name.clone(), payload.clone()),
                    }
                });
                Value::Object(shown.collect())
            }
            _ => value.clone(),
        }
    }
}

fn show_packed(packed: &str) -> Value {
    packed
        .split_terminator('\0')
        .map(|text| Value::String(text.to_owned()))
        .collect()
}

fn show_instant(value: &Value) -> Value {
    let time = value
        .as_u64()
        .filter(|millis| *millis > 0)
        .and_then(|millis| i64::try_from(millis).ok())
        .and_then(DateTime::<Utc>::from_timestamp_millis);
    match time {
        Some(time) => Value::String(time.to_rfc3339_opts(SecondsFormat::Millis, true)),
        None => value.clone(),
    }
}

/// As an object, or as pairs where an answer has a key twice, which an object would hide.
fn show_attrs(pairs: &[Value]) -> Value {
    let mut attrs = Map::new();
    for pair in pairs {
        let Some([Value::String(key), value]) = pair.as_array().map(Vec::as_slice) else {
            return Value::Array(pairs.to_vec());
        };
        if attrs.insert(key.clone(), value.clone()).is_some() {
            return Value::Array(pairs.to_vec());
        }
    }
    Value::Object(attrs)
}
