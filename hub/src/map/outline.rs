//! An outline as GeoJSON (RFC 7946): what is accepted, and why something is not.

use serde_json::{Value, json};

/// Most bytes of an outline. A county drawn to ten metres is far below; the whole of it goes to every map.
const BYTES_MAX: usize = 512 * 1024;
/// Most points of an outline: more than a screen can show.
const POINTS_MAX: usize = 20_000;
/// Fewest points of a ring: three corners, and the first again.
const RING_POINTS_MIN: usize = 4;

/// Why a text is no outline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutlineRefused {
    /// Longer than an outline may be.
    #[error("the outline has more than {BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON; the parser says where.
    #[error("the outline is no JSON: {0}")]
    NotJson(String),
    /// JSON, but nothing that has an area.
    #[error("the outline must be a Polygon or MultiPolygon, alone or as the one feature of a file")]
    NoArea,
    /// A ring that is open or too short, or a point that is not on Earth.
    #[error("ring {ring} of the outline is open, has fewer than four points, or leaves the Earth")]
    Ring {
        /// Its number, from 1.
        ring: usize,
    },
    /// More points than a map can draw.
    #[error("the outline has more than {POINTS_MAX} points")]
    TooManyPoints,
}

/// Takes a geometry, a feature, or a collection of one feature; returns the geometry as a `MultiPolygon`.
pub(super) fn parse(text: &str) -> Result<Value, OutlineRefused> {
    if text.len() > BYTES_MAX {
        return Err(OutlineRefused::TooLong);
    }
    let document: Value = serde_json::from_str(text).map_err(|error| OutlineRefused::NotJson(error.to_string()))?;
    let geometry = geometry_of(&document).ok_or(OutlineRefused::NoArea)?;
    let coordinates = geometry["coordinates"].as_array().ok_or(OutlineRefused::NoArea)?;
    let polygons = match geometry["type"].as_str() {
        Some("Polygon") => vec![Value::Array(coordinates.clone())],
        Some("MultiPolygon") => coordinates.clone(),
        _ => return Err(OutlineRefused::NoArea),
    };
    check(&polygons)?;
    Ok(json!({ "type": "MultiPolygon", "coordinates": polygons }))
}

fn geometry_of(document: &Value) -> Option<&Value> {
    match document["type"].as_str()? {
        "FeatureCollection" => match document["features"].as_array()?.as_slice() {
            [feature] => Some(&feature["geometry"]),
            _ => None,
        },
        "Feature" => Some(&document["geometry"]),
        _ => Some(document),
    }
}

fn check(polygons: &[Value]) -> Result<(), OutlineRefused> {
    let mut rings = 0;
    let mut points = 0;
    for polygon in polygons {
        for ring in polygon.as_array().ok_or(OutlineRefused::NoArea)? {
            rings += 1;
            let ring = ring.as_array().ok_or(OutlineRefused::Ring { ring: rings })?;
            let closed = ring.len() >= RING_POINTS_MIN && ring.first() == ring.last();
            if !closed || !ring.iter().all(is_on_earth) {
                return Err(OutlineRefused::Ring { ring: rings });
            }
            points += ring.len();
        }
    }
    match points {
        0 => Err(OutlineRefused::NoArea),
        1..=POINTS_MAX => Ok(()),
        _ => Err(OutlineRefused::TooManyPoints),
    }
}

/// Longitude first, as RFC 7946 has it.
fn is_on_earth(point: &Value) -> bool {
    let within = |value: &Value, most: f64| value.as_f64().is_some_and(|degrees| degrees.abs() <= most);
    point.as_array().is_some_and(|pair| pair.len() == 2 && within(&pair[0], 180.0) && within(&pair[1], 90.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: &str = "[[[114.0,33.0],[114.1,33.0],[114.1,33.1],[114.0,33.0]]]";

    #[test]
    fn a_geometry_a_feature_and_a_collection_of_one_are_the_same_outline() {
        let polygon = format!(r#"{{"type":"Polygon","coordinates":{SQUARE}}}"#);
        let feature = format!(r#"{{"type":"Feature","geometry":{polygon},"properties":{{}}}}"#);
        let collection = format!(r#"{{"type":"FeatureCollection","features":[{feature}]}}"#);
        let parsed = parse(&polygon).unwrap();
        assert_eq!(parsed["type"], "MultiPolygon");
        assert_eq!(parsed["coordinates"][0].to_string(), SQUARE);
        assert_eq!(parse(&feature).unwrap(), parsed);
        assert_eq!(parse(&collection).unwrap(), parsed);
        assert!(parse(super::super::SUIPING).is_ok());
    }

    #[test]
    fn what_is_no_outline_is_refused_and_says_why() {
        let ring = |ring: &str| format!(r#"{{"type":"Polygon","coordinates":[{ring}]}}"#);
        let long = format!("[{}[0,0]]", "[0,0],".repeat(POINTS_MAX));
        for (text, refused) in [
            (String::new(), None),
            ("{".to_owned(), None),
            ("[]".to_owned(), Some(OutlineRefused::NoArea)),
            ("null".to_owned(), Some(OutlineRefused::NoArea)),
            (r#"{"type":"Point","coordinates":[0,0]}"#.to_owned(), Some(OutlineRefused::NoArea)),
            (r#"{"type":"FeatureCollection","features":[]}"#.to_owned(), Some(OutlineRefused::NoArea)),
            (r#"{"type":"Polygon","coordinates":[]}"#.to_owned(), Some(OutlineRefused::NoArea)),
            (r#"{"type":"Polygon","coordinates":{}}"#.to_owned(), Some(OutlineRefused::NoArea)),
            (ring("[[0,0],[1,0],[1,1]]"), Some(OutlineRefused::Ring { ring: 1 })),
            (ring("[[0,0],[1,0],[1,1],[0,1]]"), Some(OutlineRefused::Ring { ring: 1 })),
            (ring("[[0,0],[1,0],[1,91],[0,0]]"), Some(OutlineRefused::Ring { ring: 1 })),
            (ring(r#"[[0,0],["a",0],[1,1],[0,0]]"#), Some(OutlineRefused::Ring { ring: 1 })),
            (ring(&long), Some(OutlineRefused::TooManyPoints)),
            (" ".repeat(BYTES_MAX + 1), Some(OutlineRefused::TooLong)),
        ] {
            let said = parse(&text).unwrap_err();
            match refused {
                Some(refused) => assert_eq!(said, refused, "{text:.60}"),
                None => assert!(matches!(said, OutlineRefused::NotJson(_)), "{text:.60}: {said}"),
            }
        }
    }
}
