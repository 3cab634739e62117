//! Commands to the monitors and the manager, in JSON as the `ceph` tool sends them.

use std::ffi::{c_char, c_int};
use std::ptr;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::buffer::c_text;
use crate::error::At;
use crate::{Cluster, Error};

/// What a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandReply {
    /// The output: JSON if the command asked for `"format": "json"`.
    pub output: Vec<u8>,
    /// The status line, mostly empty.
    pub status: String,
}

/// `rados_mon_command` and `rados_mgr_command` have one shape.
type CommandFn = unsafe extern "C" fn(
    crate::sys::types::rados_t,
    *mut *const c_char,
    usize,
    *const c_char,
    usize,
    *mut *mut c_char,
    *mut usize,
    *mut *mut c_char,
    *mut usize,
) -> c_int;

impl Cluster {
    /// Sends a command to the monitors: `{"prefix": "osd blocklist ls", "format": "json"}`.
    ///
    /// # Errors
    /// What the command answered, with its words; [`Error::TimedOut`] when no monitor answers in
    /// `rados_mon_op_timeout`.
    ///
    /// # Implements:
    /// ```c
    /// int rados_mon_command(rados_t cluster, const char **cmd, size_t cmdlen, const char *inbuf, size_t inbuflen,
    ///                       char **outbuf, size_t *outbuflen, char **outs, size_t *outslen);
    /// ```
    pub fn mon_command(&self, command: &Value, input: &[u8]) -> Result<CommandReply, Error> {
        self.command(
            "rados_mon_command",
            self.rados().rados_mon_command,
            command,
            input,
        )
    }

    /// Sends a command to the active manager. Without one it waits, up to `rados_mon_op_timeout`.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`].
    ///
    /// # Implements:
    /// ```c
    /// int rados_mgr_command(rados_t cluster, const char **cmd, size_t cmdlen, const char *inbuf, size_t inbuflen,
    ///                       char **outbuf, size_t *outbuflen, char **outs, size_t *outslen);
    /// ```
    pub fn mgr_command(&self, command: &Value, input: &[u8]) -> Result<CommandReply, Error> {
        self.command(
            "rados_mgr_command",
            self.rados().rados_mgr_command,
            command,
            input,
        )
    }

    /// A monitor command's JSON output.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`], and [`Error::Reply`] if the output is not what `T` is.
    pub fn mon_json<T: DeserializeOwned>(&self, command: &Value) -> Result<T, Error> {
        let reply = self.mon_command(command, &[])?;
        parse(self.at("rados_mon_command"), command, &reply.output)
    }

    /// A manager command's JSON output.
    ///
    /// # Errors
    /// As [`Cluster::mon_json`].
    pub fn mgr_json<T: DeserializeOwned>(&self, command: &Value) -> Result<T, Error> {
        let reply = self.mgr_command(command, &[])?;
        parse(self.at("rados_mgr_command"), command, &reply.output)
    }

    /// Creates a replicated pool for images, if there is none of that name.
    ///
    /// # Errors
    /// What the monitors say, [`Error::Range`] if the OSDs cannot hold so many placement groups.
    ///
    /// # Implements:
    /// `osd pool create`, and
    /// `int rados_application_enable(rados_ioctx_t io, const char *app_name, int force)`
    pub fn create_pool(&self, name: &str, placement_groups: u32) -> Result<(), Error> {
        self.mon_command(
            &json!({"prefix": "osd pool create", "pool": name, "pg_num": placement_groups}),
            &[],
        )?;
        self.wait_for_latest_osdmap()?;
        let pool = self.pool(name)?;
        let app = c"rbd";
        // SAFETY: an open ioctx, and a text that ends with NUL.
        let code =
            unsafe { (self.rados().rados_application_enable)(pool.handle(), app.as_ptr(), 0) };
        pool.at("rados_application_enable").check(code)?;
        Ok(())
    }

    fn command(
        &self,
        operation: &'static str,
        function: CommandFn,
        command: &Value,
        input: &[u8],
    ) -> Result<CommandReply, Error> {
        let at = self.at(operation);
        let text = c_text("command", &command.to_string())?;
        let mut texts = [text.as_ptr()];
        let (mut out, mut out_len) = (ptr::null_mut(), 0_usize);
        let (mut status, mut status_len) = (ptr::null_mut(), 0_usize);
        // SAFETY: one command text that ends with NUL, an input of the given length, and places
        // for two buffers with their lengths, which librados allocates.
        let code = unsafe {
            function(
                self.handle(),
                texts.as_mut_ptr(),
                texts.len(),
                input.as_ptr().cast(),
                input.len(),
                &mut out,
                &mut out_len,
                &mut status,
                &mut status_len,
            )
        };
        let output = self.take(out, out_len);
        let status = String::from_utf8_lossy(&self.take(status, status_len))
            .trim()
            .to_owned();
        if code < 0 {
            let prefix = command.get("prefix").and_then(Value::as_str).unwrap_or("?");
            let words = if status.is_empty() {
                format!("`{prefix}`")
            } else {
                format!("`{prefix}`: {status}")
            };
            return Err(at.error_saying(code, words));
        }
        Ok(CommandReply { output, status })
    }

    /// Copies a buffer that librados allocated, and frees it.
    fn take(&self, buffer: *mut c_char, len: usize) -> Vec<u8> {
        if buffer.is_null() {
            return Vec::new();
        }
        // SAFETY: librados says that `len` bytes are there.
        let copy = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), len) }.to_vec();
        // SAFETY: it came from librados and is not used again.
        unsafe { (self.rados().rados_buffer_free)(buffer) };
        copy
    }
}

fn parse<T: DeserializeOwned>(at: At<'_>, command: &Value, output: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(output).map_err(|error| {
        let mut call = at.call(0, None);
        call.message = command
            .get("prefix")
            .and_then(Value::as_str)
            .map(|p| format!("`{p}`"));
        Error::Reply {
            call,
            source: Box::new(error),
        }
    })
}
