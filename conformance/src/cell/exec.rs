//! A second program in a container, by the runtime's `exec`.

use std::fs;

use podproof_witness::WITNESS_PATH;

use super::{Cell, Container, Obstacle, succeeded};

impl Cell<'_> {
    /// Executes a witness in a container without waiting for its end, and waits until it says hello. It shares the
    /// container's id and cgroup.
    ///
    /// # Errors
    /// When the runtime refuses it or no witness calls.
    pub fn exec_witness(&mut self, container: &Container, name: &str) -> Result<Container, Obstacle> {
        let pid_file = self.dir.join(format!("exec-{name}.pid"));
        let pid_path = pid_file.display().to_string();
        let program = [WITNESS_PATH, "serve", "--name", name];
        let call = ["exec", "--detach", "--pid-file", &pid_path, &container.id];
        succeeded(&self.call(&[call.as_slice(), program.as_slice()].concat())?)?;
        let link = self.listener.hello(name, self.deadline(10.0))?;
        Ok(Container {
            id: container.id.clone(),
            name: name.to_owned(),
            pid: fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            link: Some(link),
            cgroup: container.cgroup.clone(),
            program: WITNESS_PATH.to_owned(),
        })
    }
}
