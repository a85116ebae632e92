//! Errors of the specification, each with the path of the field.

/// Why a `config.json` was refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The text is not JSON, or a value has the wrong type.
    #[error("{path}")]
    Syntax {
        /// Field, or `config.json` for the whole text.
        path: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The specification defines the field and podrt does not implement it.
    #[error("{path}: not supported by this version of podrt; remove it from config.json")]
    Unsupported {
        /// Field.
        path: String,
    },
    /// A value that the specification or the kernel does not allow.
    #[error("{path}: {reason}")]
    Invalid {
        /// Field.
        path: String,
        /// What is wrong with it, with the value.
        reason: String,
    },
    /// The field must be there.
    #[error("{path}: required, and missing")]
    Missing {
        /// Field.
        path: &'static str,
    },
    /// A container id that could not be a file name.
    #[error(
        "container id {id:?}: must be 1 to 255 characters from A-Z a-z 0-9 _ + - . and be neither . nor .."
    )]
    Id {
        /// The id as given.
        id: String,
    },
}

impl SpecError {
    /// An [`SpecError::Invalid`].
    pub(crate) fn invalid(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), reason: reason.into() }
    }
}
