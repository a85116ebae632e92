//! The values of labels that the alerts ask for: what nobody exports would keep an alert silent for ever.

use std::collections::BTreeSet;
use std::convert::Infallible;

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

use crate::Res;

/// Selectors of one value each, as `podproof_reaps_total{reaper="pause"}`.
#[derive(Debug, Default)]
struct Values(BTreeSet<String>);

impl ExprVisitor for Values {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        let selector = match expr {
            Expr::VectorSelector(selector) => selector,
            Expr::MatrixSelector(matrix) => &matrix.vs,
            _ => return Ok(true),
        };
        let name = selector.name.as_deref().unwrap_or_default();
        for matcher in &selector.matchers.matchers {
            // The expressions of the alerts are words with bars between them.
            if matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_)) {
                let words = matcher.value.split('|');
                self.0.extend(words.map(|word| format!("{name}{{{}=\"{word}\"}}", matcher.name)));
            }
        }
        Ok(true)
    }
}

/// All values that the rules of a file ask for.
pub(crate) fn asked_for(rules: &str) -> Res<BTreeSet<String>> {
    let document: Value = serde_saphyr::from_str(rules)?;
    let mut values = Values::default();
    let groups = document["groups"].as_array().ok_or("no groups")?;
    for rule in groups.iter().flat_map(|group| group["rules"].as_array()).flatten() {
        walk_expr(&mut values, &parser::parse(rule["expr"].as_str().ok_or("a rule without expr")?)?)?;
    }
    Ok(values.0)
}
