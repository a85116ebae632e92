//! What an expression asks for, against the metrics that there are.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::{self, Expr, LabelModifier, VectorMatchCardinality, VectorSelector};

use crate::Res;

/// Labels that a scrape gives to every series of a target.
const OF_TARGETS: [&str; 4] = ["cluster", "instance", "job", "node"];

/// Metrics of others that are asked for, with the labels of their own.
const OTHERS: [(&str, &[&str]); 2] = [("node_forks_total", &[]), ("process_resident_memory_bytes", &[])];

/// Labels by the name of the series.
#[derive(Debug)]
pub(crate) struct Known(BTreeMap<String, BTreeSet<String>>);

impl Known {
    /// From the golden list: lines of a name, a type and labels.
    pub(crate) fn golden() -> Res<Self> {
        let mut known = BTreeMap::new();
        for line in include_str!("../../src/metrics/golden.txt").lines() {
            let mut words = line.split(' ');
            let (Some(name), Some(kind), Some(labels)) = (words.next(), words.next(), words.next()) else {
                return Err(format!("the golden list has the line {line:?}").into());
            };
            let labels: BTreeSet<String> =
                labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
            if kind == "histogram" {
                let bounds = labels.iter().cloned().chain(["le".to_owned()]).collect();
                known.insert(format!("{name}_bucket"), bounds);
                known.insert(format!("{name}_sum"), labels.clone());
                known.insert(format!("{name}_count"), labels);
            } else {
                known.insert(name.to_owned(), labels);
            }
        }
        for (name, labels) in OTHERS {
            known.insert(name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect());
        }
        Ok(Self(known))
    }

    /// Whether it is a metric, or the name of a histogram as a whole.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name) || self.0.contains_key(&format!("{name}_bucket"))
    }

    fn has_label(&self, series: &str, label: &str) -> bool {
        OF_TARGETS.contains(&label) || self.0.get(series).is_some_and(|labels| labels.contains(label))
    }

    /// All that an expression asks for and nobody exports.
    pub(crate) fn check(&self, expression: &str) -> Vec<String> {
        let mut offences = Vec::new();
        match parser::parse(expression) {
            Ok(tree) => drop(self.walk(&tree, &mut offences)),
            Err(error) => offences.push(error),
        }
        offences.iter().map(|offence| format!("{offence}, in: {expression}")).collect()
    }

    /// Names of the series below `expr`.
    fn walk<'a>(&self, expr: &'a Expr, offences: &mut Vec<String>) -> Vec<&'a str> {
        let mut below = Vec::new();
        match expr {
            Expr::VectorSelector(selector) => below.extend(self.select(selector, offences)),
            Expr::MatrixSelector(matrix) => below.extend(self.select(&matrix.vs, offences)),
            Expr::Aggregate(aggregate) => {
                below = self.walk(&aggregate.expr, offences);
                self.check_labels(aggregate.modifier.as_ref(), &below, offences);
            }
            Expr::Binary(binary) => {
                below = self.walk(&binary.lhs, offences);
                below.extend(self.walk(&binary.rhs, offences));
                if let Some(modifier) = &binary.modifier {
                    self.check_labels(modifier.matching.as_ref(), &below, offences);
                    if let VectorMatchCardinality::ManyToOne(labels)
                    | VectorMatchCardinality::OneToMany(labels) = &modifier.card
                    {
                        for label in &labels.labels {
                            if !below.iter().any(|series| self.has_label(series, label)) {
                                offences.push(format!("no series has the label {label}"));
                            }
                        }
                    }
                }
            }
            Expr::Unary(unary) => below = self.walk(&unary.expr, offences),
            Expr::Paren(paren) => below = self.walk(&paren.expr, offences),
            Expr::Subquery(subquery) => below = self.walk(&subquery.expr, offences),
            Expr::Call(call) => {
                for argument in &call.args.args {
                    below.extend(self.walk(argument, offences));
                }
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
            Expr::Extension(_) => offences.push("an extension of PromQL".to_owned()),
        }
        below
    }

    fn select<'a>(&self, selector: &'a VectorSelector, offences: &mut Vec<String>) -> Option<&'a str> {
        let Some(name) = &selector.name else {
            offences.push("a selector without the name of a metric".to_owned());
            return None;
        };
        if !self.0.contains_key(name) {
            offences.push(format!("{name} is not exported"));
            return None;
        }
        for matcher in selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten())
        {
            if !self.has_label(name, &matcher.name) {
                offences.push(format!("{name} has no label {}", matcher.name));
            }
        }
        Some(name)
    }

    /// A label that is kept, or matched on, has to be on every series.
    fn check_labels(&self, modifier: Option<&LabelModifier>, below: &[&str], offences: &mut Vec<String>) {
        let Some(modifier) = modifier else { return };
        for label in &modifier.labels().labels {
            for series in below {
                if !self.has_label(series, label) {
                    offences.push(format!("{series} has no label {label}"));
                }
            }
        }
    }
}
