//! Whether a web server answers: what a runbook waits for. Trusts the system's authorities, follows no redirect.

use crate::{http::Http, roots::Roots, url::Url};
use hyper::Uri;
use std::time::Duration;
use tokio::time::timeout;

/// The status that a GET of this URL is answered with.
///
/// # Errors
/// In words, why there was no answer.
pub async fn status_of(url: &str, within: Duration) -> Result<u16, String> {
    let at = target(url)?;
    let roots = match at.secure {
        true => Some(Roots::load(None)?),
        false => None,
    };
    let http = Http { roots };
    match timeout(within, http.status(&at)).await {
        Ok(Ok(status)) => Ok(status.as_u16()),
        Ok(Err(e)) => Err(format!("no answer: {e}")),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// The server, and what is asked of it as it was written: a slash at its end and a query count.
fn target(url: &str) -> Result<Url, String> {
    let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let server = url.strip_suffix(path).unwrap_or(url).trim_end_matches('/');
    Ok(Url::parse(server)?.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_is_asked_for_is_as_it_was_written() {
        for (url, server, path) in [
            ("http://h", "h:80", "/"),
            ("http://h/", "h:80", "/"),
            ("http://h:81/live/", "h:81", "/live/"),
            ("http://h/live?deep=1", "h:80", "/live?deep=1"),
            ("http://[::1]:81/a", "[::1]:81", "/a"),
        ] {
            let at = target(url).unwrap();
            assert_eq!(
                (at.authority().as_str(), at.path()),
                (server, path),
                "{url}"
            );
        }
        for bad in ["ftp://h/", "http://", "not a url"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn any_status_is_an_answer_and_silence_is_none() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = server.local_addr().unwrap();
        let answers = tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 204 No Content",
                "HTTP/1.1 503 Busy\r\nContent-Length: 0",
            ] {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut asked = [0; 512];
                let n = stream.read(&mut asked).await.unwrap();
                let asked = String::from_utf8_lossy(&asked[..n]).into_owned();
                assert!(asked.starts_with("GET /live?x=1 HTTP/1.1\r\n"), "{asked}");
                stream
                    .write_all(format!("{answer}\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
            }
            // The third is taken and not answered.
            server.accept().await.unwrap()
        });
        let url = format!("http://{at}/live?x=1");
        assert_eq!(status_of(&url, LONG).await, Ok(204));
        assert_eq!(status_of(&url, LONG).await, Ok(503));
        let silent = status_of(&url, Duration::from_millis(300)).await;
        assert_eq!(silent, Err("no answer in time".to_owned()));
        drop(answers.await.unwrap());
        let refused = status_of(&url, LONG).await.unwrap_err();
        assert!(refused.contains("no answer"), "{refused}");
    }
}
