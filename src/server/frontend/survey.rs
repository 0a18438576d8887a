//! Surveys: a four-letter word needs what every core knows, and what the replica knows.
//!
//! Flow       word -> `ToReplica::Ask` -> every core gathers its part -> the parts come back through the replica -> when
//!            all are there, or after [`SURVEY_MAX`] with those that are, the text is written.
//! Invariant  the asking connection waits in `Closing`: nothing it sends is read, and its answer is its last.
//! Absent     the texts, which `words` writes. With one executor all of this happens within the turn of the question.

use std::time::Duration;

use glommio::timer::sleep;
use ids::SessionId;

use super::super::admin::Word;
use super::super::messages::{ConnId, Facts, ReplicaFacts, ServeFacts, SurveyId, ToReplica};
use super::super::metrics::Metrics;
use super::super::replica::Now;
use super::Frontend;
use super::connection::Phase;

/// How long an answer waits for a core that does not say its part. None should ever need a hundredth of it.
pub const SURVEY_MAX: Duration = Duration::from_secs(1);

/// The surveys under way on this core.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    last: u32,
    open: Vec<Survey>,
}

/// What is known so far for one word.
#[derive(Debug)]
pub(super) struct Survey {
    number: u32,
    conn: ConnId,
    pub(super) word: Word,
    missing: usize,
    began: Now,
    /// Of all roles, added up.
    pub(super) metrics: Metrics,
    /// Of each serving core that has answered.
    pub(super) serve: Vec<ServeFacts>,
    /// Of the replica.
    pub(super) replica: ReplicaFacts,
}

impl Frontend {
    /// Asks everybody for what `word` needs. The answer follows.
    pub(super) fn begin_survey(&mut self, conn: ConnId, word: Word, now: Now) {
        if let Some(conn) = self.conn(conn) {
            conn.phase = Phase::Closing;
        }
        self.surveys.last = self.surveys.last.wrapping_add(1);
        let number = self.surveys.last;
        self.surveys.open.push(Survey {
            number,
            conn,
            word,
            missing: self.serve_cores + 1,
            began: now,
            metrics: Metrics::new(),
            serve: Vec::new(),
            replica: ReplicaFacts::default(),
        });
        self.to_replica.post(ToReplica::Ask(SurveyId { core: self.core, number }, word));
        self.survey_work.ring();
    }

    /// Says this core's part of a survey.
    pub(super) fn gather(&mut self, survey: SurveyId, word: Word) {
        let facts = ServeFacts {
            metrics: matches!(word, Word::Mntr | Word::Srvr | Word::Stat).then(|| self.metrics.clone()),
            connections: self.connections,
            in_process: self.in_process,
            drop_probability: self.handshakes.drop_probability(),
            watch_count: self.watches.len(),
            watches: self.watches.totals(),
            ..ServeFacts::default()
        };
        let facts = match word {
            Word::Cons | Word::Stat => ServeFacts { conns: self.connections(), ..facts },
            Word::Dump => ServeFacts { timeouts: self.timeouts(), ..facts },
            Word::Wchc => ServeFacts { by_session: self.watched_by_session(), ..facts },
            // The totals of several cores cannot be added up: they may watch the same paths.
            Word::Wchs if self.serve_cores == 1 => facts,
            Word::Wchp | Word::Wchs => ServeFacts { by_path: self.watched_by_path(), ..facts },
            _ => facts,
        };
        match word {
            Word::Crst => {
                self.slots.iter_mut().filter_map(|slot| slot.conn.as_mut()).for_each(|conn| conn.stats.reset());
            }
            Word::Srst => self.metrics.reset(),
            _ => {}
        }
        self.to_replica.post(ToReplica::Facts(survey, Box::new(Facts::Serve(facts))));
    }

    /// A part has come.
    pub(super) fn gathered(&mut self, id: SurveyId, facts: Facts, now: Now) {
        let open = &mut self.surveys.open;
        // A part that comes after the answer is too late.
        let Some(at) = open.iter().position(|survey| survey.number == id.number) else { return };
        let survey = &mut open[at];
        survey.missing -= 1;
        match facts {
            Facts::Serve(mut facts) => {
                survey.metrics.merge(&facts.metrics.take().unwrap_or_default());
                survey.serve.push(facts);
            }
            Facts::Replica(mut facts) => {
                survey.metrics.merge(&facts.metrics.take().unwrap_or_default());
                survey.replica = facts;
            }
        }
        if survey.missing == 0 {
            let survey = self.surveys.open.swap_remove(at);
            self.end_survey(&survey, now);
        }
    }

    fn end_survey(&mut self, survey: &Survey, now: Now) {
        let text = self.survey_text(survey, now);
        self.answer_word(survey.conn, &text);
    }

    /// Answers what has waited too long with what there is. False when nothing waits any more.
    pub fn expire_surveys(&mut self, now: Now) -> bool {
        let (due, open): (Vec<Survey>, Vec<Survey>) = std::mem::take(&mut self.surveys.open)
            .into_iter()
            .partition(|survey| now.instant.saturating_duration_since(survey.began.instant) >= SURVEY_MAX);
        self.surveys.open = open;
        for survey in &due {
            tracing::warn!(word = ?survey.word, missing = survey.missing, "answering a four-letter word without some cores' part");
            self.end_survey(survey, now);
        }
        !self.surveys.open.is_empty()
    }

    fn timeouts(&self) -> Vec<(std::net::SocketAddr, SessionId, i32)> {
        self.all().map(|conn| (conn.link.peer_addr(), conn.session, conn.timeout_ms)).collect()
    }

    fn watched_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        let mut out = Vec::new();
        self.watches.by_watcher(|watcher, paths| {
            let paths = paths.iter().map(|&path| path.to_owned()).collect();
            out.push((self.session_of(watcher.0), paths));
        });
        out
    }

    fn watched_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        let mut out = Vec::new();
        self.watches.by_path(|path, watchers| {
            out.push((path.to_owned(), watchers.iter().map(|watcher| self.session_of(watcher.0)).collect()));
        });
        out
    }

    fn session_of(&self, slot: u32) -> SessionId {
        self.slots.get(slot as usize).and_then(|place| place.conn.as_ref()).map_or(SessionId::NONE, |conn| conn.session)
    }
}

/// Looks after surveys that wait for a core which does not answer.
pub async fn watch_surveys(core: std::rc::Rc<super::super::core::Core>) {
    let work = std::rc::Rc::clone(&core.frontend().survey_work);
    loop {
        work.wait().await;
        loop {
            // With one executor every survey has ended in its own turn, and there is nothing to wait for.
            if !core.serve(Now::read(), |frontend| frontend.has_surveys()) {
                break;
            }
            sleep(SURVEY_MAX / 4).await;
            let now = Now::read();
            core.serve(now, |frontend| frontend.expire_surveys(now));
        }
    }
}

impl Frontend {
    fn has_surveys(&self) -> bool {
        !self.surveys.open.is_empty()
    }
}
