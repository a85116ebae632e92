//! A pod on a simulated clock, and the rules one by one; [`properties`] has random pods in random worlds.

mod order;
mod properties;
mod restart;
mod status;
mod stop;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Action, Event, Exit, Hook, Machine, Now, Settings};
use crate::spec::{
    ContainerKind, ContainerSpec, DnsSpec, HookSpec, ImageRef, PodSpec, Resources, RestartPolicy,
    SecuritySpec,
};
use crate::status::{ContainerState, ContainerStatus, Phase, Termination};

const KUBELET: Settings = Settings {
    backoff_base: Duration::from_secs(10),
    backoff_max: Duration::from_secs(300),
    backoff_reset: Duration::from_secs(600),
};

/// A pod named `web` with a grace period of 30 s.
fn pod(containers: Vec<ContainerSpec>) -> PodSpec {
    PodSpec {
        name: "web".into(),
        namespace: "default".into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        hostname: "web".into(),
        host_aliases: Vec::new(),
        dns: DnsSpec::default(),
        is_host_network: false,
        is_host_pid: false,
        is_host_ipc: false,
        shares_pids: false,
        restart_policy: RestartPolicy::Always,
        grace_period: Duration::from_secs(30),
        active_deadline: None,
        sysctls: BTreeMap::new(),
        fs_group: None,
        resources: Resources::default(),
        volumes: Vec::new(),
        containers,
    }
}

fn container(name: &str, kind: ContainerKind, restart_policy: RestartPolicy) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        kind,
        restart_policy,
        restart_rules: Vec::new(),
        image: ImageRef::Directory("/rootfs".into()),
        command: None,
        args: None,
        working_dir: None,
        env: Vec::new(),
        resources: Resources::default(),
        security: SecuritySpec::default(),
        mounts: Vec::new(),
        post_start: None,
        pre_stop: None,
        stop_signal: None,
        termination_message_path: "/dev/termination-log".into(),
        is_message_from_logs: false,
    }
}

fn main(restart_policy: RestartPolicy) -> ContainerSpec {
    container("main", ContainerKind::Main, restart_policy)
}

fn init(restart_policy: RestartPolicy) -> ContainerSpec {
    container("init", ContainerKind::Init, restart_policy)
}

fn sidecar() -> ContainerSpec {
    container("sidecar", ContainerKind::Sidecar, RestartPolicy::Always)
}

fn with_post_start(mut container: ContainerSpec) -> ContainerSpec {
    container.post_start = Some(HookSpec::Exec(vec!["post".into()]));
    container
}

fn with_pre_stop(mut container: ContainerSpec) -> ContainerSpec {
    container.pre_stop = Some(HookSpec::Exec(vec!["pre".into()]));
    container
}

fn exit(code: i32) -> Exit {
    Exit { code, signal: None, is_oom: false, message: String::new() }
}

fn wall(time: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + time
}

/// A machine and its clock, in milliseconds.
struct Pod {
    machine: Machine,
    now_ms: u64,
}

impl Pod {
    fn new(spec: &PodSpec) -> Self {
        Self::with(spec, KUBELET)
    }

    fn with(spec: &PodSpec, settings: Settings) -> Self {
        Self { machine: Machine::new(spec, settings, Self::time(0)), now_ms: 0 }
    }

    /// A pod of main containers that all run.
    fn running(spec: &PodSpec) -> Self {
        let mut pod = Self::new(spec);
        let mut actions = pod.event(Event::Begin);
        while let [Action::Start(index)] = actions[..] {
            actions = pod.started(index);
        }
        assert_eq!(actions, []);
        pod
    }

    fn time(ms: u64) -> Now {
        let monotonic = Duration::from_millis(ms);
        Now { monotonic, wall: wall(monotonic) }
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.machine.handle(event, Self::time(self.now_ms))
    }

    fn started(&mut self, index: usize) -> Vec<Action> {
        self.event(Event::Started(index))
    }

    fn ended(&mut self, index: usize, code: i32) -> Vec<Action> {
        self.event(Event::Ended(index, exit(code)))
    }

    fn not_started(&mut self, index: usize, reason: &str) -> Vec<Action> {
        self.event(Event::NotStarted { container: index, reason: reason.into(), message: "why".into() })
    }

    fn hook_ended(&mut self, index: usize, hook: Hook) -> Vec<Action> {
        self.event(Event::HookEnded { container: index, hook, failure: None })
    }

    fn hook_failed(&mut self, index: usize, hook: Hook) -> Vec<Action> {
        self.event(Event::HookEnded { container: index, hook, failure: Some("exit code 1".into()) })
    }

    fn stop(&mut self, seconds: u64) -> Vec<Action> {
        self.event(Event::Stop { grace_period: Some(Duration::from_secs(seconds)) })
    }

    /// Lets time pass, with a tick at each deadline; the actions with their times.
    fn pass(&mut self, ms: u64) -> Vec<(u64, Action)> {
        let end = self.now_ms + ms;
        let mut actions = Vec::new();
        while let Some(deadline) =
            self.machine.deadline().filter(|deadline| *deadline <= Duration::from_millis(end))
        {
            let deadline_ms = u64::try_from(deadline.as_millis()).unwrap();
            assert!(deadline_ms > self.now_ms, "a deadline that a tick does not move: {deadline:?}");
            self.now_ms = deadline_ms;
            actions.extend(self.event(Event::Tick).into_iter().map(|action| (deadline_ms, action)));
        }
        self.now_ms = end;
        assert_eq!(self.event(Event::Tick), [], "something was due that no deadline told of");
        actions
    }

    fn container(&self, index: usize) -> ContainerStatus {
        self.machine.status().containers.swap_remove(index)
    }

    /// Reason and message of a container that waits.
    fn waiting(&self, index: usize) -> (String, String) {
        match self.container(index).state {
            ContainerState::Waiting { reason, message } => (reason, message),
            state => panic!("container {index} does not wait: {state:?}"),
        }
    }

    fn termination(&self, index: usize) -> Termination {
        match self.container(index).state {
            ContainerState::Terminated(termination) => termination,
            state => panic!("container {index} has not ended: {state:?}"),
        }
    }

    fn phase(&self) -> Phase {
        self.machine.status().phase
    }
}
