//! `delete` leaves the container's state behind.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "life-10-state-left",
    target: "LIFE-10",
    does: "delete leaves the container's state behind",
    also_red: &[
        ("NS-11", "the state of its deleted control is still there"),
        ("NS-24", "a container of the same id is made after a delete"),
        ("ROBUST-01", "no container of the same id can be made after a delete"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to leave something behind")?;
    // A state of its own: what the good runtime keeps has a shape that only it knows.
    let left = root.join(format!(".left-{}", call.id()));
    match call.verb() {
        "delete" => delete(call, base, &left),
        "state" if left.exists() => {
            let state = fs::read_to_string(&left).with_context(|| format!("read {}", left.display()))?;
            println!("{state}");
            Ok(0)
        }
        "create" if left.exists() => {
            eprintln!("container {} exists already", call.id());
            Ok(1)
        }
        _ => base.pass(call),
    }
}

fn delete(call: &Call, base: &Base, left: &Path) -> Result<u8> {
    let state = base.ask(&call.other(&["state", call.id()]))?;
    let code = base.pass(call)?;
    if code == 0 && state.status.success() {
        fs::write(left, state.stdout).with_context(|| format!("write {}", left.display()))?;
    }
    Ok(code)
}
