//! The end of an executor's life, in the direction of the messages: nothing new is taken, what is in flight becomes
//! durable and is answered, and whoever waits for messages hears that none follow.

use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::timer::{sleep, timeout};

use super::super::core::Core;
use super::super::notify::Notify;
use super::super::replica::Now;
use super::super::signals::Reason;
use super::super::start::RunError;
use super::{Life, LogLife};

/// How much longer than the replica's own limit the other executors wait to hear that it has ended.
const END_MARGIN: Duration = Duration::from_secs(2);

/// For clients that read their last answers slowly.
const LAST_ANSWERS: Duration = Duration::from_millis(10);

/// Pause between two looks at what a stopping server waits for.
pub(super) const DRAIN_PAUSE: Duration = Duration::from_millis(1);

impl Life {
    /// Gives the roles up: nothing new is taken, what is in flight becomes durable and is answered.
    pub(super) async fn end(self, reason: Reason) -> Result<(), RunError> {
        if let Some(accepting) = &self.accepting {
            accepting.cancel();
        }
        let signal = match reason {
            Reason::Fatal(reason) => return Err(RunError::Fatal(reason)),
            Reason::Signal(name) => name,
        };
        let drain_max = self.common.config.local.request_throttle.shutdown_timeout_ms;
        let drain_max = Duration::from_millis(drain_max.into());
        if let Some(core) = self.core.as_ref().filter(|core| core.orders()) {
            self.end_replica(core, signal, drain_max).await?;
        }
        if let Some(core) = self.core.as_ref().filter(|core| core.serves()) {
            let ended = Rc::clone(&core.frontend().ended);
            self.hear_the_end(&ended, drain_max).await?;
            // The last answers have been handed to the kernel; a moment for clients that read slowly.
            sleep(LAST_ANSWERS).await;
            core.frontend().finish_all();
        }
        if let Some(links) = &self.links {
            self.end_link(links, drain_max).await?;
        }
        match &self.log {
            Some(log) => self.end_log(log, drain_max).await,
            None => Ok(()),
        }
    }

    async fn end_replica(&self, core: &Core, signal: &str, drain_max: Duration) -> Result<(), RunError> {
        let in_flight = core.replica().outstanding();
        tracing::info!(signal, in_flight, "stopping: nothing new is taken");
        let now = Now::read();
        core.order(now, |replica| replica.stop_accepting(now));
        let deadline = Instant::now() + drain_max;
        while core.replica().awaits_commits() && Instant::now() < deadline {
            self.look_for_fatal()?;
            sleep(DRAIN_PAUSE).await;
        }
        let now = Now::read();
        core.order(now, |replica| {
            replica.resign(now);
            replica.end(now);
        });
        while !core.replica().is_drained() && Instant::now() < deadline + END_MARGIN {
            sleep(DRAIN_PAUSE).await;
        }
        Ok(())
    }

    async fn end_log(&self, log: &LogLife, drain_max: Duration) -> Result<(), RunError> {
        if let Some(ended) = &log.ended {
            self.hear_the_end(ended, drain_max).await?;
        }
        // With `forceSync=no` answers do not wait for the disk, but the end does.
        let deadline = Instant::now() + drain_max;
        while log.log.log().pending() > 0 && Instant::now() < deadline {
            self.look_for_fatal()?;
            sleep(DRAIN_PAUSE).await;
        }
        if log.log.log().pending() > 0 {
            let reason = "stopped before the log was synced: the disk did not answer in time";
            return Err(RunError::Fatal(reason.to_owned()));
        }
        Ok(())
    }

    /// Waits until the replica has said that nothing follows.
    pub(super) async fn hear_the_end(&self, ended: &Notify, drain_max: Duration) -> Result<(), RunError> {
        let heard = timeout(drain_max + END_MARGIN, async {
            ended.wait().await;
            Ok(())
        });
        if heard.await.is_err() {
            tracing::warn!("stopping without having heard that the replica has ended");
        }
        self.look_for_fatal()
    }

    fn look_for_fatal(&self) -> Result<(), RunError> {
        match self.common.stop.reason() {
            Some(Reason::Fatal(reason)) => Err(RunError::Fatal(reason)),
            _ => Ok(()),
        }
    }
}
