//! Java's properties format, as `java.util.Properties.load` reads it.
//!
//! Flow       bytes -> text -> logical lines (comments dropped, continuations joined) -> key and value, unescaped.
//! Invariant  never fails but for a malformed `\u` escape; what Java accepts gives Java's keys and values.
//! Absent     Java's one encoding. Java takes every byte for Latin-1; we take UTF-8 for what it is and fall back to
//!            Latin-1, since a path typed today is UTF-8. A byte order mark is dropped.

use std::borrow::Cow;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// One `key=value` of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped, with the white space at its end.
    pub value: String,
    /// The line on which it begins, from 1.
    pub line: u32,
}

/// A `\u` that four hexadecimal digits do not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("found a \\u escape without four hexadecimal digits; allowed: \\u0041, or \\\\ for a backslash")
    }
}

impl std::error::Error for ParseError {}

/// Every property of a file, in its order, duplicates included: the last one counts.
///
/// # Errors
/// On a malformed `\u` escape, the format's one error.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, ParseError> {
    let text = decode(bytes);
    let mut properties = Vec::new();
    let mut lines = NaturalLines { rest: text.trim_start_matches('\u{feff}'), number: 0 };
    while let Some((line, start)) = lines.next() {
        let start = start.trim_start_matches(is_space);
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        let logical = join_continuations(start, &mut lines);
        properties.push(split(&logical, line)?);
    }
    Ok(properties)
}

fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// White space within a line, in the format's sense.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Lines ended by `\n`, `\r` or `\r\n`, with their numbers from 1.
struct NaturalLines<'a> {
    rest: &'a str,
    number: u32,
}

impl<'a> Iterator for NaturalLines<'a> {
    type Item = (u32, &'a str);

    fn next(&mut self) -> Option<(u32, &'a str)> {
        if self.rest.is_empty() {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
        let (line, ending) = self.rest.split_at(end);
        let ending_bytes = if ending.starts_with("\r\n") { 2 } else { usize::from(!ending.is_empty()) };
        self.rest = &ending[ending_bytes..];
        Some((self.number, line))
    }
}

/// A line that ends in an odd number of backslashes goes on in the next one, whose leading white space does not count.
/// What looks like a comment there is none. A backslash at the end of the file counts for nothing.
fn join_continuations<'a>(start: &'a str, lines: &mut NaturalLines<'a>) -> Cow<'a, str> {
    let mut logical = Cow::Borrowed(start);
    let mut piece = start;
    // Only the newest piece is counted: what is left before it ends in an even number of backslashes, if in any.
    while piece.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1 {
        let joined = logical.to_mut();
        joined.pop();
        match lines.next() {
            Some((_, next)) => {
                piece = next.trim_start_matches(is_space);
                joined.push_str(piece);
            }
            None => break,
        }
    }
    logical
}

/// The key ends at the first `=`, `:` or white space that no backslash precedes; one `=` or `:` with white space around
/// it belongs to neither side.
fn split(logical: &str, line: u32) -> Result<Property, ParseError> {
    let mut escaped = false;
    let end = logical.find(|c: char| {
        let ends = !escaped && (is_space(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = logical.split_at(end.unwrap_or(logical.len()));
    let rest = rest.trim_start_matches(is_space);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_space);
    Ok(Property { key: unescape(key, line)?, value: unescape(value, line)?, line })
}

fn unescape(text: &str, line: u32) -> Result<String, ParseError> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => plain.push(unicode(&mut chars).ok_or(ParseError { line })?),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

/// The character of a `\u` escape, or of two that are a surrogate pair; half a pair becomes U+FFFD.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    let unit = code_unit(chars)?;
    if !(0xd800..0xdc00).contains(&unit) {
        return Some(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    let mut ahead = chars.clone();
    if ahead.next() == Some('\\') && ahead.next() == Some('u') {
        let low = code_unit(&mut ahead)?;
        if let Some(Ok(pair)) = char::decode_utf16([unit, low]).next() {
            *chars = ahead;
            return Some(pair);
        }
    }
    Some(char::REPLACEMENT_CHARACTER)
}

fn code_unit(chars: &mut Peekable<Chars<'_>>) -> Option<u16> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = chars.next_if(|c| c.is_ascii_hexdigit())?.to_digit(16)?;
        unit = unit * 16 + digit;
    }
    Some(u16::try_from(unit).expect("four hexadecimal digits fit 16 bits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text.as_bytes()).unwrap().into_iter().map(|property| (property.key, property.value)).collect()
    }

    fn pair(text: &str) -> (String, String) {
        let all = pairs(text);
        assert_eq!(all.len(), 1, "{text:?} gave {all:?}");
        all.into_iter().next().unwrap()
    }

    fn owned(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn every_separator_splits() {
        for text in ["Truth=Beauty", " Truth:Beauty", "Truth\t\t\t:Beauty", "Truth Beauty", "Truth = Beauty"] {
            assert_eq!(pair(text), owned("Truth", "Beauty"), "{text:?}");
        }
        assert_eq!(pair("a==b"), owned("a", "=b"));
        assert_eq!(pair("a = : b"), owned("a", ": b"));
        assert_eq!(pair("cheeses"), owned("cheeses", ""));
        assert_eq!(pair("=x"), owned("", "x"));
        assert_eq!(pair("server.1=h:1:2;3"), owned("server.1", "h:1:2;3"));
    }

    #[test]
    fn continuations_join_without_the_indent() {
        assert_eq!(
            pair("fruits  apple, banana, \\\n   pear, \\\r\n\tcherry"),
            owned("fruits", "apple, banana, pear, cherry")
        );
        assert_eq!(pair("a=b\\\n# no comment"), owned("a", "b# no comment"));
        assert_eq!(pairs("a=b\\\\\nc=d"), [owned("a", "b\\"), owned("c", "d")]);
        assert_eq!(pair("a=b\\"), owned("a", "b"));
        assert_eq!(pairs("a=b\\\n\nc=d"), [owned("a", "b"), owned("c", "d")], "an empty line ends a continuation");
    }

    /// Every continuation counted all backslashes before it again, so a file within the limit took minutes.
    #[test]
    fn continued_backslashes_take_time_in_proportion() {
        let count = 250_000;
        let text = format!("a={}\n{}b", "\\".repeat(2 * count + 1), "\\\n".repeat(count));
        let (key, value) = pair(&text);
        assert_eq!((key.as_str(), value.len()), ("a", count + 1));
        assert!(value.ends_with("\\b"));
    }

    #[test]
    fn comments_and_blank_lines_are_dropped() {
        assert_eq!(pairs("# a=b\n  ! c=d \\\n\n \t \ne=f # kept"), [owned("e", "f # kept")]);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(pair(r"a\ b\=c\:d=\t\n\\\q\u0041"), owned("a b=c:d", "\t\n\\qA"));
        assert_eq!(pair(r"a=\ud83d\ude00\ud83d!"), owned("a", "\u{1f600}\u{fffd}!"));
        assert_eq!(parse(b"x=1\na=\\u12g4"), Err(ParseError { line: 2 }));
        assert_eq!(parse(b"a=\\u12"), Err(ParseError { line: 1 }));
    }

    #[test]
    fn lines_are_counted_through_continuations_and_every_line_end() {
        let lines: Vec<u32> = parse(b"a=1\\\n2\r\nb=2\rc=3\n\nd=4").unwrap().iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 3, 4, 6]);
    }

    #[test]
    fn utf8_is_read_as_such_and_other_bytes_as_latin_1() {
        assert_eq!(pair("\u{feff}dir=/dätä"), owned("dir", "/dätä"));
        assert_eq!(parse(b"dir=/d\xe4t\xe4").unwrap()[0].value, "/dätä");
    }

    /// As `Properties.store` writes it.
    fn escape(text: &str) -> String {
        let escaped = text.chars().map(|c| match c {
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            ' ' | '=' | ':' | '#' | '!' | '\\' => format!("\\{c}"),
            c if c.is_ascii() => c.to_string(),
            c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        });
        escaped.collect()
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_read_back(entries in prop::collection::vec((".+", ".*"), 0..8)) {
            let text: String = entries.iter().map(|(key, value)| format!("{}={}\n", escape(key), escape(value))).collect();
            // Without a key's first character being a byte order mark, which is dropped at the start of a file.
            prop_assume!(!text.starts_with('\u{feff}'));
            prop_assert_eq!(pairs(&text), entries);
        }
    }
}
