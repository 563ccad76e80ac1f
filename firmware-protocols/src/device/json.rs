//! A JSON reader for what village devices say: no allocation, bounded depth, no panic.
//!
//! [`parse`] checks the whole text once; what it answers is then walked lazily, straight over the bytes. Strings are kept
//! as they were written and unescaped while they are read ([`Text::chars`]), so nothing has to be copied. (The crates for
//! `no_std` either fill structs whose keys must be known, and fail on what they do not expect, or need an allocator.)

use core::fmt;

use crate::Error;

/// How deep arrays and objects may be nested. Zigbee2MQTT's list of devices is about ten deep; deeper text is refused.
pub const DEPTH_MAX: usize = 32;

/// Checks that `bytes` are one JSON value (RFC 8259), and answers it.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, Error> {
    let text = core::str::from_utf8(bytes).map_err(|error| malformed(error.valid_up_to()))?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.pass_space();
    let value = scanner.value(0)?;
    scanner.pass_space();
    if scanner.at != text.len() {
        return Err(malformed(scanner.at));
    }
    Ok(value)
}

/// One JSON value, of which the text was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The value as it was written.
    pub const fn as_written(&self) -> &'a str {
        self.0
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    /// The member of an object with this name; the last one if there are several.
    pub fn get(&self, name: &str) -> Option<Self> {
        self.members().filter(|(member, _)| *member == name).last().map(|(_, value)| value)
    }

    /// The members of an object; none of anything else.
    pub fn members(&self) -> impl Iterator<Item = (Text<'a>, Value<'a>)> + use<'a> {
        let mut scanner = self.inside('{');
        core::iter::from_fn(move || {
            let scanner = scanner.as_mut()?;
            scanner.pass_comma();
            let name = scanner.string().ok()?;
            scanner.pass_space();
            scanner.expect(b':').ok()?;
            scanner.pass_space();
            Some((name, scanner.value(0).ok()?))
        })
    }

    /// The elements of an array; none of anything else.
    pub fn elements(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut scanner = self.inside('[');
        core::iter::from_fn(move || {
            let scanner = scanner.as_mut()?;
            scanner.pass_comma();
            scanner.value(0).ok()
        })
    }

    /// The string, if it is one.
    pub fn as_text(&self) -> Option<Text<'a>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(Text(inner))
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The number rounded to a whole one, if it is a number between `min` and `max`.
    pub fn as_whole(&self, min: i64, max: i64) -> Option<i64> {
        let number: f64 = match self.0.as_bytes() {
            [b'-' | b'0'..=b'9', ..] => self.0.parse().ok()?,
            _ => return None,
        };
        // `as` is exact here: out of range is refused, and halves are rounded away from zero.
        let rounded = (number + if number < 0.0 { -0.5 } else { 0.5 }) as i64;
        (min..=max).contains(&rounded).then_some(rounded)
    }

    fn inside(&self, bracket: char) -> Option<Scanner<'a>> {
        let mut scanner = self.0.starts_with(bracket).then_some(Scanner { text: self.0, at: 1 })?;
        scanner.pass_space();
        Some(scanner)
    }
}

/// A JSON string as it was written, without its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// A text that holds no escapes, such as a part of a topic.
    pub(super) const fn plain(text: &'a str) -> Self {
        Self(text)
    }

    /// Its characters, unescaped. Half a surrogate pair reads as U+FFFD.
    pub fn chars(&self) -> impl Iterator<Item = char> + use<'a> {
        let mut rest = self.0.chars();
        core::iter::from_fn(move || match rest.next()? {
            '\\' => Some(unescaped(&mut rest)),
            character => Some(character),
        })
    }

    /// Copies the unescaped text to the front of `buffer`; `None` if it does not fit.
    pub fn copied<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let mut length = 0;
        for character in self.chars() {
            length += character.encode_utf8(buffer.get_mut(length..length + character.len_utf8())?).len();
        }
        buffer.get_mut(..length)
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl Eq for Text<'_> {}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|character| fmt::Write::write_char(f, character))
    }
}

fn unescaped(rest: &mut core::str::Chars<'_>) -> char {
    match rest.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => unescaped_unit(rest),
        Some(itself) => itself,
        None => char::REPLACEMENT_CHARACTER,
    }
}

fn unescaped_unit(rest: &mut core::str::Chars<'_>) -> char {
    let high = hex_unit(rest);
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    let mut ahead = rest.clone();
    if (ahead.next(), ahead.next()) != (Some('\\'), Some('u')) {
        return char::REPLACEMENT_CHARACTER;
    }
    let low = hex_unit(&mut ahead);
    if !(0xdc00..0xe000).contains(&low) {
        return char::REPLACEMENT_CHARACTER;
    }
    *rest = ahead;
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn hex_unit(rest: &mut core::str::Chars<'_>) -> u32 {
    rest.by_ref().take(4).fold(0, |unit, digit| (unit << 4) | digit.to_digit(16).unwrap_or(0))
}

const fn malformed(at: usize) -> Error {
    Error::Malformed { what: "JSON", at }
}

/// Walks over JSON text and checks it. `at` always stands between two characters.
#[derive(Clone)]
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn pass_while(&mut self, is: fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.peek().is_some_and(is) {
            self.at += 1;
        }
        self.at - start
    }

    fn pass_space(&mut self) {
        self.pass_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    /// Passes the comma before the next member or element, in text that was checked.
    fn pass_comma(&mut self) {
        self.pass_space();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.pass_space();
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(malformed(self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.sequence(depth, b'}', |scanner| {
                scanner.string()?;
                scanner.pass_space();
                scanner.expect(b':')?;
                scanner.pass_space();
                scanner.value(depth + 1)
            })?,
            Some(b'[') => self.sequence(depth, b']', |scanner| scanner.value(depth + 1))?,
            Some(b'"') => drop(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        }
        Ok(Value(&self.text[start..self.at]))
    }

    /// An array or an object: an opening bracket, parts between commas, a closing bracket.
    fn sequence(
        &mut self,
        depth: usize,
        close: u8,
        part: impl Fn(&mut Self) -> Result<Value<'a>, Error>,
    ) -> Result<(), Error> {
        if depth == DEPTH_MAX {
            return Err(Error::TooLarge { what: "the depth of JSON", found: depth + 1, max: DEPTH_MAX });
        }
        self.at += 1;
        self.pass_space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            part(self)?;
            self.pass_space();
            if self.peek() == Some(close) {
                self.at += 1;
                return Ok(());
            }
            self.expect(b',')?;
            self.pass_space();
        }
    }

    fn string(&mut self) -> Result<Text<'a>, Error> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.pass_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20));
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(malformed(self.at)),
            }
        }
        let text = Text(&self.text[start..self.at]);
        self.at += 1;
        Ok(text)
    }

    fn escape(&mut self) -> Result<(), Error> {
        self.at += 1;
        let kind = self.peek();
        self.at += 1;
        match kind {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => (0..4).try_for_each(|_| match self.peek() {
                Some(digit) if digit.is_ascii_hexdigit() => {
                    self.at += 1;
                    Ok(())
                }
                _ => Err(malformed(self.at)),
            }),
            _ => Err(malformed(self.at - 1)),
        }
    }

    fn number(&mut self) -> Result<(), Error> {
        let digits = |scanner: &mut Self| match scanner.pass_while(|byte| byte.is_ascii_digit()) {
            0 => Err(malformed(scanner.at)),
            _ => Ok(()),
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            digits(self)?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            digits(self)?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            digits(self)?;
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), Error> {
        let rest = &self.text[self.at..];
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
        self.at += word.ok_or(malformed(self.at))?.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Value<'_> {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn members_and_elements_in_their_order() {
        let value = read(r#" { "a" : 1 , "b":[true, null ,"x"],"a":{"c":-2.5e1} } "#);
        let names: Vec<_> = value.members().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["a", "b", "a"]);
        let elements: Vec<_> = value.get("b").unwrap().elements().map(|element| element.as_written()).collect();
        assert_eq!(elements, ["true", "null", r#""x""#]);
        assert_eq!(
            value.get("a").unwrap().get("c").unwrap().as_whole(-100, 100),
            Some(-25),
            "the last of the same name"
        );
        assert_eq!(value.get("d"), None);
        assert_eq!(read("[]").elements().count() + read("{ }").members().count() + read("1").members().count(), 0);
    }

    #[test]
    fn strings_are_unescaped_while_they_are_read() {
        let text = read(r#""村口\/\"\\\b\f\n\r\t\u4e00 \ud83d\udd14 \ud83d! \udd14 \ud83d\u0041""#).as_text().unwrap();
        let expected = "村口/\"\\\u{8}\u{c}\n\r\t一 🔔 \u{fffd}! \u{fffd} \u{fffd}A";
        assert_eq!(text.to_string(), expected);
        assert!(text == expected);
        assert_eq!(text.copied(&mut [0; 80]).unwrap(), expected.as_bytes());
        assert_eq!(text.copied(&mut [0; 10]), None);
    }

    #[test]
    fn numbers_are_rounded_and_bounded() {
        for (text, expected) in [
            ("99.5", Some(100)),
            ("-0.5", Some(-1)),
            ("100", Some(100)),
            ("1e2", Some(100)),
            ("100.5", None),
            ("1e999", None),
            ("-1e999", None),
            (r#""7""#, None),
            ("null", None),
        ] {
            assert_eq!(read(text).as_whole(-100, 100), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "1 2",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u123\"",
            "\"\n\"",
            "'a'",
            "\"\\",
            "NaN",
            "[1]]",
        ] {
            assert!(matches!(parse(text.as_bytes()), Err(Error::Malformed { .. })), "{text:?} was taken");
        }
        assert!(parse(&[b'"', 0xff, b'"']).is_err());
    }

    #[test]
    fn text_that_is_too_deep_is_refused() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        let error = Error::TooLarge { what: "the depth of JSON", found: DEPTH_MAX + 1, max: DEPTH_MAX };
        assert_eq!(parse(nested(DEPTH_MAX + 1).as_bytes()), Err(error));
        assert!(parse("{\"a\":[".repeat(100_000).as_bytes()).is_err());
    }

    fn walked(value: Value<'_>) -> usize {
        let texts = value.as_text().map_or(0, |text| text.chars().count());
        let members: usize = value.members().map(|(name, value)| name.chars().count() + walked(value)).sum();
        texts + members + value.elements().map(walked).sum::<usize>()
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes).map(walked);
        }

        #[test]
        fn nothing_like_json_panics(text in r#"[{}\[\]",:\\u0-9a-f\.eE+\-tn ]{0,60}"#) {
            let _ = parse(text.as_bytes()).map(walked);
        }

        #[test]
        fn strings_read_as_they_were(text: String) {
            let quoted: String = text
                .chars()
                .map(|c| if c.is_control() || "\"\\".contains(c) { std::format!("\\u{:04x}", c as u32) } else { c.to_string() })
                .collect();
            prop_assert_eq!(read(&std::format!("\"{quoted}\"")).as_text().unwrap().to_string(), text);
        }
    }
}
