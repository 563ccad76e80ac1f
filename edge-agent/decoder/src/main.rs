//! `tongluo-decoder`: turns a camera's keyframes into JPEGs and judgements, for the gateway that started it.
//!
//! It reads requests from standard input and answers on standard output, one at a time, and ends with its input. FFmpeg's
//! libraries read what a camera sends, so this process is one that may die: it bounds its own memory and time, runs with low
//! priority, opens no file and no socket, and its gateway kills it when an answer takes too long.

mod limits;
mod picture;

use std::io::{self, Read as _};
use std::process::ExitCode;

use tongluo_protocols::media::decoder::{Answer, LOOKS_BYTES, REQUEST_BYTES_MAX, Request, Task};

fn main() -> ExitCode {
    if limits::apply().is_err() || picture::prepare().is_err() {
        return ExitCode::FAILURE;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Answers until the gateway closes the pipe.
fn serve() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut body = Vec::new();
    loop {
        let mut length = [0; 4];
        if let Err(error) = input.read_exact(&mut length) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) };
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        limits::begin_request();
        answer(&body, &mut output)?;
        // A large group should not stay for the next snapshot, hours later.
        body.shrink_to(64 * 1024);
    }
}

fn answer(body: &[u8], output: &mut impl io::Write) -> io::Result<()> {
    let jpeg;
    let reason;
    let answer = match handle(body) {
        Ok(Made::Jpeg(made)) => {
            jpeg = made;
            Answer::Jpeg(&jpeg)
        }
        Ok(Made::Looks(looks)) => Answer::Looks(*looks),
        Err(error) => {
            reason = error;
            Answer::Failed(&reason)
        }
    };
    let mut buffer = [0; LOOKS_BYTES];
    let (kind, rest) = answer.parts(&mut buffer);
    let length = u32::try_from(rest.len() + 1).map_err(|_| io::ErrorKind::InvalidData)?;
    output.write_all(&length.to_be_bytes())?;
    output.write_all(&[kind])?;
    output.write_all(rest)?;
    output.flush()
}

enum Made {
    Jpeg(Vec<u8>),
    Looks(Box<tongluo_protocols::media::decoder::Looks>),
}

fn handle(body: &[u8]) -> Result<Made, String> {
    let request = Request::parse(body).map_err(|error| error.to_string())?;
    match request.task {
        Task::Jpeg { width_max, bytes_max } => {
            let frame = picture::decode(&request, false)?;
            picture::jpeg(&frame, width_max.into(), bytes_max as usize).map(Made::Jpeg)
        }
        Task::Judge => {
            let frame = picture::decode(&request, true)?;
            Ok(Made::Looks(Box::new(picture::looks(&frame))))
        }
    }
}
