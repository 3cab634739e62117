//! Changing a group's isolation response without a moment in which somebody relies on the wrong one.
//!
//! The response stands in three places: what this sidecar does; the lease's record, from which the leader takes that an
//! isolated zone demotes itself; and the images' metadata, for a sidecar that starts without etcd. The leader's proof
//! holds only while what is done is at least as strict as what the record says. So:
//!
//! ```text
//!   stricter (to demote):     do it -> note it in the metadata -> write it to the record
//!   weaker (freeze, keep):    write it to the record -> see it there -> do it -> note it
//! ```

use super::keys::Terms;
use rekindle_common::{lease::LeaseTiming, policy::IsolationResponse};

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PolicyChange {
    /// What is done.
    acting: Terms,
    /// What the metadata says; `None` where it is not known.
    noted: Option<IsolationResponse>,
}

/// The next step of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is left to do.
    Settled,
    /// Write this to the images' metadata.
    Note(IsolationResponse),
    /// Write these terms to the record.
    Rewrite(Terms),
}

impl PolicyChange {
    pub(super) fn new(acting: Terms) -> Self {
        Self {
            acting,
            noted: None,
        }
    }

    /// What the keeper does now.
    pub(super) fn terms(&self) -> Terms {
        self.acting
    }

    /// What a record that is made now says: never stricter than what a start without etcd would do.
    pub(super) fn terms_to_record(&self) -> Terms {
        let response = match (self.acting.response, self.noted) {
            (IsolationResponse::Demote, Some(noted)) => noted,
            (acting, _) => acting,
        };
        Terms {
            response,
            ..self.acting
        }
    }

    /// The metadata was read.
    pub(super) fn saw_metadata(&mut self, noted: IsolationResponse) {
        self.noted = Some(noted);
    }

    /// The spec was read, and what stands in this sidecar's own record, if it has one. Says what is to be done next; what the
    /// keeper does follows [`Self::terms`].
    pub(super) fn follow(
        &mut self,
        timing: LeaseTiming,
        response: IsolationResponse,
        recorded: Option<IsolationResponse>,
    ) -> Next {
        let desired = Terms { timing, response };
        self.acting.timing = timing;
        match (response, recorded) {
            (IsolationResponse::Demote, recorded) => {
                self.acting.response = IsolationResponse::Demote;
                match (self.noted, recorded) {
                    (Some(IsolationResponse::Freeze | IsolationResponse::Keep), _) => {
                        Next::Note(IsolationResponse::Demote)
                    }
                    (Some(IsolationResponse::Demote), Some(r))
                        if r != IsolationResponse::Demote =>
                    {
                        Next::Rewrite(desired)
                    }
                    (Some(IsolationResponse::Demote) | None, _) => Next::Settled,
                }
            }
            (IsolationResponse::Freeze | IsolationResponse::Keep, Some(r)) if r == response => {
                self.acting.response = response;
                match self.noted {
                    Some(noted) if noted != response => Next::Note(response),
                    Some(_) | None => Next::Settled,
                }
            }
            (IsolationResponse::Freeze | IsolationResponse::Keep, Some(_)) => {
                Next::Rewrite(desired)
            }
            // No record to change: one is made on the terms that are acted on, and changed then.
            (IsolationResponse::Freeze | IsolationResponse::Keep, None) => Next::Settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IsolationResponse::{Demote, Freeze, Keep};

    fn change(acting: IsolationResponse) -> PolicyChange {
        PolicyChange::new(Terms {
            timing: LeaseTiming::default(),
            response: acting,
        })
    }
    fn follow(c: &mut PolicyChange, to: IsolationResponse, rec: Option<IsolationResponse>) -> Next {
        c.follow(LeaseTiming::default(), to, rec)
    }
    fn terms(response: IsolationResponse) -> Terms {
        Terms {
            timing: LeaseTiming::default(),
            response,
        }
    }

    #[test]
    fn a_weaker_response_is_recorded_before_it_is_done() {
        let mut c = change(Demote);
        c.saw_metadata(Demote);
        assert_eq!(follow(&mut c, Keep, None), Next::Settled);
        assert_eq!(c.terms().response, Demote);
        assert_eq!(
            follow(&mut c, Keep, Some(Demote)),
            Next::Rewrite(terms(Keep))
        );
        assert_eq!(
            c.terms().response,
            Demote,
            "done before it was seen in the record"
        );
        assert_eq!(follow(&mut c, Keep, Some(Keep)), Next::Note(Keep));
        assert_eq!(c.terms().response, Keep);
        c.saw_metadata(Keep);
        assert_eq!(follow(&mut c, Keep, Some(Keep)), Next::Settled);
    }

    #[test]
    fn a_stricter_response_is_done_and_noted_before_it_is_recorded() {
        let mut c = change(Freeze);
        c.saw_metadata(Freeze);
        assert_eq!(follow(&mut c, Demote, Some(Freeze)), Next::Note(Demote));
        assert_eq!(c.terms().response, Demote);
        // A record that is made meanwhile does not promise what a restart would not do.
        assert_eq!(c.terms_to_record().response, Freeze);
        c.saw_metadata(Demote);
        assert_eq!(
            follow(&mut c, Demote, Some(Freeze)),
            Next::Rewrite(terms(Demote))
        );
        assert_eq!(c.terms_to_record().response, Demote);
        assert_eq!(follow(&mut c, Demote, Some(Demote)), Next::Settled);
    }
}
