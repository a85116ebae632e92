//! The scenario of the restart policies: containers that end in one way each, and which of them come again.

use nix::sys::signal::Signal;

use crate::adapter::podrt::{ContainerDocument, Manifest};
use crate::cell::{Cell, Obstacle};
use crate::checks::{facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;

/// How a container ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// With this exit code.
    Code(i32),
    /// By SIGKILL, from the node.
    Kill,
}

/// A container of the scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) end: End,
    /// The policy has it restarted.
    pub(super) again: bool,
}

impl Case {
    fn n_restarts(&self) -> u64 {
        u64::from(self.again)
    }

    fn code(&self) -> u64 {
        match self.end {
            End::Code(code) => u64::from(code.unsigned_abs()),
            End::Kill => 137,
        }
    }

    /// The policy has had its effect on it.
    fn is_settled(&self, container: &ContainerDocument) -> bool {
        if self.again {
            container.restart_count >= 1 && container.state.running.is_some()
        } else {
            container.state.terminated.is_some()
        }
    }
}

/// Every container ends once; what the policy restarts is waited for, and the pod is stopped.
pub(super) fn observe(cell: &mut Cell<'_>, policy: &str, cases: &[Case]) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &names).restarted(policy))?;
    for (case, member) in cases.iter().zip(&mut pod.members) {
        match case.end {
            End::Code(code) => pods::exit(member, code)?,
            End::Kill => pods::signal(member, Signal::SIGKILL)?,
        }
    }
    let document = cell.await_document(&pod.name, cell.deadline(6.0), |document| {
        cases.iter().all(|case| document.container(case.name).is_some_and(|found| case.is_settled(found)))
    })?;
    let mut evidence = Evidence::default();
    let mut links = Vec::new();
    for case in cases {
        let restarts = document.container(case.name).map_or(0, |container| container.restart_count);
        facts::told(
            &mut evidence,
            &format!("restarts.{}", case.name),
            restarts,
            "podrt pod inspect: restartCount",
        );
        let patience = if restarts > 0 { cell.deadline(10.0) } else { std::time::Duration::ZERO };
        let call = cell.hello(case.name, patience);
        let calls = 1 + u64::from(call.is_some());
        // Without its connection the witness would end, and be restarted once more.
        links.extend(call);
        evidence.inside(
            &format!("calls.{}", case.name),
            calls,
            format!("witness {}: its first words", case.name),
        );
    }
    // With the pod every restart that might come has ended.
    cell.call_pod(&["stop", "--time", "0", &pod.name])?;
    drop(links);
    let trace = cell.trace()?;
    for case in cases {
        let lives = pods::lives(&trace, &document.cgroup_of(case.name));
        let source = "tp_btf/sched_process_exec in the container's cgroup, up to the end of the pod";
        evidence.kernel(&format!("executed.{}", case.name), lives.len(), source);
        if let Some(code) = lives.first().and_then(pods::Life::code) {
            evidence.kernel(
                &format!("code.{}", case.name),
                code,
                "tp_btf/sched_process_exit: 128 + n for signal n",
            );
        }
        let nets: std::collections::BTreeSet<_> = lives.iter().map(|life| life.exec.task.ns.net).collect();
        evidence.kernel(&format!("networks.{}", case.name), nets.len(), "network namespaces of those execs");
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

/// Every container was restarted as often as the policy has it, and its program was there as often.
pub(super) fn inside(side: &Side<'_>, cases: &[Case]) -> Result<Finding, Gap> {
    let (mut holds, mut expected, mut observed) = (true, Vec::new(), Vec::new());
    for case in cases {
        let (name, wanted) = (case.name, case.n_restarts());
        let restarts = side.number(&format!("restarts.{name}"))?;
        let calls = side.number(&format!("calls.{name}"))?;
        holds &= restarts == wanted && calls == 1 + wanted;
        expected.push(format!("{name}: {wanted}"));
        observed.push(format!("{name}: {restarts}, its program called {calls} times"));
    }
    Ok(Finding::new(holds, format!("restarts of {}", expected.join(", ")), observed.join("; ")))
}

/// Every program was executed as often as the policy has it, in one network namespace.
pub(super) fn kernel(side: &Side<'_>, cases: &[Case]) -> Result<Finding, Gap> {
    let (mut holds, mut expected, mut observed) = (true, Vec::new(), Vec::new());
    for case in cases {
        let (name, wanted) = (case.name, 1 + case.n_restarts());
        let executed = side.number(&format!("executed.{name}"))?;
        let networks = side.number(&format!("networks.{name}"))?;
        let restarts = side.number(&format!("restarts.{name}"))?;
        if side.number(&format!("code.{name}"))? != case.code() {
            return Err(Gap(format!("the end that {name} was to have")));
        }
        holds &= executed == wanted && networks == 1 && restarts + 1 == executed;
        expected.push(format!("{name}: {wanted}"));
        observed.push(format!(
            "{name}: {executed} in {networks} network namespaces, {restarts} restarts reported"
        ));
    }
    Ok(Finding::new(holds, format!("executions of {}", expected.join(", ")), observed.join("; ")))
}
