//! A server's disks, of its `block_device` blocks and of what was attached later.

use super::{attributes::Attributes, build::Index};
use crate::servers::{
    check::NO_ROOT_VOLUME,
    record::{DiskRecord, VolumeRef},
};
use std::collections::BTreeMap;

/// What the provider writes for the image of a server that has none.
const NO_IMAGE: &str = "Attempt to boot from volume";
/// What a hypervisor calls the first disk.
const FIRST_DISKS: &[&str] = &["/dev/vda", "/dev/sda", "/dev/hda", "/dev/xvda"];

/// A block's disk.
enum Block {
    /// A volume that the state names.
    Volume { id: String, boot: Option<u32> },
    /// A volume that Nova made: the state does not say which.
    Unnamed { boot: Option<u32> },
    /// On the hypervisor.
    Local { boot: Option<u32> },
}

/// The disks, or why there can be no record.
pub(super) fn of(
    server: &Attributes,
    id: &str,
    index: &Index<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<DiskRecord>, String> {
    let mut devices: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for (volume, device) in index.attached.get(id).into_iter().flatten() {
        let known = devices.entry(*volume).or_default();
        *known = known.or(*device);
    }
    let disk = |volume: &str, boot_index: Option<u32>, delete: bool| DiskRecord {
        volume: VolumeRef {
            id: volume.to_owned(),
            name: index
                .volumes
                .get(volume)
                .and_then(|v| v.attributes.owned("name")),
        },
        boot_index,
        device: devices.get(volume).copied().flatten().map(str::to_owned),
        tag: None,
        delete_on_termination: delete,
    };

    let (mut boots, mut data) = (Vec::new(), Vec::new());
    let mut root_is_local = false;
    for block in server.blocks("block_device") {
        match read(block) {
            Block::Volume { id, boot } => {
                let disk = disk(&id, boot, block.flag("delete_on_termination"));
                if block.flag("multiattach") || index.multiattach.contains(id.as_str()) {
                    return Err(format!(
                        "cannot be protected: its volume {id} may be attached to several servers"
                    ));
                }
                if boot.is_some() {
                    boots.push(disk);
                } else {
                    data.push(disk);
                }
            }
            Block::Unnamed { boot: Some(0) } => {
                return Err("its root disk is a volume that Nova made of an image, and the state does not say which: take the record from Nova, or write it by a script".to_owned());
            }
            Block::Unnamed { .. } => {
                return Err("one of its disks is a volume that Nova made, and the state does not say which: take the record from Nova, or write it by a script".to_owned());
            }
            Block::Local { boot: Some(0) } => root_is_local = true,
            Block::Local { .. } => {
                notes.push("has a disk on its hypervisor, which is not in its record: its data is lost with its zone".to_owned());
            }
        }
    }
    boots.sort_by_key(|d| d.boot_index);

    let mut later: Vec<(&str, Option<&str>)> = devices
        .iter()
        .filter(|(volume, _)| !boots.iter().chain(&data).any(|d| d.volume.id == **volume))
        .map(|(volume, device)| (*volume, *device))
        .collect();
    if let Some((volume, _)) = later.iter().find(|(v, _)| index.multiattach.contains(v)) {
        return Err(format!(
            "cannot be protected: its volume {volume} may be attached to several servers"
        ));
    }
    // `/dev/vdaa` comes after `/dev/vdz`, and what has no device last.
    later.sort_by_key(|(volume, device)| (device.is_none(), device.map(|d| (d.len(), d)), *volume));

    if !boots.iter().any(|d| d.boot_index == Some(0)) {
        let image = server.text("image_id");
        if root_is_local || image.is_some_and(|i| !i.starts_with(NO_IMAGE)) {
            return Err(NO_ROOT_VOLUME.to_owned());
        }
        // A server that was imported into the state has no blocks: its devices tell.
        let first =
            |(_, device): &(&str, Option<&str>)| device.is_some_and(|d| FIRST_DISKS.contains(&d));
        let Some(place) = later.iter().position(first) else {
            return Err("the state does not say which volume it boots from: take the record from Nova, or write it by a script".to_owned());
        };
        let (volume, device) = later.remove(place);
        notes.push(format!(
            "boots from {volume}, to judge by its device ({})",
            device.unwrap_or_default()
        ));
        boots.insert(0, disk(volume, Some(0), false));
    }
    data.extend(
        later
            .into_iter()
            .map(|(volume, _)| disk(volume, None, false)),
    );
    boots.extend(data);
    Ok(boots)
}

fn read(block: super::attributes::Block<'_>) -> Block {
    // The provider's default is 0, and -1 stands for what is not booted from.
    let boot = match block.number("boot_index") {
        None => Some(0),
        Some(n) => u32::try_from(n).ok(),
    };
    let source = block.text("source_type").unwrap_or_default();
    let to_volume = match block.text("destination_type") {
        Some(destination) => destination == "volume",
        None => matches!(source, "volume" | "snapshot"),
    };
    match (source, to_volume, block.text("uuid")) {
        ("volume", _, Some(id)) => Block::Volume {
            id: id.to_owned(),
            boot,
        },
        ("volume", _, None) | (_, true, _) => Block::Unnamed { boot },
        (_, false, _) => Block::Local { boot },
    }
}
