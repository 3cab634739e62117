//! An image's metadata: pairs of text that mirroring carries with the image.

use std::collections::BTreeMap;
use std::ptr;

use crate::buffer::{self, Attempt, c_name, c_text};
use crate::{Error, Image};

/// How many pairs are asked for at once.
const PAGE: u64 = 64;

impl Image {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it has none.
    ///
    /// # Implements:
    /// `int rbd_metadata_get(rbd_image_t image, const char *key, char *value, size_t *val_len)`
    pub fn metadata_get(&self, key: &str) -> Result<String, Error> {
        let c_key = c_name("metadata key", key)?;
        buffer::text(self.at("rbd_metadata_get"), |value, len| {
            // SAFETY: an open image, a key that ends with NUL, room for `*len` bytes.
            unsafe { (self.rbd().rbd_metadata_get)(self.handle(), c_key.as_ptr(), value, len) }
        })
    }

    /// The value of a key, or nothing if it has none.
    ///
    /// # Errors
    /// As [`Image::metadata_get`], but for [`Error::NotFound`].
    pub fn metadata_find(&self, key: &str) -> Result<Option<String>, Error> {
        match self.metadata_get(key) {
            Ok(value) => Ok(Some(value)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the value of a key.
    ///
    /// The peer has it at once in journal mode, and with the next mirror snapshot in snapshot
    /// mode.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] where the image is not primary.
    ///
    /// # Implements:
    /// `int rbd_metadata_set(rbd_image_t image, const char *key, const char *value)`
    pub fn metadata_set(&self, key: &str, value: &str) -> Result<(), Error> {
        self.may_change("rbd_metadata_set")?;
        let (key, value) = (
            c_name("metadata key", key)?,
            c_text("metadata value", value)?,
        );
        // SAFETY: an open image, two texts that end with NUL.
        let code =
            unsafe { (self.rbd().rbd_metadata_set)(self.handle(), key.as_ptr(), value.as_ptr()) };
        self.at("rbd_metadata_set").check(code)?;
        Ok(())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, [`Error::ReadOnly`] where the image is not primary.
    ///
    /// # Implements:
    /// `int rbd_metadata_remove(rbd_image_t image, const char *key)`
    pub fn metadata_remove(&self, key: &str) -> Result<(), Error> {
        self.may_change("rbd_metadata_remove")?;
        let key = c_name("metadata key", key)?;
        // SAFETY: an open image, a text that ends with NUL.
        let code = unsafe { (self.rbd().rbd_metadata_remove)(self.handle(), key.as_ptr()) };
        self.at("rbd_metadata_remove").check(code)?;
        Ok(())
    }

    /// All pairs.
    ///
    /// # Errors
    /// As any call.
    ///
    /// # Implements:
    /// ```c
    /// int rbd_metadata_list(rbd_image_t image, const char *start, uint64_t max,
    ///                       char *keys, size_t *key_len, char *values, size_t *vals_len);
    /// ```
    pub fn metadata(&self) -> Result<BTreeMap<String, String>, Error> {
        let at = self.at("rbd_metadata_list");
        let mut pairs = BTreeMap::new();
        let mut start = String::new();
        loop {
            let c_start = c_text("metadata key", &start)?;
            let (keys, values) = buffer::grow(at, [4096, 16384], |[keys_size, values_size]| {
                let (mut keys, mut values) = (vec![0_u8; keys_size], vec![0_u8; values_size]);
                let (mut keys_len, mut values_len) = (keys_size, values_size);
                // SAFETY: an open image, a text that ends with NUL, and two buffers of the
                // lengths given.
                let code = unsafe {
                    (self.rbd().rbd_metadata_list)(
                        self.handle(),
                        c_start.as_ptr(),
                        PAGE,
                        keys.as_mut_ptr().cast(),
                        ptr::from_mut(&mut keys_len),
                        values.as_mut_ptr().cast(),
                        ptr::from_mut(&mut values_len),
                    )
                };
                Attempt::from_code(code, [keys_len, values_len], |_| {
                    keys.truncate(keys_len);
                    values.truncate(values_len);
                    (keys, values)
                })
            })?;
            let keys = buffer::nul_separated(at, &keys)?;
            let values = buffer::nul_separated(at, &values)?;
            if keys.len() != values.len() {
                return Err(at.unreadable(format!(
                    "{} keys and {} values",
                    keys.len(),
                    values.len()
                )));
            }
            let full = u64::try_from(keys.len()).is_ok_and(|found| found >= PAGE);
            let last = keys.last().cloned();
            pairs.extend(keys.into_iter().zip(values));
            match last {
                Some(last) if full => start = last,
                Some(_) | None => return Ok(pairs),
            }
        }
    }
}
