//! The demonstration's few calls to librbd: make an image, read one whole. They block: run them on a thread for that.

use super::record::{self, Contents};
use rbd_rs::{Ceph, Cluster, ConnectOptions, CreateOptions, Error, Features, Image, Timeouts};
use rekindle_common::ImageSpec;
use rekindle_lab::GuestDisk;
use std::{path::Path, time::Duration};

/// Bytes of each image.
pub const IMAGE_SIZE: u64 = 64 << 20;

/// Connects as a client of a zone, without a cache: what is acknowledged is on the OSDs.
///
/// # Errors
/// librados', in its time limits.
pub fn connect(conf: &Path, client_id: &str) -> Result<Cluster, Error> {
    let ceph = Ceph::load()?;
    let timeouts = Timeouts {
        connect: Some(Duration::from_secs(10)),
        mon_op: Some(Duration::from_secs(10)),
        osd_op: None,
    };
    let options = ConnectOptions::from_conf_file(conf)
        .client(format!("client.{client_id}"))
        .timeouts(timeouts)
        .option("rbd_cache", "false");
    Cluster::connect(&ceph, &options)
}

/// Makes images as Cinder does: with the exclusive lock, which journaling needs.
///
/// # Errors
/// librbd's; an image of that name that is there already is none of the demonstration's.
pub fn create(cluster: &Cluster, volumes: &[ImageSpec]) -> Result<(), Error> {
    for v in volumes {
        let options = CreateOptions {
            features: Some(Features::DEFAULT),
            ..CreateOptions::default()
        };
        cluster
            .pool(v.pool())?
            .create_image(v.image(), IMAGE_SIZE, &options)?;
    }
    Ok(())
}

/// Reads all of an image.
///
/// # Errors
/// librbd's.
pub fn read(cluster: &Cluster, volume: &ImageSpec) -> Result<Contents, Error> {
    let image = cluster
        .pool(volume.pool())?
        .open_read_only(volume.image())?;
    let contents = record::scan(volume, image.size()?, |at, buffer| fill(&image, at, buffer))?;
    image.close()?;
    Ok(contents)
}

/// Reads all that a test guest wrote to its disk.
///
/// # Errors
/// librbd's.
pub fn read_guest(cluster: &Cluster, volume: &ImageSpec) -> Result<GuestDisk, Error> {
    let image = cluster
        .pool(volume.pool())?
        .open_read_only(volume.image())?;
    let disk = GuestDisk::read(image.size()?, |at, buffer| fill(&image, at, buffer))?;
    image.close()?;
    Ok(disk)
}

/// Reads until the buffer is full; what lies behind the image's end is blank.
///
/// # Errors
/// librbd's.
pub fn fill(image: &Image, at: u64, buffer: &mut [u8]) -> Result<(), Error> {
    let mut done = 0;
    while done < buffer.len() {
        let n = image.read(at + done as u64, &mut buffer[done..])?;
        if n == 0 {
            buffer[done..].fill(0);
            break;
        }
        done += n;
    }
    Ok(())
}
