use super::*;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_port_is_open_or_says_why_not() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = server.local_addr().unwrap().to_string();
    assert_eq!(connects(&at).await, Ok(()));
    drop(server);
    let why = connects(&at).await.unwrap_err();
    assert!(why.contains("no connection"), "{why}");
}

#[test]
fn a_server_is_asked_at_its_own_address_in_the_zone_where_it_starts() {
    let at = |text, ip: Option<&str>| addressed(text, ip.map(|ip| ip.parse().unwrap()));
    let found = at("{address}:5432", Some("192.0.2.7"));
    assert_eq!(found.as_deref(), Ok("192.0.2.7:5432"));
    let found = at("http://{address}/live", Some("2001:db8::7"));
    assert_eq!(found.as_deref(), Ok("http://[2001:db8::7]/live"));
    let why = "Nova shows no address of it".to_owned();
    assert_eq!(at("{address}:5432", None), Err(why));
    assert_eq!(
        at("db.example:5432", None).as_deref(),
        Ok("db.example:5432")
    );
}

#[tokio::test]
async fn only_a_good_status_is_an_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/live", server.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        for status in [200, 302, 399, 400, 503] {
            let (mut stream, _) = server.accept().await.unwrap();
            assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for _ in 0..3 {
        assert_eq!(answers(&url).await, Ok(()));
    }
    for status in [400, 503] {
        assert_eq!(answers(&url).await, Err(format!("it answers {status}")));
    }
    serving.await.unwrap();
}
