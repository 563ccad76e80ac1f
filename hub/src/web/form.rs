//! What forms of several rooms have in common: names on one line, positions on the globe.

use super::problem::Problem;

/// Most characters of a name.
pub const NAME_CHARS_MAX: usize = 80;

/// A name: 1–80 characters on one line, without spaces around it.
///
/// # Errors
/// What is wrong with the field.
pub fn name(field: &'static str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    if value.is_empty() {
        return Err(Problem::invalid(field, "不能为空", "it must not be empty"));
    }
    if value.chars().count() > NAME_CHARS_MAX || value.chars().any(char::is_control) {
        return Err(Problem::invalid(field, "最多 80 个字，不能换行", "at most 80 characters on one line"));
    }
    Ok(value.to_owned())
}

/// A name that may be left out: empty means that there is none.
///
/// # Errors
/// What is wrong with the field.
pub fn optional_name(field: &'static str, value: &str) -> Result<Option<String>, Problem> {
    if value.trim().is_empty() { Ok(None) } else { name(field, value).map(Some) }
}

/// Demands WGS 84 degrees, both or neither.
///
/// # Errors
/// Which of the two is wrong.
pub fn position(latitude: Option<f64>, longitude: Option<f64>) -> Result<(), Problem> {
    // Not a number lies in no range.
    if latitude.is_some_and(|degrees| !(-90.0..=90.0).contains(&degrees)) {
        return Err(Problem::invalid("latitude", "应在 -90 到 90 度之间", "it must be from -90 to 90 degrees"));
    }
    if longitude.is_some_and(|degrees| !(-180.0..=180.0).contains(&degrees)) {
        return Err(Problem::invalid("longitude", "应在 -180 到 180 度之间", "it must be from -180 to 180 degrees"));
    }
    if latitude.is_some() != longitude.is_some() {
        return Err(Problem::invalid("latitude", "纬度和经度要一起填", "latitude and longitude are given together"));
    }
    Ok(())
}
