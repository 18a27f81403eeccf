//! The gRPC front end of the broker.
