use super::*;

fn at() -> At<'static> {
    At {
        operation: "rbd_open",
        subject: "volumes/v",
    }
}

#[test]
fn an_errno_is_sorted_by_what_it_means() {
    type IsIt = fn(&Error) -> bool;
    let cases: [(i32, IsIt, bool); 12] = [
        (libc::ENOENT, |e| matches!(e, Error::NotFound(_)), false),
        (libc::EEXIST, |e| matches!(e, Error::Exists(_)), false),
        (
            libc::EBUSY,
            |e| {
                matches!(
                    e,
                    Error::Busy {
                        reason: BusyReason::InUse,
                        ..
                    }
                )
            },
            true,
        ),
        (libc::EROFS, |e| matches!(e, Error::ReadOnly(_)), false),
        (libc::EPERM, |e| matches!(e, Error::Permission(_)), false),
        (libc::ETIMEDOUT, |e| matches!(e, Error::TimedOut(_)), true),
        (
            libc::ESHUTDOWN,
            |e| matches!(e, Error::Blocklisted(_)),
            false,
        ),
        (libc::ENOTCONN, |e| matches!(e, Error::Unreachable(_)), true),
        (libc::ERANGE, |e| matches!(e, Error::Range(_)), false),
        (libc::EDQUOT, |e| matches!(e, Error::Full(_)), false),
        (libc::EINVAL, |e| matches!(e, Error::Invalid(_)), false),
        (libc::EIO, |e| matches!(e, Error::Other(_)), false),
    ];
    for (errno, is_it, retryable) in cases {
        let error = at().error(-errno);
        assert!(is_it(&error), "{errno} became {error:?}");
        assert_eq!(error.retryable(), retryable, "{error}");
        assert_eq!(error.errno(), Some(errno));
        let call = error.call().unwrap();
        assert_eq!(
            (call.operation, call.subject.as_str()),
            ("rbd_open", "volumes/v")
        );
    }
}

#[test]
fn it_says_what_was_called_on_what_and_why_it_failed() {
    assert_eq!(
        at().error(-libc::ENOENT).to_string(),
        "not found: rbd_open on volumes/v: No such file or directory (os error 2)"
    );
    let busy = Error::Busy {
        call: at().call(-libc::EBUSY, None),
        reason: BusyReason::PeerPrimaryOrDemotionPending,
    };
    assert!(busy.to_string().starts_with(
        "busy (the peer is primary, or its demotion has not been replayed here): rbd_open"
    ));
}

#[test]
fn a_cause_is_in_the_source_and_not_in_the_words() {
    let error = at().unreadable("odd");
    assert!(!error.to_string().contains("odd"));
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "odd"
    );
    assert_eq!(error.errno(), None);
}

#[test]
fn success_is_passed_on_and_a_wild_length_is_an_error() {
    assert_eq!(at().check(7).unwrap(), 7);
    assert_eq!(at().check_len(7).unwrap(), 7);
    assert!(matches!(at().check_len(-30), Err(Error::ReadOnly(_))));
    assert!(at().check_len(isize::MIN).is_err());
    assert!(at().check(i32::MIN).is_err());
}

#[test]
fn only_a_blocklisted_client_needs_a_new_connection() {
    assert!(at().error(-libc::ESHUTDOWN).needs_reconnect());
    assert!(!at().error(-libc::ETIMEDOUT).needs_reconnect());
    assert!(at().error(-libc::EROFS).is_write_refused());
    assert!(at().error(-libc::EPERM).is_write_refused());
    assert!(!at().error(-libc::EIO).is_write_refused());
}
