//! The verbs about executions that are over, and those about tasks and progress.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::script::{Line, text};
use crate::spoken::{progress, redrive};
use crate::view::show_task;

use super::{Answer, Stage, refused};

impl Stage {
    pub(super) fn progress(&mut self, line: &Line) -> Answer {
        let reports = vec![progress(line, self.held(line))];
        let request = v1::ReportProgressRequest { reports };
        match self.ask::<v1::ReportProgressResponse>(Method::ReportProgress, &request) {
            Ok(reply) => self.settled(&reply.outcomes[0]),
            Err(refused) => refused,
        }
    }

    pub(super) fn redrive(&mut self, line: &Line) -> Answer {
        let of = line.get("of").expect("the execution to redrive");
        let (_, id) = self.ids[of].clone();
        match self.ask::<v1::RedriveResponse>(Method::Redrive, &redrive(line, id)) {
            Ok(reply) => {
                let names = line.get("with_dependents").unwrap_or("none");
                let names: Vec<_> = names.split(',').filter(|name| *name != "none").collect();
                assert_eq!(names.len(), reply.dependent_ids.len(), "{reply:?}");
                let tenant = line.get("tenant").unwrap_or("acme");
                for (name, id) in names.into_iter().zip(reply.dependent_ids) {
                    self.ids.insert(name.to_owned(), (tenant.to_owned(), id));
                }
                let made = v1::EnqueueResponse {
                    execution: reply.execution,
                    existing: reply.existing,
                };
                Answer::words(vec![self.met(line.plain(0), made)])
            }
            Err(refused) => refused,
        }
    }

    pub(super) fn discard(&mut self, line: &Line) -> Answer {
        let (_, id) = self.named(line);
        let request = v1::DiscardDeadLettersRequest {
            tenant_id: line.get("tenant").unwrap_or("acme").into(),
            execution_ids: vec![id],
        };
        let reply = self.ask(Method::DiscardDeadLetters, &request);
        let reply: v1::DiscardDeadLettersResponse = match reply {
            Ok(reply) => reply,
            Err(refused) => return refused,
        };
        match &reply.outcomes[0].outcome {
            Some(v1::discard_outcome::Outcome::Result(_)) => {
                Answer::words(vec!["discarded".into()])
            }
            Some(v1::discard_outcome::Outcome::Status(status)) => refused(status),
            None => panic!("no outcome"),
        }
    }

    pub(super) fn delete(&mut self, line: &Line) -> Answer {
        let (_, execution_id) = self.named(line);
        let request = v1::DeleteRequest {
            tenant_id: line.get("tenant").unwrap_or("acme").into(),
            execution_id,
        };
        match self.ask::<v1::DeleteResponse>(Method::Delete, &request) {
            Ok(_) => Answer::words(vec!["deleted".into()]),
            Err(refused) => refused,
        }
    }

    pub(super) fn find(&mut self, line: &Line) -> Answer {
        let request = v1::ListRequest {
            tenant_id: line.get("tenant").unwrap_or("acme").into(),
            filter: text(line.plain(0)).into(),
            ..Default::default()
        };
        match self.ask::<v1::ListResponse>(Method::List, &request) {
            Ok(reply) => {
                let listed = reply.executions.iter();
                let named = listed.filter_map(|record| self.name_of(&record.execution_id));
                Answer::words(named.collect())
            }
            Err(refused) => refused,
        }
    }

    pub(super) fn count(&mut self, line: &Line) -> Answer {
        let request = v1::CountRequest {
            tenant_id: line.get("tenant").unwrap_or("acme").into(),
            filter: text(line.plain(0)).into(),
        };
        match self.ask::<v1::CountResponse>(Method::Count, &request) {
            Ok(reply) => Answer::words(vec![reply.count.to_string()]),
            Err(refused) => refused,
        }
    }

    pub(super) fn dead_letters(&mut self, line: &Line) -> Answer {
        let request = v1::ListDeadLettersRequest {
            tenant_id: line.get("tenant").unwrap_or("acme").into(),
            callable_name: line.get("callable").unwrap_or_default().into(),
            ..Default::default()
        };
        match self.ask::<v1::ListDeadLettersResponse>(Method::ListDeadLetters, &request) {
            Ok(reply) => {
                let listed = reply.executions.iter();
                let named = listed.filter_map(|record| self.name_of(&record.execution_id));
                Answer::words(named.collect())
            }
            Err(refused) => refused,
        }
    }

    pub(super) fn task(&mut self, line: &Line) -> Answer {
        let (tenant_id, execution_id) = self.named(line);
        let request = v1::GetTaskRecordRequest {
            tenant_id,
            execution_id,
        };
        let reply = self.ask::<v1::GetTaskRecordResponse>(Method::GetTaskRecord, &request);
        let record = match reply {
            Ok(reply) => reply.record.expect("its record"),
            Err(refused) => return refused,
        };
        let now_ms = self.desk.now.wall_ms;
        let shown = line
            .keyed()
            .map(|(key, _)| (key.into(), show_task(&record, key, now_ms)));
        Answer {
            words: Vec::new(),
            fields: shown.collect(),
        }
    }
}
