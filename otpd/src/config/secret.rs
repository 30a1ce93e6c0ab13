//! A secret text in memory: never printed, never copied by accident, wiped when dropped.

use zeroize::Zeroizing;

/// A secret taken from the configuration.
///
/// It has no `Debug`, `Display`, `Clone` or `PartialEq` on purpose: a log line, an
/// error or a comparison that leaks time cannot be written by mistake.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes over the text; its memory is wiped on drop.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
