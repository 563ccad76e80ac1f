//! What every HTTP answer has in common: problem documents, languages, headers; and the pages as files.
//!
//! Routes live in the rooms they serve; `crate::serve` puts them together.

pub mod form;
pub mod headers;
pub mod language;
pub mod pages;
pub mod problem;
pub mod server;

pub use language::Language;
pub use problem::{Problem, ProblemDocument};
