//! What gateways write, as it is stored: bounded, and of characters that do no harm.

/// Longest word for a state or a verdict, or of a name; longer ones are cut.
const WORD_BYTES_MAX: usize = 64;
/// Longest detail that is stored, in characters.
const DETAIL_CHARS_MAX: usize = 200;

/// A state, a verdict or an id: lower-case letters, digits, `_` and `-`, so that it may stand in a fault's code.
pub(super) fn word(text: &str) -> String {
    let word: String = text
        .bytes()
        .take(WORD_BYTES_MAX)
        .map(|byte| match byte.to_ascii_lowercase() {
            plain @ (b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-') => char::from(plain),
            _ => '_',
        })
        .collect();
    if word.is_empty() { "unknown".to_owned() } else { word }
}

/// A sentence on one line.
pub(super) fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect()
}
