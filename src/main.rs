//! Parses the command line, runs the command and turns errors into exit codes.

use std::process::ExitCode;

use clap::Parser;

/// Training allocates and frees the same large buffers every step; mimalloc keeps
/// them instead of returning them to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = admix::cli::Cli::parse();
    match admix::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(admix::cli::exit_code(&error))
        }
    }
}
