use super::*;

fn at() -> At<'static> {
    At {
        operation: "test",
        subject: "nothing",
    }
}

/// A C function that wants `need` bytes and tells so.
fn wants(need: usize) -> impl FnMut(*mut c_char, *mut usize) -> c_int {
    move |buffer, len| {
        // SAFETY: `text` gives a buffer of `*len` bytes.
        unsafe {
            let room = *len;
            *len = need;
            if room < need {
                return -libc::ERANGE;
            }
            for n in 0..need - 1 {
                *buffer.add(n) = b'x'.cast_signed();
            }
            *buffer.add(need - 1) = 0;
        }
        0
    }
}

#[test]
fn a_text_that_fits_is_taken_and_a_longer_one_too() {
    assert_eq!(text(at(), wants(10)).unwrap().len(), 9);
    assert_eq!(text(at(), wants(100_000)).unwrap().len(), 99_999);
}

#[test]
fn a_need_beyond_reason_is_refused() {
    assert!(matches!(
        text(at(), wants(LARGEST + 1)),
        Err(Error::Range(_))
    ));
}

#[test]
fn a_function_that_does_not_tell_its_need_gets_twice_as_much() {
    let mut sizes = Vec::new();
    let result = grow(at(), [100], |[size]| {
        sizes.push(size);
        let code = if size < 700 { -libc::ERANGE } else { 0 };
        Attempt::from_code(code, [0], |_| size)
    });
    assert_eq!(result.unwrap(), 800);
    assert_eq!(sizes, [100, 200, 400, 800]);
}

#[test]
fn of_two_buffers_only_the_one_too_small_grows() {
    let result = grow(at(), [10, 10], |[a, b]| {
        if b < 50 {
            Attempt::TooSmall([4, 50])
        } else {
            Attempt::Done((a, b))
        }
    });
    assert_eq!(result.unwrap(), (10, 50));
}

#[test]
fn a_function_that_is_never_content_ends() {
    let mut calls = 0;
    let result: Result<(), _> = grow(at(), [1], |[size]| {
        calls += 1;
        Attempt::TooSmall([size + 1])
    });
    assert!(matches!(result, Err(Error::Range(_))));
    assert_eq!(calls, ROUNDS);
}

#[test]
fn another_error_is_not_retried() {
    let mut calls = 0;
    let result: Result<(), _> = grow(at(), [1], |_| {
        calls += 1;
        Attempt::Failed(-libc::EIO)
    });
    assert!(matches!(result, Err(Error::Other(_))));
    assert_eq!(calls, 1);
}

#[test]
fn texts_are_split_and_empty_ones_kept() {
    let list = nul_separated(at(), b"a\0\0bc\0").unwrap();
    assert_eq!(list, ["a", "", "bc"]);
    assert!(nul_separated(at(), b"").unwrap().is_empty());
}

#[test]
fn what_is_not_utf8_is_not_guessed() {
    assert!(matches!(
        until_nul(at(), b"\xff\xfe\0"),
        Err(Error::Reply { .. })
    ));
}

#[test]
fn names_with_a_nul_or_none_at_all_are_refused() {
    assert!(matches!(c_name("image name", ""), Err(Error::Text { .. })));
    assert!(matches!(
        c_name("image name", "a\0b"),
        Err(Error::Text { .. })
    ));
    assert!(c_text("metadata value", "").is_ok());
}

#[test]
fn a_list_that_grew_meanwhile_is_asked_for_again() {
    let mut there = 3;
    // SAFETY: zeros are a valid u64, and `call` writes as many as there is room for.
    let list: Vec<u64> = unsafe {
        records(at(), 2, |list: *mut u64, len| {
            let room = *len;
            *len = there;
            if room < there {
                // Once it is larger still by the time of the second call.
                there = 4;
                return -libc::ERANGE;
            }
            for n in 0..there {
                list.add(n).write(7);
            }
            0
        })
    }
    .unwrap();
    assert_eq!(list, [7, 7, 7, 7]);
}
