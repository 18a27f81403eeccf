//! What a process does in a cluster.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A part that a process can play. The numbers are on the wire and in the store for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Role {
    /// Gives out offsets and keeps the catalogue.
    Metadata = 0,
    /// Serves producers and consumers.
    Broker = 1,
    /// Caches what was written, for brokers.
    Reader = 2,
    /// Merges, compacts and deletes.
    Janitor = 3,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Metadata, Self::Broker, Self::Reader, Self::Janitor];

    /// Its name in settings and for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Broker => "broker",
            Self::Reader => "reader",
            Self::Janitor => "janitor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no role.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no role; the roles are `metadata`, `broker`, `reader` and `janitor`")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// The roles of one process. Bits that this version does not know are kept, so that a newer process is
/// shown as it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleSet(u32);

impl RoleSet {
    /// The set with these bits: bit `n` stands for the role with number `n`.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits, as they are stored and sent.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether a role is in it.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// The set with one role more.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | (1 << role as u8))
    }

    /// The known roles in it, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL
            .into_iter()
            .filter(move |role| self.contains(*role))
    }
}

impl FromIterator<Role> for RoleSet {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, role) in self.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{role}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_names_and_numbers_that_come_back() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert!(RoleSet::default().with(role).contains(role));
        }
        assert_eq!(
            "brokers".parse::<Role>(),
            Err(UnknownRole("brokers".to_owned()))
        );
        let set: RoleSet = [Role::Janitor, Role::Metadata].into_iter().collect();
        assert_eq!(set.bits(), 0b1001);
        assert_eq!(set.to_string(), "metadata,janitor");
        assert!(!set.contains(Role::Broker));
    }

    #[test]
    fn bits_of_a_newer_version_are_kept() {
        let set = RoleSet::from_bits(1 << 20 | 1);
        assert_eq!(set.to_string(), "metadata");
        assert_eq!(set.with(Role::Broker).bits(), 1 << 20 | 0b11);
    }
}
