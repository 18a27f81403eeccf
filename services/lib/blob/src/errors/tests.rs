use object_store::Error;

use super::*;

fn status(status: u16, code: &str) -> StatusError {
    StatusError {
        status,
        code: code.to_owned(),
        message: String::new(),
    }
}

#[test]
fn a_status_is_classified_through_the_http_layer() {
    for (code, name, kind) in [
        (503, "SlowDown", ErrorKind::Throttled),
        (500, "InternalError", ErrorKind::Unavailable),
        (408, "", ErrorKind::Timeout),
        (409, "ConditionalRequestConflict", ErrorKind::Conflict),
        (400, "ExpiredToken", ErrorKind::Unauthenticated),
        (507, "XMinioStorageFull", ErrorKind::StorageFull),
        (400, "InvalidArgument", ErrorKind::Other),
    ] {
        let error = generic(HttpError::new(HttpErrorKind::Unknown, status(code, name)));
        assert_eq!(classify(&error), kind, "{code} {name}");
    }
}

#[test]
fn a_missing_bucket_is_told_from_a_missing_object() {
    let not_found = |code| Error::NotFound {
        path: "x".to_owned(),
        source: Box::new(status(404, code)),
    };
    assert_eq!(
        classify(&not_found("NoSuchBucket")),
        ErrorKind::NoSuchBucket
    );
    assert_eq!(classify(&not_found("NoSuchKey")), ErrorKind::NotFound);
    let denied = |code: &str| Error::PermissionDenied {
        path: "x".to_owned(),
        source: format!("403: <Error><Code>{code}</Code></Error>").into(),
    };
    assert_eq!(classify(&denied("AccessDenied")), ErrorKind::Denied);
    assert_eq!(
        classify(&denied("RequestTimeTooSkewed")),
        ErrorKind::Unauthenticated
    );
}

#[test]
fn what_the_disk_says_is_found_inside() {
    for (io_kind, kind) in [
        (io::ErrorKind::StorageFull, ErrorKind::StorageFull),
        (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::ReadOnly),
        (io::ErrorKind::PermissionDenied, ErrorKind::Denied),
    ] {
        assert_eq!(classify(&generic(io::Error::from(io_kind))), kind);
    }
}

#[test]
fn an_unknown_outcome_is_never_taken_for_a_definite_no() {
    for kind in [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::Other] {
        assert!(kind.may_have_happened());
    }
    assert!(!ErrorKind::Unreachable.may_have_happened());
    let last = generic(io::Error::from(io::ErrorKind::ConnectionRefused));
    assert!(!may_have_happened(&last));
    let marked = mark_outcome_unknown(last);
    assert_eq!(classify(&marked), ErrorKind::Unreachable);
    assert!(may_have_happened(&marked));
    assert!(ErrorKind::Timeout.is_retriable());
    assert!(!ErrorKind::StorageFull.is_retriable());
}
