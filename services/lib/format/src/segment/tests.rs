//! Facts about segments.
