//! The truth: what an undamaged server answers, and the comparison with what another one does.
//!
//! Owns the rule of this suite: an answer is the same, or says that data is damaged. Refuses to
//! say which data was damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use backlane_runtime::Method;
use backlane_sim::api::v1;

use crate::calls::get;
use crate::sample::{END_MS, Made, Sample, TENANTS};
use crate::server::{Outcome, Refusal, Server};

pub(crate) struct Truth {
    pub(crate) sample: Sample,
    records: BTreeMap<String, v1::BackgroundExecution>,
    attempts: BTreeMap<String, v1::ListAttemptsResponse>,
    repeats: Vec<v1::EnqueueResponse>,
}

/// How many answers said that data is damaged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub(crate) gets: usize,
    pub(crate) attempts: usize,
    pub(crate) lists: usize,
    pub(crate) repeats: usize,
}

impl Noticed {
    pub(crate) const NOTHING: Self = Self {
        gets: 0,
        attempts: 0,
        lists: 0,
        repeats: 0,
    };
}

/// The same executions, asked in the same way.
struct Answers {
    gets: Vec<Outcome<v1::GetResponse>>,
    attempts: Vec<Outcome<v1::ListAttemptsResponse>>,
    repeats: Vec<Outcome<v1::EnqueueResponse>>,
}

fn ask(server: &Server, made: &[Made]) -> Answers {
    let gets: Vec<_> = made
        .iter()
        .map(|made| get(&made.request.tenant_id, &made.id))
        .collect();
    let attempts: Vec<_> = made.iter().map(attempts_of).collect();
    let repeats: Vec<_> = made.iter().map(|made| made.request.clone()).collect();
    Answers {
        gets: server.ask_all(Method::Get, &gets),
        attempts: server.ask_all(Method::ListAttempts, &attempts),
        repeats: server.ask_all(Method::Enqueue, &repeats),
    }
}

fn attempts_of(made: &Made) -> v1::ListAttemptsRequest {
    v1::ListAttemptsRequest {
        tenant_id: made.request.tenant_id.clone(),
        execution_id: made.id.clone(),
        ..Default::default()
    }
}

impl Truth {
    pub(crate) fn of(sample: Sample) -> Self {
        let directory = sample.image.placed();
        let server = Self::open(directory.path()).expect("an undamaged directory");
        let answers = ask(&server, &sample.made);
        let mut truth = Self {
            records: BTreeMap::new(),
            attempts: BTreeMap::new(),
            repeats: Vec::new(),
            sample,
        };
        let made = truth.sample.made.iter().zip(answers.gets);
        for ((made, got), attempts) in made.zip(answers.attempts) {
            let record = got.expect("it is found").execution.expect("its record");
            truth.records.insert(made.id.clone(), record);
            let attempts = attempts.expect("its attempts");
            truth.attempts.insert(made.id.clone(), attempts);
        }
        for repeat in answers.repeats {
            let repeat = repeat.expect("it was made before");
            assert!(repeat.existing);
            truth.repeats.push(repeat);
        }
        truth
    }

    /// Opens a copy of the sample's directory at the instant at which the sample was complete.
    pub(crate) fn open(path: &Path) -> Result<Server, String> {
        Server::try_open_at(path, END_MS)
    }

    pub(crate) fn record(&self, id: &str) -> &v1::BackgroundExecution {
        &self.records[id]
    }

    /// The executions of a callable.
    pub(crate) fn of_callable(&self, callable: &str) -> Vec<&Made> {
        let made = self.sample.made.iter();
        made.filter(|made| made.request.callable_name == callable)
            .collect()
    }

    /// Compares every answer of a server with the truth.
    ///
    /// # Errors
    /// The reason why the server is dead.
    pub(crate) fn compare(&self, server: &Server) -> Result<Noticed, String> {
        let made = &self.sample.made;
        let answers = ask(server, made);
        let mut noticed = Noticed::default();
        let mut damaged = BTreeSet::new();
        for (made, got) in made.iter().zip(answers.gets) {
            if self.is_damaged(&made.id, got)? {
                noticed.gets += 1;
                damaged.insert(&*made.id);
            }
        }
        for (made, attempts) in made.iter().zip(answers.attempts) {
            let expected = &self.attempts[&made.id];
            noticed.attempts += usize::from(differs(&made.id, expected, attempts)?);
        }
        for (expected, repeat) in self.repeats.iter().zip(answers.repeats) {
            noticed.repeats += usize::from(differs("a repeated request", expected, repeat)?);
        }
        for tenant in TENANTS {
            noticed.lists += usize::from(self.is_list_damaged(server, tenant, &damaged)?);
        }
        Ok(noticed)
    }

    fn is_damaged(&self, id: &str, got: Outcome<v1::GetResponse>) -> Result<bool, String> {
        let expected = v1::GetResponse {
            execution: Some(self.record(id).clone()),
        };
        differs(id, &expected, got)
    }

    /// A page shows an execution as it is, or one that is damaged by its id and its status as far
    /// as they are known. It leaves out none but damaged ones.
    fn is_list_damaged(
        &self,
        server: &Server,
        tenant: &str,
        damaged: &BTreeSet<&str>,
    ) -> Result<bool, String> {
        let listed = match server.list(tenant) {
            Ok(listed) => listed,
            Err(Refusal::Dead(why)) => return Err(why),
            Err(refusal) => {
                assert!(refusal.is_damage(), "{refusal:?}");
                return Ok(true);
            }
        };
        let mut is_damaged = false;
        let mut missing: BTreeSet<&str> = self.ids_of(tenant).collect();
        for record in &listed {
            let id = &*record.execution_id;
            assert!(
                missing.remove(id),
                "{id} was listed twice or of another tenant"
            );
            if record != self.record(id) {
                is_damaged = true;
                let brief = v1::BackgroundExecution {
                    execution_id: id.to_owned(),
                    status: record.status,
                    ..Default::default()
                };
                assert_eq!(&brief, record, "neither the record nor a brief one");
                let known = [0, self.record(id).status];
                assert!(known.contains(&record.status), "{record:?}");
                assert!(
                    damaged.contains(id),
                    "{id} is listed as damaged and got whole"
                );
            }
        }
        assert!(
            missing.is_subset(damaged),
            "{missing:?} are not listed, and are whole"
        );
        Ok(is_damaged || !missing.is_empty())
    }

    fn ids_of(&self, tenant: &str) -> impl Iterator<Item = &str> {
        let made = self.sample.made.iter();
        let made = made.filter(move |made| made.request.tenant_id == tenant);
        made.map(|made| &*made.id)
    }
}

/// Whether an answer says that data is damaged, instead of what is expected.
fn differs<R: PartialEq + std::fmt::Debug>(
    subject: &str,
    expected: &R,
    answer: Outcome<R>,
) -> Result<bool, String> {
    match answer {
        Ok(answer) => {
            assert_eq!(*expected, answer, "{subject}");
            Ok(false)
        }
        Err(Refusal::Dead(why)) => Err(why),
        Err(refusal) => {
            assert!(refusal.is_damage(), "{subject}: {refusal:?}");
            Ok(true)
        }
    }
}
