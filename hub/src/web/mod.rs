//! What every HTTP answer has in common: problem documents and languages. (Routes live in the rooms they serve.)

pub mod language;
pub mod problem;

pub use language::Language;
pub use problem::{Problem, ProblemDocument};
