//! Random pods in random worlds: whatever happens, the rules that [`World`](super::world::World) checks hold, and the pod comes to
//! its end in time.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::world::{Behaviour, HookBehaviour, World};
use super::*;
use crate::spec::RestartRule;

fn policies() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)]
}

fn rules() -> impl Strategy<Value = Vec<RestartRule>> {
    let rule = (any::<bool>(), vec(0..4, 1..3)).prop_map(|(is_in, codes)| RestartRule { is_in, codes });
    prop_oneof![4 => Just(Vec::new()), 1 => vec(rule, 1..3)]
}

fn containers(kind: ContainerKind) -> impl Strategy<Value = ContainerSpec> {
    (policies(), rules(), any::<(bool, bool)>()).prop_map(
        move |(policy, rules, (has_post_start, has_pre_stop))| {
            let mut spec = match kind {
                ContainerKind::Sidecar => sidecar(),
                _ => ContainerSpec { restart_rules: rules, ..container("c", kind, policy) },
            };
            if kind != ContainerKind::Init && has_post_start {
                spec = with_post_start(spec);
            }
            if kind != ContainerKind::Init && has_pre_stop {
                spec = with_pre_stop(spec);
            }
            spec
        },
    )
}

fn pods() -> impl Strategy<Value = PodSpec> {
    let first = prop_oneof![containers(ContainerKind::Init), containers(ContainerKind::Sidecar)];
    let grace = prop_oneof![1 => Just(0), 4 => 1..40_000_u64];
    let active = prop_oneof![4 => Just(None), 1 => (1..200_000_u64).prop_map(Some)];
    (vec(first, 0..4), vec(containers(ContainerKind::Main), 1..4), grace, active).prop_map(
        |(mut first, mains, grace_ms, active_ms)| {
            first.extend(mains);
            for (index, container) in first.iter_mut().enumerate() {
                container.name = format!("c{index}");
            }
            let grace_period = Duration::from_millis(grace_ms);
            PodSpec { grace_period, active_deadline: active_ms.map(Duration::from_millis), ..pod(first) }
        },
    )
}

fn hooks() -> impl Strategy<Value = HookBehaviour> {
    option::weighted(0.8, (0..20_000_u64, prop::bool::weighted(0.8)))
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let failures = prop_oneof![
        8 => Just(None),
        1 => Just(Some("RunContainerError")),
        1 => Just(Some("CreateContainerError")),
    ];
    let runs = prop_oneof![
        3 => (0..2_000_u64).prop_map(Some),
        1 => (0..1_000_000_u64).prop_map(Some),
        1 => Just(None),
    ];
    let signals = option::weighted(0.7, 0..10_000_u64);
    let codes = prop_oneof![2 => Just(0), 1 => 1..4_i32];
    ((0..1_500_u64, failures), runs, codes, signals, 0..100_u64, hooks(), hooks()).prop_map(
        |((start_ms, start_failure), run_ms, code, obeys_ms, kill_ms, post_start, pre_stop)| Behaviour {
            start_ms,
            start_failure,
            run_ms,
            code,
            obeys_ms,
            kill_ms,
            post_start,
            pre_stop,
        },
    )
}

/// Stops, and events that cannot be.
fn events() -> impl Strategy<Value = Event> {
    let stops = option::of(0..30_000_u64)
        .prop_map(|grace_ms| Event::Stop { grace_period: grace_ms.map(Duration::from_millis) });
    let hooks = prop_oneof![Just(Hook::PostStart), Just(Hook::PreStop)];
    prop_oneof![
        6 => stops,
        1 => Just(Event::Stop { grace_period: Some(Duration::ZERO) }),
        1 => Just(Event::Evict { message: "too much".into() }),
        1 => Just(Event::SandboxEnded),
        2 => Just(Event::Tick),
        1 => Just(Event::Begin),
        1 => (90..99_usize).prop_map(Event::Started),
        1 => (90..99_usize).prop_map(|index| Event::Ended(index, exit(0))),
        1 => (90..99_usize, hooks).prop_map(|(container, hook)| Event::HookEnded { container, hook, failure: None }),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (prop_oneof![Just(0), 1..20_000_u64], 1..400_000_u64, 1_000..700_000_u64).prop_map(
        |(base, max, reset)| Settings {
            backoff_base: Duration::from_millis(base),
            backoff_max: Duration::from_millis(max),
            backoff_reset: Duration::from_millis(reset),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pod_keeps_the_rules_in_any_world(
        spec in pods(),
        settings in settings(),
        runs in vec(vec(behaviours(), 1..4), 7),
        events in vec((0..120_000_u64, events()), 0..4),
        begin_ms in 0..2_000_u64,
    ) {
        let mut world = World::new(spec, settings, runs);
        world.tell_at(begin_ms, Event::Begin);
        for (at_ms, event) in events {
            world.tell_at(at_ms, event);
        }
        world.live();
    }
}
