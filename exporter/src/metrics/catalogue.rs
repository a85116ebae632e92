//! Every metric that is exported.

use super::collector::Collector;
use super::family::{Family, Kind};

macro_rules! families {
    ($($id:ident: $kind:ident $collector:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            pub(crate) static $id: Family = Family {
                name: concat!("podproof_", $name),
                kind: Kind::$kind,
                collector: Collector::$collector,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the order of the documentation.
        pub static FAMILIES: &[&Family] = &[$(&$id),*];
    };
}

families! {
    CONTAINER_INFO: Gauge Always "container_info" ["namespace", "pod", "container", "container_id", "pod_uid", "container_type", "runtime", "qos_class"] "Static identity of a container seen on this node";
    CONTAINER_START_TIME_SECONDS: Gauge Always "container_start_time_seconds" ["namespace", "pod", "container"] "Unix time at which the container's first process started";
    FORKS: Counter Forks "forks_total" ["namespace", "pod", "container", "kind"] "Tasks created, counted in the child's cgroup";
    FORK_FAILURES: Counter Forks "fork_failures_total" ["namespace", "pod", "container", "errno"] "Task creations refused by the kernel";
    EXECS: Counter Forks "execs_total" ["namespace", "pod", "container"] "Successful program executions";
    EXITS: Counter Forks "exits_total" ["namespace", "pod", "container", "reason"] "Processes that ended, by how";
    PROCESSES: Gauge Forks "processes" ["namespace", "pod", "container"] "Processes alive now, zombies not included";
    ZOMBIE_PROCESSES: Gauge Zombies "zombie_processes" ["namespace", "pod", "container", "parent"] "Processes that have exited and wait to be reaped, by who should reap them";
    ZOMBIE_OLDEST_AGE_SECONDS: Gauge Zombies "zombie_oldest_age_seconds" ["namespace", "pod", "container"] "Age of the longest-waiting zombie, 0 if there is none";
    ZOMBIE_DURATION_SECONDS: Histogram ZombieHistogram "zombie_duration_seconds" ["namespace", "pod", "container"] "Time between a process's exit and its reaping";
    REAPS: Counter Zombies "reaps_total" ["namespace", "pod", "container", "reaper"] "Processes reaped, by the kind of task that reaped them";
    ORPHANS_REPARENTED: Counter Zombies "orphans_reparented_total" ["namespace", "pod", "container", "new_parent"] "Processes whose parent died first, by who inherited them";
    WAIT_CALLS: Counter Zombies "wait_calls_total" ["namespace", "pod", "container", "outcome"] "Completed wait4 and waitid calls by result";
    INIT_EXITS: Counter Init "init_exits_total" ["namespace", "pod", "container", "reason"] "Ends of a process that was PID 1 of its PID namespace";
    SANDBOX_INIT_UP: Gauge Init "sandbox_init_up" ["namespace", "pod"] "1 while a process of the pod's sandbox is alive";
    NAMESPACE_KILLED_PROCESSES: Counter Init "namespace_killed_processes_total" ["namespace", "pod", "container"] "Processes the kernel killed because their PID namespace lost PID 1";
    NAMESPACES_CREATED: Counter Namespaces "namespaces_created_total" ["namespace", "pod", "container", "namespace_type", "operation"] "Linux namespaces created";
    NAMESPACES_JOINED: Counter Namespaces "namespaces_joined_total" ["namespace", "pod", "container", "namespace_type", "origin"] "Linux namespaces entered with setns; outside: by a caller in the mount namespace of the node's PID 1, where runtimes are as a rule; inside: by any other";
    NAMESPACE_FAILURES: Counter Namespaces "namespace_failures_total" ["namespace", "pod", "container", "operation", "errno"] "Refused namespace operations";
    NAMESPACE_FLAG_SETS: Counter Namespaces "namespace_flag_sets_total" ["operation", "flags"] "Calls that made or entered Linux namespaces, by the exact set of them";
    OOM_KILLS: Counter Oom "oom_kills_total" ["namespace", "pod", "container", "constraint"] "Processes killed by the OOM killer, in the victim's container";
    MEMORY_EVENTS: Counter Oom "memory_events_total" ["namespace", "pod", "container", "event"] "Memory limit events as the kernel reports them";
    CPU_PERIODS: Counter Cpu "cpu_periods_total" ["namespace", "pod", "container"] "CPU bandwidth periods that have passed";
    CPU_THROTTLED_PERIODS: Counter Cpu "cpu_throttled_periods_total" ["namespace", "pod", "container"] "Periods in which the container ran out of quota";
    CPU_THROTTLED_SECONDS: Counter Cpu "cpu_throttled_seconds_total" ["namespace", "pod", "container"] "Time the container's runnable tasks were held back";
    CPU_THROTTLE_DURATION_SECONDS: Histogram ThrottleHistogram "cpu_throttle_duration_seconds" ["namespace", "pod", "container"] "Length of single throttling episodes per run queue";
    PIDS: Gauge Pids "pids" ["namespace", "pod", "container"] "Tasks charged to the pids controller, zombies included";
    PIDS_LIMIT: Gauge Pids "pids_limit" ["namespace", "pod", "container"] "Limit of the pids controller; absent when unlimited";
    PIDS_LIMIT_HITS: Counter Pids "pids_limit_hits_total" ["namespace", "pod", "container"] "Forks the pids controller refused";
    CGROUP_MIGRATIONS: Counter Always "cgroup_migrations_total" ["namespace", "pod", "container", "direction"] "Tasks moved between cgroups after creation";
    CGROUPS_CREATED: Counter Always "cgroups_created_total" [] "cgroup directories made on this node";
    CGROUPS_REMOVED: Counter Always "cgroups_removed_total" [] "cgroup directories removed on this node";
    NODE_FORKS: Counter Always "node_forks_total" ["kind"] "All tasks created on the node";
    NODE_EXECS: Counter Always "node_execs_total" [] "All program executions on the node";
    NODE_EXITS: Counter Always "node_exits_total" [] "All ends of processes on the node";
    NODE_REAPS: Counter Always "node_reaps_total" [] "All reaps of processes on the node";
    NODE_OOM_KILLS: Counter Always "node_oom_kills_total" [] "All OOM kills on the node";
    NODE_INIT_EXITS: Counter Always "node_init_exits_total" [] "All ends of a PID 1 of a PID namespace on the node";
    UNATTRIBUTED_EVENTS: Counter Always "unattributed_events_total" ["event", "reason"] "Events counted for the node but for no container";
    BUILD_INFO: Gauge Always "build_info" ["version", "revision", "rustversion", "kernel", "cgroup_mode"] "Build and environment";
    ACCOUNTING_START_TIME_SECONDS: Gauge Always "accounting_start_time_seconds" [] "Unix time at which the counters began";
    PROBE_ATTACHED: Gauge Always "probe_attached" ["probe", "mechanism", "required"] "1 if this hook is in place";
    EVENTS_LOST: Counter Always "events_lost_total" ["event", "reason"] "Updates that did not make it; the event is the map of the kernel side that had to take them";
    MAP_ENTRIES: Gauge Always "map_entries" ["map"] "Entries of a map of the kernel side";
    MAP_CAPACITY: Gauge Always "map_capacity" ["map"] "Entries that a map of the kernel side can have";
    MAP_UPDATE_ERRORS: Counter Always "map_update_errors_total" ["map", "errno"] "Entries that a map of the kernel side has refused";
    TRACKED_PROCESSES: Gauge Always "tracked_processes" [] "Zombies and orphans that are kept track of";
    TRACKED_CONTAINERS: Gauge Always "tracked_containers" [] "Series of containers, pods and the host";
    TOMBSTONES: Gauge Always "tombstones" [] "Removed cgroups whose counters are kept for a while";
    CGROUP_RESOLUTIONS: Counter Always "cgroup_resolutions_total" ["source", "result"] "From the id of a cgroup to its path";
    METADATA_RESOLUTIONS: Counter Always "metadata_resolutions_total" ["source", "result"] "From the path of a cgroup to pod and container";
    SERIES: Gauge Always "series" [] "Exported series, those of the exporter's process with them";
    SERIES_LIMIT: Gauge Always "series_limit" [] "Series of containers that there may be";
    SERIES_LIMITED: Counter Always "series_limited_total" [] "Containers, sandboxes and pods that were folded into the container _overflow, each as often as it was started";
    RECONCILE_DIFFERENCES: Counter Always "reconcile_differences_total" ["what"] "Corrections after comparing with procfs and cgroupfs";
    RECONCILE_LAST_SUCCESS_TIMESTAMP_SECONDS: Gauge Always "reconcile_last_success_timestamp_seconds" [] "Unix time of the last complete comparison with procfs and cgroupfs";
    SCRAPE_COLLECTOR_DURATION_SECONDS: Gauge Always "scrape_collector_duration_seconds" ["collector"] "Time that a collector took in this scrape";
    SCRAPE_COLLECTOR_SUCCESS: Gauge Always "scrape_collector_success" ["collector"] "1 if a collector succeeded in this scrape";
    WEB_INSECURE: Gauge Always "web_insecure" [] "1 while a listener that is not the loopback's serves without TLS";
    PROBE_RUNS: Counter Always "probe_runs_total" ["probe"] "Executions of a probe; present while the kernel's BPF statistics are on";
    PROBE_RUN_SECONDS: Counter Always "probe_run_seconds_total" ["probe"] "Time in a probe; present while the kernel's BPF statistics are on";
    PROBE_MISSED: Counter Always "probe_missed_total" ["probe"] "Executions of a probe that the kernel skipped because of recursion";
    HTTP_REQUESTS: Counter Always "http_requests_total" ["handler", "code"] "HTTP requests served";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What dashboards and alerts rely on: a name, a type or a label that changes is a breaking change.
    #[test]
    fn names_types_and_labels_are_those_of_the_golden_list() {
        let line = |family: &&Family| {
            let kind = format!("{:?}", family.kind).to_lowercase();
            format!("{} {kind} {}\n", family.name, family.labels.join(","))
        };
        let found: String = FAMILIES.iter().map(line).collect();
        assert_eq!(found, include_str!("golden.txt"));
    }
}
