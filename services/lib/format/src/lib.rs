//! The bytes Tidelog stores: record batches, segments and manifests; pure.
