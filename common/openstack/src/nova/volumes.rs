//! The volumes of a server.

use super::{
    Nova,
    ensure::Patience,
    error::{Refusal, ServerError},
};
use crate::{error::CloudError, url::escaped, version::Microversion, wire};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// Since when a volume can be told to outlive its server.
const KEEPS: Microversion = Microversion(2, 85);

/// A volume of a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VolumeAttachment {
    /// The volume.
    #[serde(rename = "volumeId")]
    pub volume: String,
    /// `/dev/vda`, as Nova knows it; none on a server that is on no host.
    #[serde(default, deserialize_with = "wire::text")]
    pub device: Option<String>,
    /// By which the guest can tell it.
    #[serde(default, deserialize_with = "wire::text")]
    pub tag: Option<String>,
    /// Whether Nova deletes it with the server.
    #[serde(default, deserialize_with = "wire::flag")]
    pub delete_on_termination: bool,
    /// Cinder's id of it; unknown before 2.89.
    #[serde(default, deserialize_with = "wire::text")]
    pub attachment_id: Option<String>,
}

/// A volume that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Its id.
    pub volume: String,
    /// `/dev/vdb`; Nova chooses where none is named, and not every hypervisor heeds it.
    pub device: Option<String>,
    /// By which the guest can tell it.
    pub tag: Option<String>,
}

impl Nova {
    /// A server's volumes, in no order: where devices are named, theirs is the one that counts.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn volume_attachments(
        &self,
        server: &str,
    ) -> Result<Vec<VolumeAttachment>, CloudError> {
        self.at.get(&attachments(server), "volumeAttachments").await
    }

    /// Has a volume attached. One that is, is well, whatever its device. Nova may still be at it when this ends.
    ///
    /// # Errors
    /// See [`ServerError`]; `Refused` where another server has it.
    pub async fn ensure_attached(
        &self,
        server: &str,
        attach: &Attach,
    ) -> Result<VolumeAttachment, ServerError> {
        if let Some(there) = self.attached(server, &attach.volume).await? {
            return Ok(there);
        }
        let mut body = json!({ "volumeId": attach.volume, "delete_on_termination": false });
        if let Some(device) = &attach.device {
            body["device"] = json!(device);
        }
        if let Some(tag) = &attach.tag {
            body["tag"] = json!(tag);
        }
        let body = json!({ "volumeAttachment": body });
        let e = match self.at.post(&attachments(server), &body).await {
            Ok((op, answer)) => return Ok(self.at.take(&op, answer, "volumeAttachment")?),
            Err(e) => e,
        };
        // The answer may be lost, or another has been quicker: what counts is whether it is there.
        if (e.may_have_taken_effect() || e.is_refusal())
            && let Some(there) = self.attached(server, &attach.volume).await?
        {
            return Ok(there);
        }
        let why = async {
            let why = self.volume_trouble(&attach.volume, false).await?;
            // Ours is no trouble.
            let ours =
                matches!(&why, Refusal::VolumeInUse { by, .. } if by.iter().any(|s| s == server));
            (!ours).then_some(why)
        };
        Err(self.refused(server, e, why).await)
    }

    /// Has a volume detached, and waits for it: Nova lets go of it only when the guest has.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn ensure_detached(
        &self,
        server: &str,
        volume: &str,
        patience: Patience,
    ) -> Result<(), ServerError> {
        let path = format!("{}/{}", attachments(server), escaped(volume));
        let end = Instant::now() + patience.within.get();
        let mut told = false;
        loop {
            let trouble = match self.attached(server, volume).await {
                Ok(None) => return Ok(()),
                Ok(Some(_)) if told => None,
                Ok(Some(_)) => match self.at.write(Method::DELETE, &path, None).await {
                    Ok(_) => {
                        told = true;
                        None
                    }
                    Err(CloudError::NotFound { .. }) => return Ok(()),
                    Err(e) => Some(e),
                },
                Err(e) => Some(e),
            };
            if let Some(e) = trouble {
                let again = e.is_passing() || e.may_have_taken_effect();
                if !again || Instant::now() >= end {
                    return Err(e.into());
                }
            }
            if Instant::now() >= end {
                return Err(ServerError::StillAttached {
                    zone: self.zone(),
                    server: server.to_owned(),
                    volume: volume.to_owned(),
                    after: patience.within,
                });
            }
            sleep(patience.poll.get()).await;
        }
    }

    /// Has none of a server's volumes deleted with it.
    ///
    /// # Errors
    /// See [`ServerError`]; `TooOld` where one would be and this Nova cannot be told otherwise.
    pub async fn keep_volumes(&self, server: &str) -> Result<(), ServerError> {
        let all = self.volume_attachments(server).await?;
        for doomed in all.iter().filter(|a| a.delete_on_termination) {
            let call = "keeping a volume that would be deleted with its server";
            self.need(KEEPS, call).await?;
            let path = format!("{}/{}", attachments(server), escaped(&doomed.volume));
            let body = json!({ "volumeAttachment": { "volumeId": doomed.volume, "delete_on_termination": false } });
            self.at.write(Method::PUT, &path, Some(&body)).await?;
        }
        Ok(())
    }

    async fn attached(
        &self,
        server: &str,
        volume: &str,
    ) -> Result<Option<VolumeAttachment>, CloudError> {
        let all = self.volume_attachments(server).await?;
        Ok(all.into_iter().find(|a| a.volume == volume))
    }
}

fn attachments(server: &str) -> String {
    format!("/servers/{}/os-volume_attachments", escaped(server))
}
