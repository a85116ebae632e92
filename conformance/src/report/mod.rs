//! Telling of verdicts: the model behind `report.json`, the records it is made from, the table, the exit status.

pub mod exit;
pub mod matrix;
pub mod model;
pub mod records;
pub mod table;
