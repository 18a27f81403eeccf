//! Bit sets of features that an object or a value uses beyond its version.

use thiserror::Error;

/// Features that stored bytes use. A reader that does not know a required one must not read on; an
/// ignorable one only adds what a reader may skip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features {
    /// Without these the bytes are misread.
    pub required: u32,
    /// Without these the bytes are read well, but something is not used.
    pub ignorable: u32,
}

/// The bytes need features that this version does not know: a newer one wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown required features `{bits:#010x}`, a newer version wrote this")]
pub struct UnknownFeatures {
    /// The bits that are not known.
    pub bits: u32,
}

impl Features {
    /// No feature beyond the version.
    pub const NONE: Self = Self {
        required: 0,
        ignorable: 0,
    };

    /// The required features that this version knows: none yet.
    pub const REQUIRED_KNOWN: u32 = 0;

    /// Checks that all required features are known.
    pub const fn check(self) -> Result<Self, UnknownFeatures> {
        let bits = self.required & !Self::REQUIRED_KNOWN;
        if bits == 0 {
            Ok(self)
        } else {
            Err(UnknownFeatures { bits })
        }
    }
}
