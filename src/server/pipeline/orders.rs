//! What a member's replica has the log role do besides appending.
//!
//! Flow       `ToLog` -> the keeper -> `FromLog`. One order at a time, in their order, but for reading, which each time is a
//!            task of its own.

use std::rc::Rc;
use std::time::Instant;

use storage::Disk;

use super::super::keeper::KeeperError;
use super::super::messages::{FromLog, ToLog};
use super::{Pipeline, Runtime};

impl<D: Disk + 'static, R: Runtime> Pipeline<D, R>
where
    D::Map: Send,
{
    /// Carries an order out and answers.
    ///
    /// # Errors
    /// The server cannot go on.
    pub(super) async fn carry_out(&self, order: ToLog) -> Result<(), KeeperError> {
        let keeper = &self.keeper;
        match order {
            ToLog::Save { epochs, adopt } => {
                self.settle().await?;
                let snapshot_dir = keeper.save(epochs, adopt).await?;
                if snapshot_dir.is_some() {
                    let keeper = Rc::clone(keeper);
                    self.runtime.spawn(async move { keeper.remove_stale().await });
                }
                self.report(FromLog::Saved { snapshot_dir });
            }
            ToLog::Truncate { last, reload } => {
                self.settle().await?;
                let cut = keeper.truncate(last, reload).await?;
                let (kept, tree) = cut.map(|cut| (cut.kept, cut.tree)).unzip();
                self.report(FromLog::Truncated { kept, tree: tree.flatten() });
            }
            ToLog::BeginState { zxid } => {
                self.settle().await?;
                keeper.begin_state(zxid).await?;
            }
            ToLog::State(bytes) => keeper.add_state(&bytes).await,
            ToLog::EndState { metadata } => {
                self.settle().await?;
                let is_ready = keeper.end_state(&metadata).await?;
                self.report(FromLog::StateReady { is_ready });
            }
            ToLog::Reload => {
                self.settle().await?;
                let tree = Box::new(keeper.reload().await?);
                self.report(FromLog::Reloaded { tree });
            }
            ToLog::Locate { link, zxid } => {
                let this = self.clone();
                let locate = async move { FromLog::Located { link, located: this.keeper.locate(zxid).await } };
                self.report_when_done(locate);
            }
            ToLog::Read { link, after, upto } => {
                let this = self.clone();
                let read = async move { FromLog::Read { link, entries: this.keeper.read(link, after, upto).await } };
                self.report_when_done(read);
            }
            ToLog::Entry { .. } | ToLog::PurgeBefore(_) | ToLog::End => unreachable!("the caller sees to these"),
        }
        Ok(())
    }

    /// Everything that was appended becomes durable and is reported, so that no report speaks of a log that has gone.
    async fn settle(&self) -> Result<(), KeeperError> {
        let started = Instant::now();
        self.log.sync().await?;
        self.report_synced(started.elapsed());
        Ok(())
    }

    fn report_when_done(&self, answer: impl Future<Output = FromLog> + 'static) {
        let this = self.clone();
        self.runtime.spawn(async move { this.report(answer.await) });
    }
}
