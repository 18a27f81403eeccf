//! Starts S3 servers, stores and roles as processes, and hurts them.
