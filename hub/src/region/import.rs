//! A county's regions as CSV: what is accepted, and what is said of each line that is not.

use std::collections::HashSet;

use crate::ids::RegionCode;

/// Most rows in one import. The largest county has fewer places and grids; it also bounds the answer's time.
pub(super) const ROWS_MAX: usize = 20_000;
/// Most bytes of an import: twenty thousand long rows.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most characters of a place's name.
const NAME_CHARS_MAX: usize = 60;
/// Lines that are named in a refusal; more would not be read.
const LINES_NAMED_MAX: usize = 20;

/// A row that is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) code: RegionCode,
    pub(super) name: String,
    pub(super) level: &'static str,
    pub(super) parent: Option<RegionCode>,
}

/// A line that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRefused {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it, in Chinese.
    pub zh: String,
    /// What is wrong with it, in English.
    pub en: String,
}

/// Why an import changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportRefused {
    /// These lines are wrong; the first twenty are named.
    #[error("{}", self.english())]
    Lines(Vec<LineRefused>),
    /// More rows than an import may have.
    #[error("there are more than {ROWS_MAX} rows")]
    TooMany,
}

impl ImportRefused {
    /// Whole sentence in English.
    pub fn english(&self) -> String {
        match self {
            Self::Lines(lines) => {
                lines.iter().map(|one| format!("line {}: {}", one.line, one.en)).collect::<Vec<_>>().join("; ")
            }
            Self::TooMany => format!("there are more than {ROWS_MAX} rows"),
        }
    }

    /// Whole sentence in Chinese.
    pub fn chinese(&self) -> String {
        match self {
            Self::Lines(lines) => {
                lines.iter().map(|one| format!("第 {} 行：{}", one.line, one.zh)).collect::<Vec<_>>().join("；")
            }
            Self::TooMany => format!("超过 {ROWS_MAX} 行"),
        }
    }
}

/// What is wrong with lines, as they are found.
#[derive(Default)]
pub(super) struct Refusals(Vec<LineRefused>);

impl Refusals {
    pub(super) fn add(&mut self, line: u64, zh: impl Into<String>, en: impl Into<String>) {
        if self.0.len() < LINES_NAMED_MAX {
            self.0.push(LineRefused { line, zh: zh.into(), en: en.into() });
        }
    }

    pub(super) fn or<T>(self, good: T) -> Result<T, ImportRefused> {
        if self.0.is_empty() { Ok(good) } else { Err(ImportRefused::Lines(self.0)) }
    }
}

/// Reads `code,name,level,parent` with a header. Whether parents exist is for the store to say.
pub(super) fn parse(text: &str) -> Result<Vec<Row>, ImportRefused> {
    // Spreadsheets begin UTF-8 files with a byte order mark; and lines that end in two characters would be counted wrongly.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut refusals = Refusals::default();
    let is_header = reader.headers().is_ok_and(|header| header.iter().eq(["code", "name", "level", "parent"]));
    if !is_header {
        refusals.add(1, "表头应为 code,name,level,parent", "the header must be code,name,level,parent");
        return refusals.or(Vec::new());
    }
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for (index, record) in reader.records().enumerate() {
        if index == ROWS_MAX {
            return Err(ImportRefused::TooMany);
        }
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                refusals.add(line, "应有四列", "there must be four columns");
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        match row(line, &record) {
            Ok(row) if seen.insert(row.code.clone()) => rows.push(row),
            Ok(row) => {
                refusals.add(line, format!("代码 {} 重复", row.code), format!("code {} appears twice", row.code))
            }
            Err((zh, en)) => refusals.add(line, zh, en),
        }
    }
    refusals.or(rows)
}

fn row(line: u64, record: &csv::StringRecord) -> Result<Row, (String, String)> {
    let field = |index| record.get(index).unwrap_or_default();
    let wrong = |zh: String, en: String| Err((zh, en));
    let Ok(code) = RegionCode::parse(field(0)) else {
        let shown: String = field(0).chars().take(32).collect();
        return wrong(
            format!("代码“{shown}”不是 6、9、12、15 或 18 位数字"),
            format!("code {shown:?} is not 6, 9, 12, 15 or 18 digits"),
        );
    };
    let name = field(1);
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return wrong(
            format!("名称应为 1 到 {NAME_CHARS_MAX} 个字"),
            format!("the name must have 1 to {NAME_CHARS_MAX} characters"),
        );
    }
    let level = level(&code);
    if field(2) != level {
        return wrong(format!("{code} 的级别应为 {level}"), format!("the level of {code} must be {level}"));
    }
    let parent = parent(&code);
    if field(3) != parent.as_ref().map_or("", RegionCode::as_str) {
        let expected = parent.as_ref().map_or("empty".to_owned(), ToString::to_string);
        return wrong(
            format!("{code} 的上级应为 {}", parent.as_ref().map_or("空", RegionCode::as_str)),
            format!("the parent of {code} must be {expected}"),
        );
    }
    Ok(Row { line, code, name: name.to_owned(), level, parent })
}

/// The level that a code's length says.
fn level(code: &RegionCode) -> &'static str {
    match code.as_str().len() {
        6 => "county",
        9 => "township",
        12 => "village",
        15 => "group",
        _ => "grid",
    }
}

/// The code one level up; `None` for a county.
fn parent(code: &RegionCode) -> Option<RegionCode> {
    let digits = code.as_str();
    (digits.len() > 6).then(|| RegionCode::from_known(&digits[..digits.len() - 3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rows: &str) -> ImportRefused {
        parse(&format!("code,name,level,parent\n{rows}")).unwrap_err()
    }

    #[test]
    fn suiping_is_as_it_should_be() {
        let rows = parse(super::super::SUIPING).unwrap();
        let count = |level| rows.iter().filter(|row| row.level == level).count();
        assert_eq!((count("county"), count("township"), count("village")), (1, 18, 204));
    }

    #[test]
    fn a_spreadsheets_file_is_read() {
        let rows = parse("\u{feff}code,name,level,parent\r\n411728, 遂平县 ,county,\r\n").unwrap();
        assert_eq!(rows[0].name, "遂平县");
        assert_eq!(rows[0].line, 2);
    }

    #[test]
    fn each_wrong_line_is_named() {
        for (line, word) in [
            ("4117,a,county,", "not 6, 9"),
            ("41172x,a,county,", "not 6, 9"),
            ("411728,,county,", "1 to 60"),
            ("411728,a,township,", "must be county"),
            ("411728001,a,township,", "must be 411728"),
            ("411728001,a,township,411729", "must be 411728"),
            ("411728001001,a,village,411728", "must be 411728001"),
            ("411728,a,county,411", "must be empty"),
            ("411728,a,county", "four columns"),
        ] {
            let message = refused(line).english();
            assert!(message.starts_with("line 2: ") && message.contains(word), "{line}: {message}");
        }
        let both = refused("411728,a,county,\n411728,b,county,\nx,y,z,w").english();
        assert!(both.contains("line 3: code 411728 appears twice") && both.contains("line 4:"), "{both}");
        assert!(parse("a,b\n1,2").unwrap_err().english().contains("header"));
    }

    #[test]
    fn too_many_rows_are_refused() {
        let rows: String =
            (0..=ROWS_MAX).map(|index| format!("4117281{index:08},g,group,4117281{:05}\n", index / 1000)).collect();
        assert_eq!(refused(&rows), ImportRefused::TooMany);
    }
}
