//! One value's text against its key's type and bounds.
//!
//! Whole numbers are read as the Java call behind the key reads them: `Integer.parseInt` for keys that ZooKeeper knows
//! by name, `Integer.getInteger` for system properties, which also takes 0x10, #10 and 010. Unlike there, a number that
//! cannot be read is an error and not silently the default.

use super::keys::{Key, Kind, Scope};

/// A value of its key's type, in bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Of a whole number; of `IntOrAuto` unless it was `auto`.
    Int(i64),
    /// Of a number with a fraction.
    Decimal(f64),
    /// Of a truth value.
    Bool(bool),
    /// Of everything else, and of `auto`.
    Text(Box<str>),
    /// Below the floor of its kind: what was found and what is used.
    Raised {
        /// As it was written.
        found: i64,
        /// The floor.
        used: i64,
    },
}

/// Reads `text` as a value of `key`. The error says what is allowed.
pub(super) fn parse(key: &Key, text: &str) -> Result<Value, String> {
    let parsed = match key.kind {
        Kind::Int { min, max, .. } => whole(key, text).filter(|n| (min..=max).contains(n)).map(Value::Int),
        Kind::Raised { floor, max, .. } => whole(key, text).filter(|n| *n <= max).map(|found| match found < floor {
            true => Value::Raised { found, used: floor },
            false => Value::Int(found),
        }),
        Kind::IntOrAuto { max, .. } if text != "auto" => {
            whole(key, text).filter(|n| (0..=max).contains(n)).map(Value::Int)
        }
        Kind::Decimal { min, max } => {
            text.parse().ok().filter(|n: &f64| n.is_finite() && (min..=max).contains(n)).map(Value::Decimal)
        }
        Kind::Bool => truth(text).map(Value::Bool),
        Kind::Word(words, any_case) => word(text, words, any_case),
        Kind::Layout => text.parse::<tuning::Layout>().ok().map(|_| Value::Text(text.into())),
        Kind::Path => (!text.is_empty()).then(|| Value::Text(text.into())),
        Kind::IntOrAuto { .. } | Kind::Text | Kind::Secret => Some(Value::Text(text.into())),
    };
    parsed.ok_or_else(|| allowed(key.kind))
}

fn whole(key: &Key, text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let by_name = matches!(key.scope, Scope::File | Scope::Own);
    let (radix, digits) = if by_name { (10, digits) } else { radix(digits) };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None; // A second sign would pass below.
    }
    let magnitude = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// The prefixes of Java's `Integer.decode`.
fn radix(digits: &str) -> (u32, &str) {
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")).or_else(|| digits.strip_prefix('#'));
    match (hex, digits.strip_prefix('0')) {
        (Some(digits), _) => (16, digits),
        (None, Some(octal)) if !octal.is_empty() => (8, octal),
        _ => (10, digits),
    }
}

fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

fn word(text: &str, words: &[&str], any_case: bool) -> Option<Value> {
    let found = words.iter().find(|word| **word == text || (any_case && word.eq_ignore_ascii_case(text)))?;
    Some(Value::Text((*found).into()))
}

/// What a kind allows, for people.
fn allowed(kind: Kind) -> String {
    let in_unit = |unit: &str| if unit.is_empty() { String::new() } else { format!(" ({unit})") };
    match kind {
        Kind::Int { min, max, unit } if min == max => format!("{min}{}", in_unit(unit)),
        Kind::Int { min, max, unit } => format!("a whole number from {min} to {max}{}", in_unit(unit)),
        Kind::Raised { floor, max, unit } => format!("a whole number from {floor} to {max}{}", in_unit(unit)),
        Kind::IntOrAuto { max, unit } => format!("auto, or a whole number from 0 to {max}{}", in_unit(unit)),
        Kind::Decimal { min, max } if min == f64::MIN && max == f64::MAX => "a number".to_owned(),
        Kind::Decimal { min, max } => format!("a number from {min} to {max}"),
        Kind::Bool => "true or false".to_owned(),
        Kind::Word(words, _) => {
            let shown: Vec<&str> = words.iter().map(|word| if word.is_empty() { "nothing" } else { word }).collect();
            shown.join(", ")
        }
        Kind::Layout => tuning::LayoutParseError.to_string(),
        Kind::Path => "a path".to_owned(),
        Kind::Text | Kind::Secret => "any text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_default_is_allowed_and_used_as_it_stands() {
        for key in keys::all() {
            if let Some(default) = key.default {
                let value = parse(key, default);
                assert!(
                    matches!(value, Ok(ref value) if !matches!(value, Value::Raised { .. })),
                    "{}: {value:?}",
                    key.name
                );
            }
        }
    }

    /// Every whole number in the table: both bounds pass, one beyond either does not.
    #[test]
    fn every_bound_holds() {
        let mut checked = 0;
        for key in keys::all() {
            let at = |n: i128| parse(key, &n.to_string());
            match key.kind {
                Kind::Int { min, max, .. } => {
                    assert_eq!(at(max.into()), Ok(Value::Int(max)), "{}", key.name);
                    assert!(at(i128::from(max) + 1).is_err(), "{}", key.name);
                    // The magnitude of i64::MIN is no i64; nobody writes it.
                    if min > i64::MIN {
                        assert_eq!(at(min.into()), Ok(Value::Int(min)), "{}", key.name);
                        assert!(at(i128::from(min) - 1).is_err(), "{}", key.name);
                    }
                }
                Kind::Raised { floor, max, .. } => {
                    assert_eq!(at(floor.into()), Ok(Value::Int(floor)), "{}", key.name);
                    let below = Value::Raised { found: floor - 1, used: floor };
                    assert_eq!(at(i128::from(floor) - 1), Ok(below), "{}", key.name);
                    assert!(at(i128::from(max) + 1).is_err(), "{}", key.name);
                }
                Kind::IntOrAuto { max, .. } => {
                    assert_eq!(at(max.into()), Ok(Value::Int(max)), "{}", key.name);
                    assert!(at(i128::from(max) + 1).is_err() && at(-1).is_err(), "{}", key.name);
                    assert_eq!(parse(key, "auto"), Ok(Value::Text("auto".into())));
                }
                Kind::Decimal { min, max } => {
                    assert_eq!(parse(key, &min.to_string()), Ok(Value::Decimal(min)), "{}", key.name);
                    assert_eq!(parse(key, &max.to_string()), Ok(Value::Decimal(max)), "{}", key.name);
                    for beyond in ["-1.5e308", "1.5", "NaN", "inf"] {
                        assert!(parse(key, beyond).is_err() || max == f64::MAX, "{} {beyond}", key.name);
                    }
                }
                Kind::Bool => {
                    assert_eq!(parse(key, "TRUE"), Ok(Value::Bool(true)), "{}", key.name);
                    assert_eq!(parse(key, "False"), Ok(Value::Bool(false)), "{}", key.name);
                    for other in ["", "yes", "1", "on"] {
                        assert_eq!(parse(key, other), Err("true or false".to_owned()), "{} {other}", key.name);
                    }
                }
                Kind::Word(words, any_case) => {
                    for word in words {
                        assert_eq!(parse(key, word), Ok(Value::Text((*word).into())), "{}", key.name);
                        let changed = word.to_ascii_uppercase();
                        assert!(parse(key, &changed).is_ok() == any_case || changed == *word, "{}", key.name);
                    }
                    assert!(parse(key, "no such word").is_err(), "{}", key.name);
                }
                Kind::Layout => assert!(parse(key, "both").is_err()),
                Kind::Path => assert!(parse(key, "").is_err(), "{}", key.name),
                Kind::Text | Kind::Secret => assert!(parse(key, "").is_ok(), "{}", key.name),
            }
            if matches!(
                key.kind,
                Kind::Int { .. } | Kind::Raised { .. } | Kind::IntOrAuto { .. } | Kind::Decimal { .. }
            ) {
                for nonsense in ["", "-", "--1", "+-1", "1k", "0x", "#", "1 000", "1_000", "99999999999999999999"] {
                    assert!(
                        parse(key, nonsense).is_err() || key.kind == keys::find("snapshotSizeFactor").unwrap().kind
                    );
                }
            }
            checked += 1;
        }
        assert!(checked > 200, "the table has lost entries: {checked}");
    }

    #[test]
    fn system_properties_take_java_s_prefixes_and_named_keys_do_not() {
        let property = keys::find("jute.maxbuffer").unwrap();
        for text in ["4194304", "+4194304", "0x400000", "0X400000", "#400000", "020000000"] {
            assert_eq!(parse(property, text), Ok(Value::Int(4_194_304)), "{text}");
        }
        let named = keys::find("tickTime").unwrap();
        assert_eq!(parse(named, "010"), Ok(Value::Int(10)));
        assert!(parse(named, "0x10").is_err());
        assert_eq!(parse(keys::find("throttled_op_wait_time").unwrap(), "0"), Ok(Value::Int(0)));
    }
}
