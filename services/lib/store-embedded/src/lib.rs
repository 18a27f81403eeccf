//! The embedded store: SlateDB in the bucket.
