//! Parses the command line, runs the command and turns errors into exit codes.

use std::process::ExitCode;

use clap::Parser;

/// Training allocates and frees the same large buffers every step; mimalloc keeps
/// them instead of returning them to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's option `purge_delay`, to which its bindings give no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory for good. By default it goes back to the system after a while, and
/// a third of a training went into the kernel's clearing of the same pages again.
fn keep_freed_memory() {
    // SAFETY: the call sets one number in a table; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

/// Makes the processor burn's default device. In a build with GPUs that would be one of them,
/// and a training that resumes on the processor would need its driver: an optimiser's state is
/// read onto the default device first.
fn default_to_the_processor() {
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("BURN_DEVICE", "flex") };
}

fn main() -> ExitCode {
    // A reader that has seen enough ends the program in silence, as with other tools.
    sigpipe::reset();
    keep_freed_memory();
    default_to_the_processor();
    let result = admix::cli::check_arguments(std::env::args_os())
        .and_then(|()| admix::cli::run(admix::cli::Cli::parse()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", admix::cli::describe(&error));
            ExitCode::from(admix::cli::exit_code(&error))
        }
    }
}
