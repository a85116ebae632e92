//! `process.ioPriority` and `process.scheduler` (ioprio_set(2), sched_setattr(2)).

use oci_spec::runtime as oci;

use super::SpecError;

/// An I/O priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_*`: 1 realtime, 2 best effort, 3 idle.
    pub class: u8,
    /// Level within the class, 0 to 7; 0 is served first.
    pub level: u8,
}

/// A scheduling policy with its parameters, as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value, -20 to 19.
    pub nice: i32,
    /// Static priority of the realtime policies.
    pub priority: u32,
    /// Nanoseconds in each period (deadline policy).
    pub runtime: u64,
    /// Nanoseconds (deadline policy).
    pub deadline: u64,
    /// Nanoseconds (deadline policy).
    pub period: u64,
}

/// Reads `process.ioPriority`.
pub(super) fn read_io_priority(priority: &oci::LinuxIOPriority) -> Result<IoPriority, SpecError> {
    let class = match priority.class() {
        oci::IOPriorityClass::IoprioClassRt => 1,
        oci::IOPriorityClass::IoprioClassBe => 2,
        oci::IOPriorityClass::IoprioClassIdle => 3,
    };
    match u8::try_from(priority.priority()) {
        Ok(level @ 0..=7) => Ok(IoPriority { class, level }),
        _ => Err(SpecError::invalid(
            "process.ioPriority.priority",
            format!("{} is outside 0 to 7", priority.priority()),
        )),
    }
}

/// Reads `process.scheduler`. Which parameters fit a policy is the kernel's to say.
pub(super) fn read(scheduler: &oci::Scheduler) -> Result<Scheduler, SpecError> {
    let priority = scheduler.priority().unwrap_or(0);
    let nice = scheduler.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(SpecError::invalid("process.scheduler.nice", format!("{nice} is outside -20 to 19")));
    }
    Ok(Scheduler {
        policy: policy(*scheduler.policy())?,
        flags: scheduler.flags().iter().flatten().fold(0, |flags, one| flags | flag(*one)),
        nice,
        priority: u32::try_from(priority).map_err(|_negative| {
            SpecError::invalid("process.scheduler.priority", format!("{priority} is negative"))
        })?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    })
}

fn policy(policy: oci::LinuxSchedulerPolicy) -> Result<u32, SpecError> {
    use oci::LinuxSchedulerPolicy as P;
    Ok(match policy {
        P::SchedOther => 0,
        P::SchedFifo => 1,
        P::SchedRr => 2,
        P::SchedBatch => 3,
        P::SchedIso => {
            return Err(SpecError::invalid(
                "process.scheduler.policy",
                "SCHED_ISO is reserved, and no Linux kernel implements it",
            ));
        }
        P::SchedIdle => 5,
        P::SchedDeadline => 6,
    })
}

fn flag(flag: oci::LinuxSchedulerFlag) -> u64 {
    use oci::LinuxSchedulerFlag as F;
    match flag {
        F::SchedResetOnFork => 0x01,
        F::SchedFlagReclaim => 0x02,
        F::SchedFlagDLOverrun => 0x04,
        F::SchedFlagKeepPolicy => 0x08,
        F::SchedFlagKeepParams => 0x10,
        F::SchedFlagUtilClampMin => 0x20,
        F::SchedFlagUtilClampMax => 0x40,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_become_the_numbers_of_the_kernel() {
        let text = json!({"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_KEEP_PARAMS"]});
        let scheduler = read(&serde_json::from_value(text).unwrap()).unwrap();
        assert_eq!((scheduler.policy, scheduler.nice, scheduler.flags), (3, 5, 0x10));
        let text = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 7});
        let priority = read_io_priority(&serde_json::from_value(text).unwrap()).unwrap();
        assert_eq!(priority, IoPriority { class: 3, level: 7 });
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        for text in [
            json!({"policy": "SCHED_ISO"}),
            json!({"policy": "SCHED_OTHER", "nice": 20}),
            json!({"policy": "SCHED_FIFO", "priority": -1}),
        ] {
            assert!(read(&serde_json::from_value(text.clone()).unwrap()).is_err(), "{text}");
        }
        let text = json!({"class": "IOPRIO_CLASS_BE", "priority": 8});
        assert!(read_io_priority(&serde_json::from_value(text).unwrap()).is_err());
    }
}
