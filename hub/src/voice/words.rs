//! Figures written out, as a Chinese announcer reads them.
//!
//! A speech engine reads `13800138000` as thirteen thousand million, and espeak-ng drops the point of 38.5. So before
//! anything is spoken, each figure becomes characters: dates and times, telephone numbers digit by digit (1 as 幺), amounts
//! as amounts, 2 as 两 before a measure word. What is not recognised stays as it is.
//!
//! Pure: text in, text out; no input panics.

use chinese_number::{ChineseCase, ChineseCountMethod, ChineseVariant, NumberToChinese as _};

/// Measure words: a number before one of them is an amount, and 2 is 两. Longer words come first where one begins another.
const MEASURES: &[&str] = &[
    "平方米",
    "立方米",
    "公里",
    "公斤",
    "千米",
    "厘米",
    "毫米",
    "小时",
    "分钟",
    "秒钟",
    "个",
    "户",
    "名",
    "位",
    "人",
    "次",
    "天",
    "斤",
    "亩",
    "块",
    "家",
    "台",
    "辆",
    "头",
    "只",
    "袋",
    "条",
    "件",
    "瓶",
    "桶",
    "车",
    "岁",
    "周",
    "米",
    "吨",
    "元",
    "张",
    "份",
    "遍",
    "间",
    "口",
    "眼",
    "根",
    "把",
    "升",
    "克",
    "点钟",
    "万",
    "亿",
    "千瓦",
    "场",
    "种",
    "项",
    "步",
    "级",
    "倍",
];
/// Numbers before one of these are read digit by digit from three digits on.
const ROOMS: &[&str] = &["室", "房"];
/// Words after which a number is a telephone number.
const CALLS: &[&str] =
    &["电话", "拨", "拨打", "致电", "热线", "手机", "手机号", "号码", "联系", "呼叫", "打", "：", ":"];
/// Short numbers that are telephones when no measure word follows.
const HOTLINES: &[&str] = &[
    "110", "119", "120", "122", "12306", "12309", "12315", "12319", "12328", "12333", "12338", "12345", "12348",
    "12350", "12355", "12356", "12369", "12371", "12380", "12388", "12393", "12395", "95598",
];
/// Units in Latin letters and signs, after a number; longer ones first where one begins another.
const UNITS: &[(&str, &str)] = &[
    ("km/h", "公里每小时"),
    ("km²", "平方公里"),
    ("m/s", "米每秒"),
    ("km", "公里"),
    ("kg", "公斤"),
    ("kW", "千瓦"),
    ("mm", "毫米"),
    ("cm", "厘米"),
    ("mL", "毫升"),
    ("ml", "毫升"),
    ("m²", "平方米"),
    ("m2", "平方米"),
    ("㎡", "平方米"),
    ("m³", "立方米"),
    ("m3", "立方米"),
    ("m", "米"),
    ("t", "吨"),
    ("g", "克"),
    ("L", "升"),
];
/// Signs that stand between the ends of a range.
const RANGE_SIGNS: &[char] = &['-', '~', '～', '—', '–', '至', '到'];

/// The text with its figures written out. Idempotent.
pub fn written_out(text: &str) -> String {
    let text: Vec<char> = text.chars().map(half_width).collect();
    let mut reader = Reader { text: &text, at: 0, spoken: String::with_capacity(text.len() * 3) };
    while reader.at < reader.text.len() {
        reader.step();
    }
    reader.spoken
}

/// Full-width figures as plain ones.
fn half_width(c: char) -> char {
    match c {
        '０'..='９' => char::from_u32(u32::from(c) - u32::from('０') + u32::from('0')).unwrap_or(c),
        '．' => '.',
        '％' => '%',
        '－' => '-',
        other => other,
    }
}

struct Reader<'a> {
    text: &'a [char],
    at: usize,
    spoken: String,
}

/// A number as it stands in the text.
struct Number {
    /// Digits before the point, without separators.
    whole: String,
    /// Digits after it.
    fraction: String,
    /// Characters it takes.
    length: usize,
}

impl Reader<'_> {
    /// Takes one character, or one figure with what belongs to it.
    fn step(&mut self) {
        let c = self.text[self.at];
        let inside_word = self.at > 0 && self.text[self.at - 1].is_ascii_alphabetic();
        if matches!(c, '¥' | '￥') && self.digit(self.at + 1) {
            self.at += 1;
            return self.money();
        }
        if c == '-' && self.digit(self.at + 1) && !self.follows_figure() {
            return self.below_zero();
        }
        if matches!(c, '(' | '（') && self.telephone() {
            return;
        }
        if !c.is_ascii_digit() || inside_word {
            self.spoken.push(c);
            self.at += 1;
            return;
        }
        let taken = self.date() || self.time() || self.telephone() || self.fraction();
        if !taken {
            self.amount();
        }
    }

    /// `2026-11-23`, `2026/11/23`, `2026年`, `11-23` stays an amount range.
    fn date(&mut self) -> bool {
        let digits = self.digits(self.at);
        if digits.len() != 4 || !matches!(digits.as_bytes(), [b'1', b'9', ..] | [b'2', b'0', ..]) {
            return false;
        }
        let after = self.at + 4;
        if self.char(after) == Some('年') {
            self.say(&one_by_one(&digits, false), 4);
            return true;
        }
        let Some(sign @ ('-' | '/' | '.')) = self.char(after) else {
            return false;
        };
        let month = self.digits(after + 1);
        let day_at = after + 1 + month.len() + 1;
        let day = self.digits(day_at);
        let fits = self.char(day_at - 1) == Some(sign) && in_range(&month, 1, 12) && in_range(&day, 1, 31);
        if fits {
            let date = format!("{}年{}月{}日", one_by_one(&digits, false), counted(&month), counted(&day));
            let length = day_at + day.len() - self.at;
            self.say(&date, length);
        }
        fits
    }

    /// `8:30`, `08：30`, `08:30:15`, and the sign to the other end of a range of times.
    fn time(&mut self) -> bool {
        let hour = self.digits(self.at);
        let minute_at = self.at + hour.len() + 1;
        let minute = self.digits(minute_at);
        let fits = self.colon(minute_at - 1)
            && hour.len() <= 2
            && minute.len() == 2
            && in_range(&hour, 0, 24)
            && in_range(&minute, 0, 59);
        if !fits {
            return false;
        }
        let mut spoken = format!("{}点", if value(&hour) == 2 { "两".to_owned() } else { counted(&hour) });
        if value(&minute) > 0 {
            let zero = if value(&minute) < 10 { "零" } else { "" };
            spoken.push_str(&format!("{zero}{}分", counted(&minute)));
        }
        let mut end = minute_at + 2;
        let second = self.digits(end + 1);
        if self.colon(end) && second.len() == 2 && in_range(&second, 0, 59) {
            spoken.push_str(&format!("{}秒", counted(&second)));
            end += 3;
        }
        let length = end - self.at;
        self.say(&spoken, length);
        self.range_sign();
        true
    }

    /// A telephone number, with its dashes, or in groups as it is printed on cards.
    fn telephone(&mut self) -> bool {
        let Some((digits, end)) = self.grouped().or_else(|| self.dashed()) else { return false };
        let length = end - self.at;
        self.say(&one_by_one(&digits, true), length);
        true
    }

    /// A telephone number without spaces: its digits, and where it ends.
    fn dashed(&self) -> Option<(String, usize)> {
        let digits = self.digits(self.at);
        let mut all = digits.clone();
        let mut end = self.at + digits.len();
        while self.char(end) == Some('-') && self.digits(end + 1).len() >= 3 {
            let more = self.digits(end + 1);
            end += 1 + more.len();
            all.push_str(&more);
        }
        let dashed = all.len() > digits.len();
        let measured = self.measure(end).is_some() || self.unit(end).is_some();
        let mobile = all.len() == 11 && all.starts_with('1');
        let landline = all.starts_with('0') && (10..=12).contains(&all.len());
        let service = dashed && all.len() == 10 && (all.starts_with("400") || all.starts_with("800"));
        let hotline = HOTLINES.contains(&all.as_str()) && !measured;
        let local = (7..=8).contains(&all.len()) && !measured && self.follows_call();
        (mobile || landline || service || hotline || local).then_some((all, end))
    }

    /// A telephone number in groups with spaces or dashes between them: `138 0013 8000`, `0396 492 2110`, `(0396) 4922110`.
    /// Other numbers stand beside each other too: only what is grouped just as telephone numbers are is one.
    fn grouped(&self) -> Option<(String, usize)> {
        let is_enclosed = matches!(self.char(self.at), Some('(' | '（'));
        let first = self.digits(self.at + usize::from(is_enclosed));
        let mut end = self.at + usize::from(is_enclosed) + first.len();
        if is_enclosed {
            self.char(end).filter(|c| matches!(c, ')' | '）'))?;
            end += 1;
        }
        let mut groups = vec![first];
        let mut found = None;
        // No number that is printed in groups has more than four.
        while groups.len() < 4 {
            let is_apart = matches!(self.char(end), Some(' ' | '-'));
            let next = self.digits(end + usize::from(is_apart));
            if next.is_empty() || !(is_apart || is_enclosed && groups.len() == 1) {
                break;
            }
            end += usize::from(is_apart) + next.len();
            groups.push(next);
            let lengths: Vec<usize> = groups.iter().map(String::len).collect();
            let is_telephone = match (groups[0].as_str(), lengths.as_slice()) {
                // Numbers of mobile telephones begin with 13 to 19.
                (first, [3, 4, 4]) if ("130"..="199").contains(&first) && !is_enclosed => true,
                ("400" | "800", [3, 3, 4]) if !is_enclosed => true,
                (first, [3 | 4, 7 | 8] | [3 | 4, 3 | 4, 4]) if first.starts_with('0') => true,
                _ => false,
            };
            if is_telephone {
                found = Some((groups.concat(), end));
            }
        }
        found
    }

    /// `1/2` is 二分之一.
    fn fraction(&mut self) -> bool {
        let above = self.digits(self.at);
        let below_at = self.at + above.len() + 1;
        let below = self.digits(below_at);
        let fits = self.char(below_at - 1) == Some('/')
            && (1..=2).contains(&above.len())
            && (1..=3).contains(&below.len())
            && value(&below) > 0;
        if fits {
            let length = below_at + below.len() - self.at;
            self.say(&format!("{}分之{}", counted(&below), counted(&above)), length);
        }
        fits
    }

    /// Money with its sign in front.
    fn money(&mut self) {
        let number = self.number();
        self.say(&spoken_number(&number), number.length);
        if !matches!(self.char(self.at), Some('元' | '万' | '亿' | '块')) {
            self.spoken.push('元');
        }
    }

    /// A minus sign: 零下 before degrees, 负 otherwise.
    fn below_zero(&mut self) {
        self.at += 1;
        let number = self.number();
        let degrees = self.degrees(self.at + number.length);
        self.spoken.push_str(if degrees.is_some() { "零下" } else { "负" });
        self.amount();
    }

    /// Any other number, with its unit and the other end of a range.
    fn amount(&mut self) {
        let number = self.number();
        let end = self.at + number.length;
        if self.char(end) == Some('%') {
            return self.say(&format!("百分之{}", spoken_number(&number)), number.length + 1);
        }
        if let Some(length) = self.degrees(end) {
            return self.say(&format!("{}摄氏度", spoken_number(&number)), number.length + length);
        }
        if let Some((length, name)) = self.unit(end) {
            return self.say(&format!("{}{name}", counting(&number)), number.length + length);
        }
        let digits_read = number.fraction.is_empty()
            && (number.whole.len() > 1 && number.whole.starts_with('0')
                || number.whole.len() > 12
                || number.whole.len() >= 3 && self.starts_with(end, ROOMS).is_some());
        let spoken = match (digits_read, self.measure(end)) {
            (true, _) => one_by_one(&number.whole, false),
            (false, Some(_)) => counting(&number),
            (false, None) => spoken_number(&number),
        };
        self.say(&spoken, number.length);
        self.range_sign();
    }

    /// The sign of a range is read as 到, where a number follows.
    fn range_sign(&mut self) {
        if let Some(sign) = self.char(self.at)
            && RANGE_SIGNS.contains(&sign)
            && self.digit(self.at + 1)
        {
            self.say("到", 1);
        }
    }

    fn say(&mut self, spoken: &str, length: usize) {
        self.spoken.push_str(spoken);
        self.at += length;
    }

    /// The number here; separators of thousands and a point belong to it.
    fn number(&self) -> Number {
        let mut whole = self.digits(self.at);
        let mut end = self.at + whole.len();
        while whole.len() <= 12 && matches!(self.char(end), Some(',' | '，')) && self.digits(end + 1).len() == 3 {
            whole.push_str(&self.digits(end + 1));
            end += 4;
        }
        let mut fraction = String::new();
        if self.char(end) == Some('.') && self.digit(end + 1) {
            fraction = self.digits(end + 1);
            end += 1 + fraction.len();
        }
        Number { whole, fraction, length: end - self.at }
    }

    fn char(&self, at: usize) -> Option<char> {
        self.text.get(at).copied()
    }

    fn digit(&self, at: usize) -> bool {
        self.char(at).is_some_and(|c| c.is_ascii_digit())
    }

    fn colon(&self, at: usize) -> bool {
        matches!(self.char(at), Some(':' | '：'))
    }

    fn digits(&self, at: usize) -> String {
        self.text.iter().skip(at).take_while(|c| c.is_ascii_digit()).collect()
    }

    /// Whether a figure was just read, so that a sign here joins two of them.
    fn follows_figure(&self) -> bool {
        self.at > 0 && self.text[self.at - 1].is_ascii_alphanumeric()
    }

    /// Whether what stands before says that a telephone number comes.
    fn follows_call(&self) -> bool {
        let before: String = self.text[self.at.saturating_sub(4)..self.at].iter().collect();
        let before = before.trim_end();
        CALLS.iter().any(|word| before.ends_with(word))
    }

    fn starts_with(&self, at: usize, words: &[&'static str]) -> Option<&'static str> {
        let rest = self.text.get(at..)?;
        words.iter().copied().find(|word| word.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c)))
    }

    fn measure(&self, at: usize) -> Option<&'static str> {
        self.starts_with(at, MEASURES)
    }

    fn unit(&self, at: usize) -> Option<(usize, &'static str)> {
        let (sign, name) = UNITS.iter().find(|(sign, _)| self.starts_with(at, &[sign]).is_some())?;
        let length = sign.chars().count();
        let word_goes_on = self.char(at + length).is_some_and(|c| c.is_ascii_alphanumeric());
        (!word_goes_on).then_some((length, *name))
    }

    /// The length of a sign for degrees Celsius.
    fn degrees(&self, at: usize) -> Option<usize> {
        self.starts_with(at, &["℃", "°C"]).map(|sign| sign.chars().count())
    }
}

/// Digit by digit; on the telephone 1 is 幺, so that nobody takes it for 7.
fn one_by_one(digits: &str, on_telephone: bool) -> String {
    digits
        .chars()
        .map(|digit| match digit {
            '0' => '零',
            '1' if on_telephone => '幺',
            '1' => '一',
            '2' => '二',
            '3' => '三',
            '4' => '四',
            '5' => '五',
            '6' => '六',
            '7' => '七',
            '8' => '八',
            '9' => '九',
            other => other,
        })
        .collect()
}

fn value(digits: &str) -> u64 {
    digits.parse().unwrap_or(u64::MAX)
}

fn in_range(digits: &str, least: u64, most: u64) -> bool {
    (1..=2).contains(&digits.len()) && (least..=most).contains(&value(digits))
}

/// A whole number as an amount. Longer than any amount: digit by digit.
fn counted(digits: &str) -> String {
    let amount = digits.parse::<u64>().ok().filter(|_| digits.len() <= 12);
    amount
        .and_then(|n| n.to_chinese(ChineseVariant::Simple, ChineseCase::Lower, ChineseCountMethod::TenThousand).ok())
        .unwrap_or_else(|| one_by_one(digits, false))
}

fn spoken_number(number: &Number) -> String {
    let whole = counted(&number.whole);
    if number.fraction.is_empty() { whole } else { format!("{whole}点{}", one_by_one(&number.fraction, false)) }
}

/// A number before a measure word: 2 is 两.
fn counting(number: &Number) -> String {
    if number.whole == "2" && number.fraction.is_empty() { "两".to_owned() } else { spoken_number(number) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_are_read_as_an_announcer_reads_them() {
        let table = [
            // Dates.
            ("2026年11月23日", "二零二六年十一月二十三日"),
            ("2026-11-23停电", "二零二六年十一月二十三日停电"),
            ("2026/1/5", "二零二六年一月五日"),
            ("干了2年", "干了二年"),
            // Times.
            ("08:30集合", "八点三十分集合"),
            ("14：05", "十四点零五分"),
            ("8:00-10:00停水", "八点到十点停水"),
            ("今晚2:00", "今晚两点"),
            ("时间：9:15:20", "时间：九点十五分二十秒"),
            // Telephones.
            ("13800138000", "幺三八零零幺三八零零零"),
            ("请拨110或120", "请拨幺幺零或幺二零"),
            ("0396-4922110", "零三九六四九二二幺幺零"),
            ("400-123-4567", "四零零幺二三四五六七"),
            ("电话：4922110", "电话：四九二二幺幺零"),
            ("热线12345", "热线幺二三四五"),
            ("手机138 0013 8000，白天", "手机幺三八零零幺三八零零零，白天"),
            ("138-0013-8000", "幺三八零零幺三八零零零"),
            ("138 0013 8000 139 0013 9000", "幺三八零零幺三八零零零 幺三九零零幺三九零零零"),
            ("13800138000 120", "幺三八零零幺三八零零零 幺二零"),
            ("(0396)4922110", "零三九六四九二二幺幺零"),
            ("（0396） 492 2110转8", "零三九六四九二二幺幺零转八"),
            ("电话(０１０)1234-5678", "电话零幺零幺二三四五六七八"),
            ("0396 4922110", "零三九六四九二二幺幺零"),
            ("400 123 4567", "四零零幺二三四五六七"),
            // Numbers that only stand beside each other.
            ("(0396)号文", "(零三九六)号文"),
            ("（10）人", "（十）人"),
            ("138 0013", "一百三十八 零零一三"),
            ("100 3000 4000", "一百 三千 四千"),
            // Amounts.
            ("补贴120元", "补贴一百二十元"),
            ("2户2号", "两户二号"),
            ("1,200人", "一千二百人"),
            ("12000斤", "一万二千斤"),
            ("38.5℃", "三十八点五摄氏度"),
            ("-5℃", "零下五摄氏度"),
            ("-5到3℃", "负五到三摄氏度"),
            ("涨了85%", "涨了百分之八十五"),
            ("￥200", "二百元"),
            ("¥3.5万", "三点五万"),
            ("10-20厘米", "十到二十厘米"),
            ("15~20mm", "十五到二十毫米"),
            ("风速12m/s", "风速十二米每秒"),
            ("1/2", "二分之一"),
            ("3号楼501室", "三号楼五零一室"),
            ("第3组", "第三组"),
            ("编号007", "编号零零七"),
            ("１２点", "十二点"),
            ("0.5亩", "零点五亩"),
            ("10户", "十户"),
            // What is no figure of ours stays.
            ("A4纸", "A4纸"),
            ("各位乡亲：请注意。", "各位乡亲：请注意。"),
            ("", ""),
        ];
        for (text, spoken) in table {
            assert_eq!(written_out(text), spoken, "{text}");
        }
    }

    #[test]
    fn a_number_longer_than_any_amount_is_read_digit_by_digit() {
        assert_eq!(written_out("1234567890123"), "一二三四五六七八九零一二三");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_writing_out_twice_changes_nothing(text in "[0-9年月日:/.,%℃元号室a-zA-Z\\-~ ()电话户¥]{0,40}") {
            let once = written_out(&text);
            prop_assert_eq!(written_out(&once), once.clone());
        }

        #[test]
        fn no_text_at_all_panics(text in ".{0,60}") {
            let _ = written_out(&text);
        }
    }
}
