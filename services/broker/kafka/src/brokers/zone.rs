//! The zone that a client says it is in.

/// The key before the zone.
const KEY: &str = "zone";

/// The zone in a client id such as `zone=eu-1a,orders` or `orders;zone=eu-1a`: pairs of a key and a value
/// among whatever else the id says, with commas or semicolons between them. The first one counts.
pub(crate) fn client_zone(client_id: &str) -> Option<&str> {
    let pairs = client_id.split([',', ';']);
    let mut pairs = pairs.filter_map(|part| part.trim().split_once('='));
    let (_, zone) = pairs.find(|(key, zone)| *key == KEY && !zone.is_empty())?;
    Some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_pair_among_others() {
        for said in [
            "zone=eu-1a",
            "orders,zone=eu-1a",
            "orders;zone=eu-1a",
            "zone=eu-1a,orders-StreamThread-1-consumer",
            "a=b; zone=eu-1a ;zone=eu-1b",
            "zone=,zone=eu-1a",
        ] {
            assert_eq!(client_zone(said), Some("eu-1a"), "{said}");
        }
        assert_eq!(client_zone("zone=a=b"), Some("a=b"));
        for silent in [
            "",
            "zone",
            "zone=",
            "ozone=eu-1a",
            "Zone=eu-1a",
            "my zone=eu-1a",
        ] {
            assert_eq!(client_zone(silent), None, "{silent}");
        }
    }
}
