//! Statuses, task states and the tables between them.

use super::*;

#[test]
fn modes_behave_as_the_schema_says() {
    let table = Mode::ALL
        .iter()
        .map(|mode| (mode.is_silent(), mode.requires_result()));
    assert_eq!(
        vec![(true, false), (true, true), (false, false)],
        table.collect::<Vec<_>>()
    );
    assert_eq!(Mode::FireAndForget, Mode::default());
}

#[test]
fn queued_is_the_default_and_completed_the_only_success() {
    assert_eq!(Status::Queued, Status::default());
    let table =
        |test: fn(Status) -> bool| Status::ALL.iter().copied().map(test).collect::<Vec<_>>();
    assert_eq!(
        vec![false, false, true, true, true, true],
        table(Status::is_finished)
    );
    assert_eq!(
        vec![false, false, true, false, false, false],
        table(Status::is_success)
    );
    assert_eq!(
        vec![false, false, false, true, false, true],
        table(Status::is_dead_letter)
    );
    assert_eq!(
        vec![false, false, false, true, true, true],
        table(Status::may_be_redriven)
    );
}

#[test]
fn no_state_follows_itself_or_a_terminal_state() {
    for &from in TaskState::ALL {
        assert!(!from.can_transition_to(from), "{from:?}");
        let followed = TaskState::ALL
            .iter()
            .any(|next| from.can_transition_to(*next));
        assert_eq!(!from.is_terminal(), followed, "{from:?}");
    }
}

#[test]
fn there_are_eighteen_legal_transitions() {
    let legal = TaskState::ALL
        .iter()
        .flat_map(|from| {
            TaskState::ALL
                .iter()
                .map(|next| from.can_transition_to(*next))
        })
        .filter(|legal| *legal)
        .count();
    assert_eq!(18, legal);
}

#[test]
fn durations_need_both_ends_and_are_never_negative() {
    assert_eq!(Some(5), duration_ms(Some(10), Some(15)));
    assert_eq!(Some(0), duration_ms(Some(15), Some(10)));
    assert_eq!(None, duration_ms(None, Some(10)));
    assert_eq!(None, duration_ms(Some(10), None));
}
