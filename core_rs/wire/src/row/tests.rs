//! Rows as the disk holds them: whatever is written is read again.

use proptest::prelude::*;

use super::{action, attempt, ending, request};
use crate::fixtures;

proptest! {
    #[test]
    fn endings_survive_the_disk(ending in fixtures::ending()) {
        let head = ending::head(&ending);
        let (birth, tenant, output) = (ending.id.birth, &ending.tenant, ending.output.clone());
        let read = ending::read(birth, tenant, &head, output);
        prop_assert_eq!(Ok(ending.clone()), read);
    }

    #[test]
    fn attempts_survive_the_disk(attempt in fixtures::attempt()) {
        let head = attempt::head(&attempt);
        let read = attempt::read(attempt.birth, attempt.ordinal, &head);
        prop_assert_eq!(Ok(attempt), read);
    }

    #[test]
    fn actions_survive_the_disk(row in fixtures::runs::action_row()) {
        let (head, body) = (action::head(&row), row.contents.body.clone());
        let read = action::read(row.birth, row.ordinal, &head, body);
        prop_assert_eq!(Ok(row), read);
    }

    #[test]
    fn requests_survive_the_disk(request in fixtures::request_row()) {
        let known = request::known(&request::head(&request)).unwrap();
        prop_assert_eq!(request.request.body, known.body);
        prop_assert_eq!(request.births, known.births);
    }

    #[test]
    fn any_bytes_are_read_as_a_row_or_refused_without_a_panic(head: Vec<u8>) {
        let _ = ending::finished(1, "acme", &head);
        let _ = attempt::read(1, 1, &head);
        let _ = request::known(&head);
        let _ = action::read(1, 1, &head, None);
        let _ = action::details(&head);
    }
}
