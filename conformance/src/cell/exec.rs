//! Further processes in a container that runs, by the runtime's `exec`.

use std::fs;

use podproof_witness::WITNESS_PATH;

use super::{Cell, Container, Obstacle, succeeded};

impl Cell<'_> {
    /// Executes one more witness in a running container, and waits for it to call.
    ///
    /// # Errors
    /// When the runtime refuses it or no witness calls.
    pub fn exec_witness(&mut self, container: &Container, name: &str) -> Result<Container, Obstacle> {
        let pid_file = self.dir.join("bundles").join(format!("{name}.pid"));
        let path = pid_file.display().to_string();
        let argv = ["exec", "--detach", "--pid-file", &path, &container.id];
        let call = self.call(&[&argv[..], &[WITNESS_PATH, "serve", "--name", name]].concat())?;
        succeeded(&call)?;
        let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
        let mut executed = Container {
            id: container.id.clone(),
            name: name.to_owned(),
            pid: pid.ok_or_else(|| Obstacle::Runtime(format!("{} wrote no pid file", call.line)))?,
            link: None,
            cgroup: container.cgroup.clone(),
            program: WITNESS_PATH.to_owned(),
        };
        self.greet(&mut executed)?;
        Ok(executed)
    }
}
