//! Generated gRPC types, conversions and the mapping of errors to statuses.
