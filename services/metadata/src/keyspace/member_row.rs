//! Members of the cluster, as the metadata processes keep them for each other.

use bytes::Bytes;
use tidelog_metadata_api::{KAFKA_ADDRESSES_MAX, KafkaAddress, Member, MemberState};
use tidelog_types::{Incarnation, MemberId, RoleSet, Timestamp};

use super::codec::{RowError, RowReader, RowWriter};
use super::key::{KeyKind, Keyspace};

/// The newest version of these rows. On disk for ever.
const VERSION: u8 = 3;
/// The first version with addresses for Kafka clients.
const KAFKA_FROM: u8 = 2;
/// The first version with an incarnation for merged segments.
const MERGER_FROM: u8 = 3;
/// The longest text of a member in bytes.
pub(crate) const MEMBER_TEXT_BYTES_MAX: usize = 255;

impl Keyspace {
    /// A member.
    pub fn member(self, id: MemberId) -> Bytes {
        self.key(KeyKind::Member).fixed(&id.to_bytes()).finish()
    }

    /// The id in a key of [`Keyspace::member`].
    pub fn member_id(key: &[u8]) -> Option<MemberId> {
        let id: [u8; 16] = key.get(6..22)?.try_into().ok()?;
        (key.len() == 22).then(|| MemberId::from_bytes(id))
    }
}

/// A member and who keeps it. Its id is that of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The member.
    pub member: Member,
    /// The metadata process that keeps the row; a metadata process its own.
    pub via: MemberId,
    /// Another number with each time that the member joins, so that an earlier end is not taken for this
    /// one's.
    pub session: u64,
    /// Goes up while the process lives, where it keeps its own row; else 0.
    pub beat: u64,
}

impl MemberRow {
    /// Whether the member shows by its beat that it lives. The others live as long as they are kept.
    pub fn has_beat(&self) -> bool {
        self.via == self.member.id
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let member = &self.member;
        let state = match member.state {
            MemberState::Active => 0,
            MemberState::Draining => 1,
        };
        let row = RowWriter::new(VERSION)
            .fixed(&self.via.to_bytes())
            .u64(self.session)
            .u64(self.beat)
            .u32(member.roles.bits())
            .u8(state)
            .i64(member.joined_at.as_millis())
            .u64(member.incarnation.map_or(0, Incarnation::get))
            .bytes(member.name.as_bytes())
            .bytes(member.zone.as_bytes())
            .bytes(member.version.as_bytes())
            .bytes(member.internal_address.as_bytes())
            .bytes(member.grpc_address.as_bytes())
            .u8(u8::try_from(member.kafka_addresses.len()).unwrap_or(u8::MAX));
        let addresses = member.kafka_addresses.iter();
        let row = addresses.fold(row, |row, address| {
            row.bytes(address.listener.as_bytes())
                .bytes(address.host.as_bytes())
                .u16(address.port)
        });
        row.u64(member.merger.map_or(0, Incarnation::get)).finish()
    }

    /// Reads a value back.
    pub fn decode(id: MemberId, value: Bytes) -> Result<Self, RowError> {
        let (mut row, version) = RowReader::new("member", value, VERSION)?;
        let via = MemberId::from_bytes(row.array()?);
        let (session, beat) = (row.u64()?, row.u64()?);
        let roles = RoleSet::from_bits(row.u32()?);
        let state = match row.u8()? {
            0 => MemberState::Active,
            1 => MemberState::Draining,
            _ => return Err(row.error("its state is unknown")),
        };
        let joined_at = Timestamp::from_millis(row.i64()?);
        let incarnation = writer(row.u64()?);
        let mut member = Member {
            id,
            roles,
            state,
            joined_at,
            incarnation,
            merger: None,
            name: row.text()?,
            zone: row.text()?,
            version: row.text()?,
            internal_address: row.text()?,
            grpc_address: row.text()?,
            kafka_addresses: if version < KAFKA_FROM {
                Vec::new()
            } else {
                kafka_addresses(&mut row)?
            },
        };
        if version >= MERGER_FROM {
            member.merger = writer(row.u64()?);
        }
        row.finish()?;
        Ok(Self {
            member,
            via,
            session,
            beat,
        })
    }
}

/// An incarnation; 0 is none.
fn writer(number: u64) -> Option<Incarnation> {
    Some(number)
        .filter(|number| *number != 0)
        .map(Incarnation::new)
}

fn kafka_addresses(row: &mut RowReader) -> Result<Vec<KafkaAddress>, RowError> {
    let count = usize::from(row.u8()?);
    if count > KAFKA_ADDRESSES_MAX {
        return Err(row.error("it has too many addresses"));
    }
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        addresses.push(KafkaAddress {
            listener: row.text()?,
            host: row.text()?,
            port: row.u16()?,
        });
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use tidelog_types::Role;

    use super::super::codec::assert_round_trip;
    use super::*;

    fn row(incarnation: Option<Incarnation>, state: MemberState) -> MemberRow {
        let id = MemberId::from_bytes([4; 16]);
        MemberRow {
            member: Member {
                id,
                name: "host-a".to_owned(),
                roles: RoleSet::default().with(Role::Metadata).with(Role::Broker),
                zone: "z1".to_owned(),
                version: "0.1.0".to_owned(),
                internal_address: "host-a:7071".to_owned(),
                grpc_address: String::new(),
                kafka_addresses: vec![KafkaAddress {
                    listener: "kafka".to_owned(),
                    host: "::1".to_owned(),
                    port: 9092,
                }],
                incarnation,
                merger: incarnation.map(|writer| Incarnation::new(writer.get() + 1)),
                state,
                joined_at: Timestamp::from_millis(-5),
            },
            via: id,
            session: 7,
            beat: u64::MAX,
        }
    }

    #[test]
    fn members_round_trip_and_cut_or_longer_ones_are_errors() {
        for state in [MemberState::Active, MemberState::Draining] {
            for incarnation in [None, Some(Incarnation::new(3))] {
                let row = row(incarnation, state);
                let id = row.member.id;
                assert_round_trip(&row, &row.encode(), |value| MemberRow::decode(id, value));
            }
        }
    }

    #[test]
    fn members_of_earlier_versions_have_no_kafka_addresses_or_no_merger() {
        let mut row = row(None, MemberState::Draining);
        let new = row.encode();
        let merger = 8;
        let mut old = new[..new.len() - merger].to_vec();
        old[0] = 2;
        assert_eq!(
            MemberRow::decode(row.member.id, old.into()),
            Ok(row.clone())
        );
        // The count, two texts with their lengths, and the port.
        let without = new.len() - merger - (1 + 4 + 5 + 4 + 3 + 2);
        let mut old = new[..without].to_vec();
        old[0] = 1;
        row.member.kafka_addresses.clear();
        let id = row.member.id;
        assert_eq!(MemberRow::decode(id, old.into()), Ok(row));
    }

    #[test]
    fn more_addresses_than_a_member_may_have_are_an_error() {
        let mut row = row(None, MemberState::Active);
        let address = row.member.kafka_addresses[0].clone();
        row.member.kafka_addresses = vec![address; KAFKA_ADDRESSES_MAX + 1];
        assert!(MemberRow::decode(row.member.id, row.encode()).is_err());
    }

    #[test]
    fn a_state_that_is_not_known_is_an_error() {
        let row = row(None, MemberState::Active);
        let mut value = row.encode().to_vec();
        value[1 + 16 + 8 + 8 + 4] = 2;
        assert!(MemberRow::decode(row.member.id, value.into()).is_err());
    }

    #[test]
    fn the_id_is_in_the_key_and_in_no_other_key() {
        let (keys, id) = (Keyspace::default(), MemberId::from_bytes([8; 16]));
        let key = keys.member(id);
        assert_eq!(Keyspace::member_id(&key), Some(id));
        assert!(keys.all(KeyKind::Member).contains(&key));
        assert_eq!(Keyspace::member_id(&key[..21]), None);
        assert_eq!(Keyspace::member_id(&[key.as_ref(), &[0]].concat()), None);
    }
}
