//! Telling of verdicts. One file per format, all made from the model behind `report.json`.

pub mod baseline;
pub mod defects;
pub mod diff;
pub mod exit;
pub mod html;
pub mod junit;
pub mod live;
pub mod matrix;
pub mod model;
pub mod records;
#[cfg(test)]
pub(crate) mod sample;
pub mod table;
pub mod terminal;
pub mod timeline;
pub mod trace;
pub mod words;
