//! Paths of real hierarchies; ids and uids are filled in.

use std::path::PathBuf;

use crate::identity::QosClass;

/// Stand for themselves in a template: a container, the container that is a node of kind, a pod of podman's.
pub(super) const A: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
const N: &str = "fbc411e743aa89de421746b3fc92e4fa475d0f2dc92967fb39c2f78574799701";
const P: &str = "aed1dcce39a52379aaa25179323c2597863a7a9bc9a974950c58d6b5ea4f04e7";
/// A pod's uid with dashes, and that of a static pod.
pub(super) const U: &str = "2c48913c-b29f-11e7-9350-020968147796";
const S: &str = "09a70ae9ccc491e651e5c773579b3490";

/// Fills in a template; `{V}` is the uid as systemd has it.
pub(super) fn fill(template: &str) -> PathBuf {
    let values = [("{A}", A), ("{N}", N), ("{P}", P), ("{U}", U), ("{S}", S), ("{V}", &U.replace('-', "_"))];
    values.iter().fold(template.to_owned(), |path, (key, value)| path.replace(key, value)).into()
}

/// A template and what it is: runtime, container id, pod uid, class. `D` behind a runtime: it is delegated.
type Fixture = (&'static str, &'static str, &'static str, &'static str, Option<QosClass>);

const GUARANTEED: Option<QosClass> = Some(QosClass::Guaranteed);
const BURSTABLE: Option<QosClass> = Some(QosClass::Burstable);
const BEST_EFFORT: Option<QosClass> = Some(QosClass::BestEffort);

/// Containers.
pub(super) const CONTAINERS: &[Fixture] = &[
    // The kubelet with cgroupfs.
    ("/kubepods/burstable/pod{U}/{A}", "cri", A, U, BURSTABLE),
    ("/kubepods/besteffort/pod{U}/{A}", "cri", A, U, BEST_EFFORT),
    ("/kubepods/pod{U}/{A}", "cri", A, U, GUARANTEED),
    ("/kubepods/burstable/pod{S}/{A}", "cri", A, S, BURSTABLE),
    ("/kubepods/burstable/pod{U}/crio-{A}", "cri-o", A, U, BURSTABLE),
    // The kubelet with systemd.
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{V}.slice/cri-containerd-{A}.scope",
        "containerd",
        A,
        U,
        BURSTABLE,
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{V}.slice/crio-{A}.scope",
        "cri-o",
        A,
        U,
        BEST_EFFORT,
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{V}.slice/docker-{A}.scope",
        "docker",
        A,
        U,
        BEST_EFFORT,
    ),
    ("/kubepods.slice/kubepods-pod{V}.slice/cri-containerd-{A}.scope", "containerd", A, U, GUARANTEED),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{S}.slice/cri-containerd-{A}.scope",
        "containerd",
        A,
        S,
        BURSTABLE,
    ),
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{U}.slice/docker-{A}.scope",
        "docker",
        A,
        U,
        BURSTABLE,
    ),
    ("/kubepods-besteffort-pod{V}.slice:cri-containerd:{A}", "containerd", A, U, BEST_EFFORT),
    ("/kubepods-pod{V}.slice:crio:{A}", "cri-o", A, U, GUARANTEED),
    (
        "/system.slice/containerd.service/kubepods-burstable-pod{V}.slice:cri-containerd:{A}",
        "containerd",
        A,
        U,
        BURSTABLE,
    ),
    // --cgroup-root, k3s and kind.
    ("/kubelet/kubepods/besteffort/pod{U}/{A}", "cri", A, U, BEST_EFFORT),
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{V}.slice/cri-containerd-{A}.scope",
        "containerd",
        A,
        U,
        GUARANTEED,
    ),
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{V}.slice/cri-containerd-{A}.scope",
        "containerd",
        A,
        U,
        BEST_EFFORT,
    ),
    ("/docker/{N}/kubelet/kubepods/pod{U}/{A}", "cri D", A, U, GUARANTEED),
    (
        "/docker/{N}/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{V}.slice/crio-{A}.scope",
        "cri-o D",
        A,
        U,
        BEST_EFFORT,
    ),
    (
        "/docker/{N}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{V}.slice/cri-containerd-{A}.scope",
        "containerd D",
        A,
        U,
        BEST_EFFORT,
    ),
    (
        "/system.slice/docker-{N}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{V}.slice/cri-containerd-{A}.scope",
        "containerd D",
        A,
        U,
        BURSTABLE,
    ),
    ("/system.slice/docker-{N}.scope/kubelet/kubepods/burstable/pod{S}/{A}", "cri D", A, S, BURSTABLE),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{N}.scope/kubelet/kubepods/burstable/pod{S}/{A}",
        "cri D",
        A,
        S,
        BURSTABLE,
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/burstable/pod{U}/{A}",
        "cri D",
        A,
        U,
        BURSTABLE,
    ),
    ("/lxc.payload.node1/kubepods/pod{U}/{A}", "cri D", A, U, GUARANTEED),
    // CRI implementations outside the kubelet's hierarchy: sandboxes of crictl.
    ("/system.slice/crio-{A}.scope", "cri-o", A, "", None),
    ("/system.slice/system-getty.slice/cri-containerd-{A}.scope", "containerd", A, "", None),
    // containerd.
    ("/default/{A}", "containerd", A, "", None),
    ("/default/redis-server", "containerd", "redis-server", "", None),
    ("/k8s.io/{A}", "containerd", A, "", None),
    ("/system.slice/nerdctl-{A}.scope", "containerd", A, "", None),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{A}.scope",
        "containerd D",
        A,
        "",
        None,
    ),
    // docker.
    ("/docker/{A}", "docker", A, "", None),
    ("/docker-ce/docker/{A}", "docker", A, "", None),
    ("/system.slice/docker-{A}.scope", "docker", A, "", None),
    ("/system.slice/system.slice:docker:{A}", "docker", A, "", None),
    ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", "docker D", A, "", None),
    ("/docker/buildkit/n4eu0udvbz9vfzjy71jkvgkwh", "buildkit", "n4eu0udvbz9vfzjy71jkvgkwh", "", None),
    ("/docker/{N}/docker/{A}", "docker D", A, "", None),
    ("/docker/{N}/system.slice/docker-{A}.scope", "docker D", A, "", None),
    ("/machine.slice/libpod-{N}.scope/docker/{A}", "docker D", A, "", None),
    // Amazon ECS: docker below a parent of its agent's.
    ("/ecs/0410eff2-7e59-4111-823e-1e0d98ef7f30/{A}", "oci", A, "", None),
    // podman.
    ("/machine.slice/libpod-{A}.scope", "podman", A, "", None),
    ("/machine.slice/machine-libpod_pod_{P}.slice/libpod-{A}.scope", "podman", A, P, None),
    (
        "/user.slice/user-1001.slice/user@1001.service/user.slice/user-libpod_pod_{P}.slice/libpod-{A}.scope",
        "podman D",
        A,
        P,
        None,
    ),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/libpod-{A}.scope", "podman D", A, "", None),
    ("/system.slice/nginx.service/libpod-payload-{A}", "podman", A, "", None),
    ("/libpod_parent/libpod-{A}", "podman", A, "", None),
    ("/libpod_parent/{P}/libpod-{A}", "podman", A, P, None),
    // Runtimes without an engine.
    ("/system.slice/runc-bpm-galera-agent.scope", "runc", "bpm-galera-agent", "", None),
    ("/user.slice/crun-web.scope", "crun", "web", "", None),
    ("/system.slice/youki-569d5ce3afe1074769f67.scope", "youki", "569d5ce3afe1074769f67", "", None),
    ("/:youki:569d5ce3afe1074769f67", "youki", "569d5ce3afe1074769f67", "", None),
    ("/:crun:web", "crun", "web", "", None),
    ("/{A}", "oci", A, "", None),
    ("/user.slice/user-0.slice/{A}", "oci", A, "", None),
    ("/system.slice/my-engine-{A}.scope", "oci", A, "", None),
    // podrt, as an OCI runtime and with pods.
    ("/podrt/demo_1", "podrt", "demo_1", "", None),
    ("/podrt-pods/classic/web", "podrt", "web", "classic", None),
    ("/podrt-pods/a.b-c/docker", "podrt", "docker", "a.b-c", None),
    ("/docker/{N}/podrt-pods/classic/web", "podrt D", "web", "classic", None),
];

/// Pods: the path of one, what is in it beside containers (empty: the pod itself), runtime, pod uid, class.
pub(super) const PODS: &[Fixture] = &[
    ("/kubepods/burstable/pod{U}", "", "kubelet", U, BURSTABLE),
    ("/kubepods/pod{S}", "", "kubelet", S, GUARANTEED),
    ("/kubepods.slice/kubepods-pod{V}.slice", "", "kubelet", U, GUARANTEED),
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{V}.slice",
        "",
        "kubelet",
        U,
        BURSTABLE,
    ),
    ("/kubepods.slice/kubepods-pod{V}.slice", "crio-conmon-{A}.scope", "kubelet", U, GUARANTEED),
    ("/kubepods/burstable/pod{U}", "crio-conmon-{A}", "kubelet", U, BURSTABLE),
    ("/kubepods/burstable/pod{U}", "web", "kubelet", U, BURSTABLE),
    ("/machine.slice/machine-libpod_pod_{P}.slice", "", "podman", P, None),
    ("/machine.slice/machine-libpod_pod_{P}.slice", "libpod-conmon-{A}.scope", "podman", P, None),
    ("/libpod_parent/{P}", "", "podman", P, None),
    ("/podrt-pods/classic", "", "podrt", "classic", None),
];

/// Paths that are neither containers nor pods, nor in any.
pub(super) const OTHERS: &[&str] = &[
    "",
    "/",
    "/init.scope",
    "/system.slice",
    "/system.slice/docker.service",
    "/system.slice/containerd.service",
    "/system.slice/crio.service",
    "/system.slice/crio-conmon-{A}.scope",
    "/system.slice/{A}.service",
    "/system.slice/{A}-4c1f9a2b7d3e5f60.timer",
    "/system.slice/run-rc0ffee.scope",
    "/user.slice/user-1000.slice/session-3.scope",
    "/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.service",
    "/machine.slice/libpod-conmon-{A}.scope",
    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{A}.scope",
    "/libpod_parent/conmon",
    "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
    "/kubepods",
    "/kubepods/burstable",
    "/kubepods.slice/kubepods-besteffort.slice",
    "/kubelet.slice/kubelet-kubepods.slice",
    "/docker",
    "/docker/buildkit",
    "/default",
    "/k8s.io",
    "/podrt",
    "/podrt-pods",
    "/podrt-pods/_classic",
    "/web",
];
