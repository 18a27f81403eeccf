//! Bucket set-up for S3: creation, lifecycle rules.
