//! The APIs: their keys, versions and headers.

pub use crate::generated::api_key::ApiKey;

use crate::version::VersionRange;

/// What the definitions say of an API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Api {
    name: &'static str,
    versions: VersionRange,
    flexible_from: i16,
    latest_unstable: bool,
}

impl Api {
    pub(crate) const fn new(name: &'static str, min: i16, max: i16, flexible_from: i16) -> Self {
        Self {
            name,
            versions: VersionRange::new(min, max),
            flexible_from,
            latest_unstable: false,
        }
    }

    /// The latest version may still change.
    pub(crate) const fn unstable(self) -> Self {
        Self {
            latest_unstable: true,
            ..self
        }
    }
}

impl ApiKey {
    /// The API of this number, if the codec knows it.
    pub const fn from_code(code: i16) -> Option<Self> {
        Self::of(code)
    }

    /// Its number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Its name, as Kafka's documentation has it, such as `Produce`.
    pub const fn name(self) -> &'static str {
        self.api().name
    }

    /// Every version that the codec knows.
    pub const fn versions(self) -> VersionRange {
        self.api().versions
    }

    /// The versions that will not change any more: what a server may promise.
    pub const fn stable_versions(self) -> VersionRange {
        let Api {
            versions: VersionRange { min, max },
            latest_unstable,
            ..
        } = self.api();
        VersionRange::new(min, if latest_unstable { max - 1 } else { max })
    }

    /// Whether this version has compact lengths and tagged fields.
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.api().flexible_from
    }

    /// The version of the header of a request in this version.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the header of an answer in this version. That of `ApiVersions` is always 0: who
    /// asks for the versions cannot know yet which one the answer has.
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self {
            Self::ApiVersions => 0,
            _ if self.is_flexible(version) => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_by_its_number_and_no_other_is() {
        for key in ApiKey::ALL {
            assert_eq!(ApiKey::from_code(key.code()), Some(key));
            assert!(key.versions().min <= key.versions().max);
        }
        let known = (i16::MIN..=i16::MAX).filter_map(ApiKey::from_code);
        assert!(known.eq(ApiKey::ALL));
    }

    #[test]
    fn headers_follow_the_version_but_for_the_answer_about_versions() {
        assert_eq!(ApiKey::Produce.request_header_version(8), 1);
        assert_eq!(ApiKey::Produce.request_header_version(9), 2);
        assert_eq!(ApiKey::Produce.response_header_version(8), 0);
        assert_eq!(ApiKey::Produce.response_header_version(9), 1);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(3), 0);
    }

    #[test]
    fn a_version_that_may_change_is_not_promised() {
        let all = ApiKey::InitProducerId.versions();
        assert_eq!(ApiKey::InitProducerId.stable_versions().max, all.max - 1);
        assert_eq!(ApiKey::Fetch.stable_versions(), ApiKey::Fetch.versions());
    }
}
