//! CG-23: a pod has a cgroup of its own, and its limit holds for its containers together.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::cgroup::Cgroup;

/// The limit of the pod, bytes.
const LIMIT: u64 = 64 << 20;
/// Never a victim of the OOM killer (proc_pid_oom_score_adj(5)).
const OOM_SCORE_ADJ_MIN: &str = "-1000";
/// What each of its two containers takes: 60 % of it, bytes.
const SHARE: u64 = LIMIT * 6 / 10;

const REQUIREMENT: Requirement = Requirement {
    id: "CG-23",
    name: "the_pods_limit_caps_the_sum_of_its_containers",
    level: Level::Must,
    statement: "A pod has its own cgroup, every container one below it, and the pod limit caps their sum.",
    source: "Kubernetes concepts/workloads/pods/#resource-sharing; CRI api.proto LinuxPodSandboxConfig.cgroup_parent",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with a memory limit and two containers without one, which take 60 % of the pod's limit each, one after \
               the other, and keep it; the OOM killer may choose the first only.",
    inside: "The pod layer reports the end of one container by 137, and the other's witness has said that it has its share.",
    kernel: "The cgroups that the programs were executed in and where these were made (sched_process_exec, cgroup_mkdir), \
             the victims of the OOM killer (mark_victim), and memory.max and memory.events.local of the pod's cgroup.",
    defects: &[("cg-23-no-pod-limit", "the limit of the pod as a whole is ignored")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

const FIRST: &str = "a";
const SECOND: &str = "b";
const NAMES: [&str; 2] = [FIRST, SECOND];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let share = SHARE.to_string();
    let manifest = Manifest::new("pod")
        .container(FIRST, &["touch", &share, "serve", "--name", FIRST])
        .container(SECOND, &["serve", "--name", SECOND]);
    cell.try_pod("run", &manifest.with("/spec/resources/limits/memory", LIMIT.to_string()))?;
    let name = cell.pod_name("pod");
    let first = cell.hello(FIRST, cell.deadline(20.0));
    let mut second = cell.hello(SECOND, cell.deadline(20.0));
    let mut has_second_share = false;
    if let Some(link) = &mut second {
        // Else the kernel kills one of them too when it looks for memory again before that of the first victim is free.
        let document = cell.document(&name)?;
        spare_all_but(&document.cgroup_of(FIRST), &document.cgroup)?;
        has_second_share = link.ask(Command::Touch { bytes: SHARE }, cell.deadline(20.0)).is_ok();
    }
    let is_over = |document: &crate::adapter::podrt::PodDocument| {
        document.containers.iter().any(|container| container.state.terminated.is_some())
    };
    let document = cell.await_document(&name, cell.deadline(8.0), is_over)?;
    let mut evidence = Evidence::default();
    let killed =
        NAMES.iter().filter(|name| document.termination(name).is_some_and(|end| end.exit_code == Some(137)));
    facts::told(&mut evidence, "killed", killed.count(), "podrt pod inspect: containers that ended with 137");
    let called = [(FIRST, first.is_some()), (SECOND, has_second_share)]
        .into_iter()
        .filter(|(name, has_share)| *has_share && document.termination(name).is_none());
    evidence.inside("called", called.count(), "witnesses: their words, after they have taken their share");

    let trace = cell.trace()?;
    let pod = Cgroup::at(&document.cgroup);
    let (mut programs, mut places) = (0_usize, BTreeSet::new());
    for name in NAMES {
        for life in pods::lives(&trace, &document.cgroup_of(name)) {
            programs += 1;
            places.insert(life.exec.task.cgroup_id);
        }
    }
    let source = "tp_btf/sched_process_exec, in cgroups made below the pod's (tp_btf/cgroup_mkdir)";
    evidence.kernel("programs.below", programs, source);
    evidence.kernel("cgroups.below", places.len(), source);
    let is_own = pods::cgroup_ids(&trace, &document.cgroup).len() == 1;
    evidence.kernel("pod.made", is_own, "tp_btf/cgroup_mkdir of the pod's cgroup");
    let victims = trace.events.iter().filter(|event| match &event.kind {
        EventKind::OomVictim { cgroup_id, .. } => places.contains(cgroup_id),
        _ => false,
    });
    evidence.kernel("victims", victims.count(), "tp_btf/mark_victim in these cgroups, up to the fence");
    let at = pod.dir().display().to_string();
    evidence.kernel_if("pod.memory.max", pod.read("memory.max").ok(), format!("{at}/memory.max"));
    let reached = pod.keyed("memory.events.local", "oom");
    evidence.kernel_if("pod.limit_reached", reached, format!("{at}/memory.events.local"));
    facts::keep_trace(&mut evidence, &trace, |kind| {
        pods::tells(kind) || matches!(kind, EventKind::CgroupMkdir { .. })
    });
    Ok(evidence)
}

/// Takes all processes of a pod from the OOM killer's choice, those of one container left out.
fn spare_all_but(container: &str, pod: &str) -> Result<(), Obstacle> {
    let failed = |op, path: PathBuf| move |source| Obstacle::Node { op, path, source };
    let (pod, chosen) = (Cgroup::at(pod).dir().to_owned(), Cgroup::at(container).dir().to_owned());
    for entry in fs::read_dir(&pod).map_err(failed("list", pod.clone()))? {
        let dir = entry.map_err(failed("list", pod.clone()))?.path();
        if dir == chosen || !dir.is_dir() {
            continue;
        }
        let procs = dir.join("cgroup.procs");
        for pid in fs::read_to_string(&procs).map_err(failed("read", procs.clone()))?.lines() {
            let path = PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
            fs::write(&path, OOM_SCORE_ADJ_MIN).map_err(failed("write", path.clone()))?;
        }
    }
    Ok(())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (killed, called) = (side.number("killed")?, side.number("called")?);
    Ok(Finding::new(
        killed == 1 && called == 1,
        "one container is killed, and the other goes on",
        format!("{killed} were killed, {called} called"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("programs.below")? + side.number("victims")? == 0 {
        return Err(Gap("the execs of the containers' programs".to_owned()));
    }
    let (programs, places) = (side.number("programs.below")?, side.number("cgroups.below")?);
    let (made, victims) = (side.flag("pod.made")?, side.number("victims")?);
    let (limit, reached) = (side.text("pod.memory.max")?, side.number("pod.limit_reached")?);
    let below = Finding::new(
        made && programs == 2 && places == 2,
        "two programs in two cgroups below the pod's own",
        format!("{programs} programs in {places} cgroups below the pod's, which was made: {made}"),
    );
    let capped = Finding::new(
        victims == 1 && limit == LIMIT.to_string() && reached > 0,
        "one victim, at the pod's limit",
        format!("{victims} victims; memory.max of the pod: {limit}, reached {reached} times"),
    );
    Ok(below.and(capped))
}
