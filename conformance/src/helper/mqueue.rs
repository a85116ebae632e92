//! A POSIX message queue of the node (mq_overview(7)).

use anyhow::{Context, Result};
use clap::ValueEnum;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_close, mq_open, mq_unlink};
use nix::sys::stat::Mode;

/// What to do with it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Act {
    /// Make it.
    Make,
    /// Look for it.
    Find,
    /// Remove it.
    Remove,
}

pub(super) fn act(act: Act, name: &str) -> Result<()> {
    match act {
        Act::Make => {
            let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDONLY;
            let queue = mq_open(name, flags, Mode::S_IRUSR, Some(&MqAttr::new(0, 1, 1, 0)))
                .with_context(|| format!("make {name}"))?;
            mq_close(queue).with_context(|| format!("close {name}"))
        }
        Act::Find => {
            let found = mq_open(name, MQ_OFlag::O_RDONLY, Mode::empty(), None).and_then(mq_close);
            println!("{}", found.err().map_or(0, |errno| errno as i32));
            Ok(())
        }
        Act::Remove => mq_unlink(name).with_context(|| format!("remove {name}")),
    }
}
