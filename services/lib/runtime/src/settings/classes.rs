//! `storage.classes.NAME.KEY`: options whose names users complete.

use tidelog_types::is_storage_class_name;

use super::options::{Kind, OptionDoc};

/// What comes before the name of a class.
const PREFIX: &str = "storage.classes";

/// The options of a class, by what stands behind its name.
pub(super) const CLASS_OPTIONS: &[OptionDoc] = &[
    OptionDoc {
        key: "linger",
        kind: Kind::Span("1ms", "1m"),
        default: None,
        doc: "How long a segment of the class waits for more, from its first byte on. Unset is as `produce.linger`. Segments of a class with a longer one are not closed early while nothing is being uploaded: they save requests.",
        since: "0.1",
    },
    OptionDoc {
        key: "segment_bytes",
        kind: Kind::Size("64KiB", "32MiB"),
        default: None,
        doc: "A segment of the class closes at this size. Unset is as `produce.segment_bytes`.",
        since: "0.1",
    },
    OptionDoc {
        key: "express_bytes",
        kind: Kind::Size("1KiB", "64KiB"),
        default: None,
        doc: "Segments of the class of up to so many bytes are not put into the bucket: they are committed inside the metadata transaction itself, which acknowledges a produce in about one commit of the metadata store, and merges move them into the bucket within a minute or two. They close as soon as none of the class and the shard is on its way so. The metadata store pays for it with their bytes, which stay there until they were moved, up to ten minutes more until the writer's names are done with, and `janitor.grace`. Unset: none are. Set it only once all processes of the cluster run this version: older ones that are running would leave such segments out of backups; none starts any more in a bucket in which this was ever set, also when it is unset again.",
        since: "0.1",
    },
];

/// What a key below [`PREFIX`] names.
#[derive(Debug, PartialEq)]
pub(super) enum ClassKey<'a> {
    /// The table of a class.
    Class(&'a str),
    /// An option of a class.
    Option(&'a str, &'static OptionDoc),
}

/// Finds what a key names, if it names a class or an option of one.
pub(super) fn find(key: &str) -> Option<ClassKey<'_>> {
    let rest = key.strip_prefix(PREFIX)?.strip_prefix('.')?;
    let (name, option) = match rest.split_once('.') {
        None => (rest, None),
        Some((name, option)) => (name, Some(option)),
    };
    if !is_storage_class_name(name) {
        return None;
    }
    match option {
        None => Some(ClassKey::Class(name)),
        Some(option) => {
            let mut options = CLASS_OPTIONS.iter();
            let found = options.find(|known| known.key == option)?;
            Some(ClassKey::Option(name, found))
        }
    }
}

/// Whether the key is of a table above classes.
pub(super) fn is_group(key: &str) -> bool {
    key == PREFIX || PREFIX.strip_suffix(".classes") == Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_classes_are_told_from_others() {
        assert_eq!(find("storage.classes.fast"), Some(ClassKey::Class("fast")));
        let linger = find("storage.classes.fast.linger");
        assert!(matches!(linger, Some(ClassKey::Option("fast", option)) if option.key == "linger"));
        for other in [
            "storage.classes",
            "storage.classes.",
            "storage.classes.Fast",
            "storage.classes.fast.",
            "storage.classes.fast.bucket",
            "storage.classes.a.b.linger",
            "storage.classesfast",
            "produce.linger",
        ] {
            assert_eq!(find(other), None, "{other}");
        }
        assert!(is_group("storage") && is_group("storage.classes"));
        assert!(!is_group("storage.classes.fast") && !is_group("stor"));
    }
}
