//! The `rekindle` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rekindle_cli::main(std::env::args_os()).into()
}
