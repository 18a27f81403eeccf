//! Names of storage classes.

/// Whether a storage class can have this name: 1 to 32 letters, digits and `-`, all in lower case. It stands in
/// settings and in the configuration of topics.
pub fn is_storage_class_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&name.len()) && name.bytes().all(fits)
}
