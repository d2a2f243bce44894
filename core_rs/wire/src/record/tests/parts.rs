//! Records of unusual parts: with progress, or with their id and status alone.

use backlane_engine::command::ProgressReport;
use prost::Message as _;

use super::{ID, born, head, made, rich};
use crate::View;
use crate::generated::backlane::v1;
use crate::record::{Parts, Standing, brief, record};

#[test]
fn a_progress_is_an_object_of_what_was_reported() {
    let item = made(&rich());
    let living = born(&item);
    let reports = [
        (Some(0.4), "text", r#"{"fraction":0.4,"message":"text"}"#),
        (Some(0.0), "", r#"{"fraction":0}"#),
        (None, "text", r#"{"message":"text"}"#),
    ];
    for (fraction, message, expected) in reports {
        let report = ProgressReport {
            fraction,
            message: message.into(),
        };
        let parts = Parts {
            birth: ID.birth,
            head: &head(&item, &living),
            body: None,
            standing: Standing::Living(&living),
            last_error: None,
            progress: Some(&report),
        };
        let record = record(&parts, View::Basic).unwrap();
        let record = v1::BackgroundExecution::decode(&record[..]).unwrap();
        let progress = record.progress.unwrap();
        assert_eq!(Ok(()), progress.check(2));
        assert_eq!(expected, crate::json::text(progress.as_bytes()).unwrap());
    }
}

#[test]
fn a_brief_record_is_its_id_and_status() {
    let item = made(&rich());
    let living = born(&item);
    let brief = brief(&Parts {
        birth: ID.birth,
        head: &head(&item, &living),
        body: None,
        standing: Standing::Living(&living),
        last_error: None,
        progress: None,
    });
    let expected = v1::BackgroundExecution {
        execution_id: living.id.to_string(),
        status: 1,
        ..Default::default()
    };
    assert_eq!(
        Ok(expected),
        v1::BackgroundExecution::decode(&brief.unwrap()[..])
    );
}
