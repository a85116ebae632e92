//! QEMU's machine protocol, the part that is needed here: negotiation, events, and commands whose answers
//! carry at most a status. One JSON object a line (docs/interop/qmp-spec.txt of QEMU).

use serde_json::{Value, json};

/// What QEMU said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QmpMessage {
    /// The first line; commands are refused until the capabilities are negotiated.
    Greeting,
    /// The machine is going down.
    Shutdown {
        /// `guest-shutdown`, `guest-reset`, `guest-panic`, `host-signal` and others.
        reason: String,
    },
    /// The virtual CPUs stand still.
    Stop,
    /// Answer to `query-status`.
    Status(String),
    /// A command was refused.
    Refused(String),
    /// Nothing of interest here.
    Other,
}

/// Commands, as bytes to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QmpCommand {
    Capabilities,
    QueryStatus,
    InjectNmi,
}

impl QmpCommand {
    pub(crate) fn line(self) -> Vec<u8> {
        let name = match self {
            Self::Capabilities => "qmp_capabilities",
            Self::QueryStatus => "query-status",
            Self::InjectNmi => "inject-nmi",
        };
        let mut line = json!({ "execute": name, "id": name }).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

/// Reads one line; what cannot be parsed is nothing of interest.
pub(crate) fn parse(line: &[u8]) -> QmpMessage {
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return QmpMessage::Other };
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    if value.get("QMP").is_some() {
        QmpMessage::Greeting
    } else if let Some(event) = text("/event") {
        match event.as_str() {
            "SHUTDOWN" => QmpMessage::Shutdown { reason: text("/data/reason").unwrap_or_default() },
            "STOP" => QmpMessage::Stop,
            _ => QmpMessage::Other,
        }
    } else if let Some(error) = text("/error/desc") {
        QmpMessage::Refused(format!("{}: {error}", text("/id").unwrap_or_default()))
    } else if let Some(status) = text("/return/status") {
        QmpMessage::Status(status)
    } else {
        QmpMessage::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_qemu_are_understood() {
        let greeting = br#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#;
        assert_eq!(parse(greeting), QmpMessage::Greeting);
        let shutdown = br#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
        assert_eq!(parse(shutdown), QmpMessage::Shutdown { reason: "guest-reset".into() });
        assert_eq!(parse(br#"{"event": "STOP"}"#), QmpMessage::Stop);
        assert_eq!(parse(br#"{"event": "RTC_CHANGE"}"#), QmpMessage::Other);
        assert_eq!(parse(br#"{"return": {}, "id": "qmp_capabilities"}"#), QmpMessage::Other);
        let status = br#"{"return": {"status": "internal-error", "singlestep": false, "running": false}, "id": "query-status"}"#;
        assert_eq!(parse(status), QmpMessage::Status("internal-error".into()));
        let refused = br#"{"id": "inject-nmi", "error": {"class": "GenericError", "desc": "no NMI"}}"#;
        assert_eq!(parse(refused), QmpMessage::Refused("inject-nmi: no NMI".into()));
        assert_eq!(parse(b"torn {"), QmpMessage::Other);
    }

    #[test]
    fn commands_are_lines() {
        assert_eq!(QmpCommand::InjectNmi.line(), b"{\"execute\":\"inject-nmi\",\"id\":\"inject-nmi\"}\n");
    }
}
