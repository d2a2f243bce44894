//! Children and dependencies: executions that come from others or wait for them.
//!
//! Owns the verb `spawn` and the word `after`. Refuses to know the other verbs.

use backlane_runtime::Method;
use backlane_sim::api::v1;

use super::{Answer, Stage};
use crate::script::{Line, Word, find};
use crate::spoken::enqueue;
use crate::stage_runs::new as new_step;

impl Stage {
    pub(super) fn spawn(&mut self, line: &Line) -> Answer {
        let mut request = enqueue(&line.words, self.desk.now.wall_ms);
        self.depend(&mut request, &line.words, &[]);
        let (_, parent) = self.ids[line.get("parent").expect("a parent")].clone();
        let parent = self.held_by(parent, line.get("token"));
        let child = v1::SpawnChild {
            background: true,
            ..Default::default()
        };
        let request = v1::SpawnRequest {
            enqueue: Some(request),
            mode: Some(v1::SpawnMode {
                mode: Some(v1::spawn_mode::Mode::Child(child)),
            }),
            parent_execution_id: parent.execution_id,
            lease_token: parent.lease_token,
            step: line.get("step").map(|name| new_step(name, None)),
            ..Default::default()
        };
        match self.ask::<v1::SpawnResponse>(Method::Spawn, &request) {
            Ok(reply) => {
                let Some(v1::spawn_response::Spawned::Execution(record)) = reply.spawned else {
                    panic!("{reply:?}")
                };
                let made = v1::EnqueueResponse {
                    execution: Some(record),
                    existing: reply.existing,
                };
                Answer::words(vec![self.met(line.plain(0), made)])
            }
            Err(refused) => refused,
        }
    }

    /// Adds what the word `after` names: items of the same batch, or executions that have a name.
    pub(super) fn depend(
        &self,
        request: &mut v1::EnqueueRequest,
        words: &[Word],
        batch: &[&[Word]],
    ) {
        let names = find(words, "after")
            .into_iter()
            .flat_map(|all| all.split(','));
        for name in names {
            match batch.iter().position(|item| item[0].value == name) {
                Some(item) => {
                    let item = u32::try_from(item).expect("few items");
                    request.depends_on_items.push(item);
                }
                None if name == "nothing" => {
                    let unknown = "exec_2Rb6sVIu9XkD3s0mN0mN0mN0mN0".to_owned();
                    request.depends_on.push(unknown);
                }
                None => request.depends_on.push(self.ids[name].1.clone()),
            }
        }
    }
}
