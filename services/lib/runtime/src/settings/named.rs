//! `storage.classes.NAME.KEY` and `storage.buckets.NAME.KEY`: options whose names users complete.

use tidelog_types::is_storage_class_name;

use super::options::{Kind, OptionDoc};

/// Tables whose names users give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tables {
    /// Storage classes.
    Classes,
    /// Buckets beside the main one.
    Buckets,
}

/// The options of a class, by what stands behind its name.
const CLASS_OPTIONS: &[OptionDoc] = &[
    unset(
        "linger",
        Kind::Span("1ms", "1m"),
        "How long a segment of the class waits for more, from its first byte on. Unset is as `produce.linger`. Segments of a class with a longer one are not closed early while nothing is being uploaded: they save requests.",
    ),
    unset(
        "segment_bytes",
        Kind::Size("64KiB", "32MiB"),
        "A segment of the class closes at this size. Unset is as `produce.segment_bytes`.",
    ),
    unset(
        "express_bytes",
        Kind::Size("1KiB", "64KiB"),
        "Segments of the class of up to so many bytes are not put into the bucket: they are committed inside the metadata transaction itself, which acknowledges a produce in about one commit of the metadata store, and merges move them into the bucket within a minute or two. They close as soon as none of the class and the shard is on its way so. The metadata store pays for it with their bytes, which stay there until they were moved, up to ten minutes more until the writer's names are done with, and `janitor.grace`. Unset: none are. Set it only once all processes of the cluster run this version: older ones that are running would leave such segments out of backups; none starts any more in a bucket in which this was ever set, also when it is unset again.",
    ),
    unset(
        "bucket",
        Kind::Text,
        "The bucket that segments of the class are put into: `main`, or a name of `storage.buckets`. Unset is the main one.",
    ),
    unset(
        "merged_bucket",
        Kind::Text,
        "The bucket that segments of the class are merged into: `main`, or a name of `storage.buckets`. Unset is as `bucket`.",
    ),
];

/// The options of a bucket beside the main one.
const BUCKET_OPTIONS: &[OptionDoc] = &[
    unset(
        "location",
        Kind::Text,
        "The bucket, as `s3://NAME` or `s3://NAME/PREFIX`, or a folder of this machine from its root on. It must be set, and must not be that of another bucket: two prefixes of one bucket of S3 are two buckets here.",
    ),
    unset(
        "endpoint",
        Kind::Url,
        "URL of the store. Unset is as `s3.endpoint`.",
    ),
    unset(
        "region",
        Kind::Text,
        "Region of the bucket. Unset is as `s3.region`.",
    ),
    unset(
        "access_key_id",
        Kind::Secret,
        "A static access key. Unset takes that of `s3`, with its secret and token.",
    ),
    unset(
        "secret_access_key",
        Kind::Secret,
        "The secret of the static access key.",
    ),
    unset(
        "session_token",
        Kind::Secret,
        "The session token of a static key that is a temporary one.",
    ),
    unset(
        "path_style",
        Kind::Flag,
        "Whether the bucket's name stands in the URL's path. Unset is as `s3.path_style`.",
    ),
    unset(
        "allow_http",
        Kind::Flag,
        "Whether plain HTTP is allowed. Unset is as `s3.allow_http`.",
    ),
    unset(
        "encryption",
        Kind::Choice(&["none", "sse-s3", "sse-kms"]),
        "How the store encrypts what is put. Unset is as `s3.encryption`.",
    ),
    unset(
        "kms_key",
        Kind::Text,
        "The key of `sse-kms`. Unset is as `s3.kms_key`, if that has one.",
    ),
    unset(
        "storage_class",
        Kind::Text,
        "What S3 calls a storage class, such as `STANDARD_IA`, for segments that are put here. Unset leaves it to the bucket. Not one that has to be restored before it is read (`GLACIER`, `DEEP_ARCHIVE`).",
    ),
];

const fn unset(key: &'static str, kind: Kind, doc: &'static str) -> OptionDoc {
    OptionDoc {
        key,
        kind,
        default: None,
        doc,
        since: "0.1",
    }
}

impl Tables {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Classes, Self::Buckets];

    /// What comes before the name of a table.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Classes => "storage.classes",
            Self::Buckets => "storage.buckets",
        }
    }

    /// The last part of [`Tables::prefix`].
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Buckets => "buckets",
        }
    }

    /// The options of each table.
    pub(super) const fn options(self) -> &'static [OptionDoc] {
        match self {
            Self::Classes => CLASS_OPTIONS,
            Self::Buckets => BUCKET_OPTIONS,
        }
    }
}

/// What a key names: a table, or an option in one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NamedKey<'a> {
    pub(super) tables: Tables,
    pub(super) name: &'a str,
    pub(super) option: Option<&'static OptionDoc>,
}

/// Finds what a key names, if it names a table or an option of one.
pub(super) fn find(key: &str) -> Option<NamedKey<'_>> {
    let mut all = Tables::ALL.into_iter();
    all.find_map(|tables| {
        let rest = key.strip_prefix(tables.prefix())?.strip_prefix('.')?;
        let (name, option) = match rest.split_once('.') {
            None => (rest, None),
            Some((name, option)) => (name, Some(option)),
        };
        if !is_storage_class_name(name) {
            return None;
        }
        let option = match option {
            None => None,
            Some(option) => {
                let mut options = tables.options().iter();
                Some(options.find(|known| known.key == option)?)
            }
        };
        Some(NamedKey {
            tables,
            name,
            option,
        })
    })
}

/// Whether the key is of a table above these.
pub(super) fn is_group(key: &str) -> bool {
    key == "storage" || Tables::ALL.iter().any(|tables| key == tables.prefix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_named_tables_are_told_from_others() {
        let class = find("storage.classes.fast").unwrap();
        assert_eq!(
            (class.tables, class.name, class.option),
            (Tables::Classes, "fast", None)
        );
        for (key, tables, option) in [
            ("storage.classes.fast.linger", Tables::Classes, "linger"),
            ("storage.classes.fast.bucket", Tables::Classes, "bucket"),
            ("storage.buckets.hot.location", Tables::Buckets, "location"),
        ] {
            let found = find(key).unwrap();
            let found = (found.tables, found.option.unwrap().key);
            assert_eq!(found, (tables, option));
        }
        for other in [
            "storage.classes",
            "storage.classes.",
            "storage.classes.Fast",
            "storage.classes.fast.",
            "storage.classes.fast.location",
            "storage.buckets.hot.linger",
            "storage.classes.a.b.linger",
            "storage.classesfast",
            "produce.linger",
        ] {
            assert_eq!(find(other), None, "{other}");
        }
        for group in ["storage", "storage.classes", "storage.buckets"] {
            assert!(is_group(group));
        }
        assert!(!is_group("storage.classes.fast") && !is_group("stor"));
    }

    #[test]
    fn options_are_documented_and_named_once() {
        for tables in Tables::ALL {
            assert_eq!(tables.prefix(), format!("storage.{}", tables.key()));
            let mut keys: Vec<&str> = tables.options().iter().map(|option| option.key).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), tables.options().len());
            let mut docs = tables.options().iter().map(|option| option.doc);
            assert!(docs.all(|doc| doc.ends_with('.')));
        }
    }
}
