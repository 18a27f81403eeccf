//! Facts about manifests and receipts.
