//! Whole valid conversations: however the input is split, and in whatever company a request
//! comes, it gets the same reply.

use medusa_core::ChannelSettings;
use medusa_core::testing::same_for_every_split;
use medusa_http::HttpSettings;
use proptest::prelude::*;

use crate::server::{
    Answer, MODIFIED_DATE, Server, Shelf, answers_to, echo, files, get, later, now, only, post,
    post_chunked, says, statuses, stream, tree_of,
};

fn server() -> Server {
    let tree = tree_of(&[("/index.html", "<p>root"), ("/f.txt", "0123456789"), ("/d/g", "g")]);
    Server::new(vec![echo("/echo"), stream("/stream"), now("/now", "now"), files(&tree)])
}

/// Whether a request asks by HEAD.
fn is_head(request: &str) -> bool {
    request.trim_start().starts_with("HEAD")
}

/// Holds a conversation of these requests with its input split at every byte.
fn hold<const N: usize>(requests: &[String; N], expected: [u16; N]) {
    let output = same_for_every_split(requests.concat().as_bytes(), true, || {
        let mut server = server();
        let peer = server.connect();
        (server.h, peer)
    });
    let all = answers_to(&output, |n| requests.get(n).is_some_and(|r| is_head(r)));
    assert_eq!(statuses(&all), expected, "{requests:?}");
}

#[test]
fn pipelined_gets() {
    let requests = ["/f.txt", "/", "/none", "/d", "/d/g", "/d/", "/stream"];
    hold(&requests.map(|path| get(path, "")), [200, 200, 404, 301, 200, 200, 200]);
}

#[test]
fn posts_by_length_and_chunked() {
    hold(
        &[
            post("/echo", "hello"),
            post_chunked("/echo") + "5;a=b\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
            get("/now", ""),
            post("/f.txt", "thrown away"),
            post_chunked("/f.txt") + "3\r\nabc\r\n0\r\n\r\n",
            post("/echo", ""),
        ],
        [200, 200, 200, 405, 405, 200],
    );
}

#[test]
fn heads_and_options() {
    hold(
        &[
            get("/f.txt", "").replace("GET", "HEAD"),
            get("/none", "").replace("GET", "HEAD"),
            get("/stream", "").replace("GET", "HEAD"),
            get("/f.txt", "").replace("GET", "OPTIONS"),
            get("*", "").replace("GET", "OPTIONS"),
            get("/f.txt", ""),
        ],
        [200, 404, 200, 204, 204, 200],
    );
}

#[test]
fn ranges_and_conditions() {
    hold(
        &[
            get("/f.txt", "Range: bytes=2-4\r\n"),
            get("/f.txt", "Range: bytes=0-0, -1\r\n"),
            get("/f.txt", "Range: bytes=10-\r\n"),
            get("/f.txt", &format!("If-Modified-Since: {MODIFIED_DATE}\r\n")),
            get("/f.txt", "If-None-Match: *\r\n"),
            get("/f.txt", "If-Match: \"x\"\r\n"),
        ],
        [206, 206, 416, 304, 304, 412],
    );
}

#[test]
fn a_1_0_client_that_keeps_its_connection() {
    let kept = |path| format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    hold(&[kept("/f.txt"), kept("/none"), kept("/now"), kept("/stream")], [200, 404, 200, 200]);
}

#[test]
fn absolute_forms_and_empty_lines() {
    hold(
        &[
            "GET http://b:80/f.txt?query HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            "\r\n\r\nGET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            "\r\nGET /%66.txt HTTP/1.9\r\nHost:a\r\n\r\n".into(),
        ],
        [200, 200, 200],
    );
}

#[test]
fn a_client_that_does_not_wait_for_its_100() {
    let requests = [post("/echo", "hello").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n")];
    let output = same_for_every_split(requests.concat().as_bytes(), true, || {
        let mut server = server();
        let peer = server.connect();
        (server.h, peer)
    });
    assert_eq!(statuses(&answers_to(&output, |_| false)), [100, 200]);
}

#[test]
fn refusals() {
    for input in [
        get("/f.txt", "") + "bad line\r\n\r\n",
        get("/f.txt", "Expect: more\r\n"),
        post_chunked("/echo") + "5\r\nhello\r\nxyz\r\n",
        post_chunked("/f.txt") + "5\r\nhello\r\nxyz\r\n",
        get("/f.txt", "Connection: close\r\n") + &get("/now", ""),
        post("/echo", "cut short")[..60].to_owned(),
        get("/now", "") + "GET /f.t",
        "\r\n\r\n\r\n".to_owned(),
        get("/f.txt", "").replace("1.1", "2.0"),
    ] {
        same_for_every_split(input.as_bytes(), true, || {
            let mut server = server();
            let peer = server.connect();
            (server.h, peer)
        });
    }
}

/// A valid request after which the connection is kept.
fn request() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("/f.txt"),
        Just("/"),
        Just("/d"),
        Just("/d/"),
        Just("/none"),
        Just("/stream"),
        Just("/now"),
        Just("/%64/g?q=%"),
    ];
    let lines = prop_oneof![
        4 => Just(String::new()),
        1 => Just("Range: bytes=1-3\r\n".to_owned()),
        1 => Just("Range: bytes=1-3,5-5,9-20\r\n".to_owned()),
        1 => Just("Range: bytes=99-\r\n".to_owned()),
        1 => Just(format!("If-Modified-Since: {MODIFIED_DATE}\r\n")),
        1 => Just("If-None-Match: \"x\", *\r\n".to_owned()),
        1 => Just("X-Long: ".to_owned() + &"y".repeat(500) + "\r\n"),
    ];
    let method = prop_oneof![4 => Just("GET"), 1 => Just("HEAD"), 1 => Just("OPTIONS")];
    let reads = (path, lines, method).prop_map(|(p, l, m)| get(p, &l).replace("GET", m));
    let target = prop_oneof![Just("/echo"), Just("/now"), Just("/f.txt")];
    let posts = (target.clone(), "[a-z]{0,40}").prop_map(|(t, body)| post(t, &body));
    let chunks = prop::collection::vec("[a-z]{1,20}", 0..4);
    let chunked = (target, chunks, any::<bool>()).prop_map(|(target, chunks, trailer)| {
        let chunks = chunks.iter().map(|c| format!("{:x}\r\n{c}\r\n", c.len()));
        let trailer = if trailer { "X-T: u\r\n" } else { "" };
        format!("{}{}0\r\n{trailer}\r\n", post_chunked(target), chunks.collect::<String>())
    });
    prop_oneof![4 => reads, 1 => posts, 1 => chunked]
}

/// An answer without what differs from time to time: the boundary of its parts.
fn comparable(mut answer: Answer) -> Answer {
    if let Some(kind) = answer.field("Content-Type")
        && let Some((_, boundary)) = kind.split_once("boundary=")
    {
        let boundary = boundary.to_owned();
        let body = answer.text().replace(&boundary, "B");
        answer.body = body.into_bytes();
        answer.head = answer.head.replace(&boundary, "B");
    }
    answer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn late_replies_stay_in_order_whenever_they_are_given(
        kinds in prop::collection::vec(0_u8..4, 1..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 20),
        depth in 1_usize..8,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        room in prop_oneof![Just(None), (50_usize..300).prop_map(Some)],
    ) {
        let shelf = Shelf::default();
        let settings = HttpSettings { pipeline_depth: depth, ..HttpSettings::default() };
        let list = vec![later("/later/", &shelf), echo("/echo"), now("/now", "now")];
        let mut server = Server::with(list, settings, ChannelSettings::default());
        let request = |(n, kind): (usize, &u8)| match kind {
            0 => get("/now", ""),
            1 => post_chunked("/echo") + &format!("2\r\n{n:02}\r\n0\r\n\r\n"),
            2 => post(&format!("/later/{n}"), "thrown away"),
            _ => get(&format!("/later/{n}"), ""),
        };
        let input: String = kinds.iter().enumerate().map(request).collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        cuts.sort_unstable();
        let peer = server.connect();
        if let Some(room) = room {
            peer.set_write_room(room);
        }
        peer.send_split(&input, &cuts);
        server.h.run();
        for pick in order {
            let waiting = shelf.paths();
            if !waiting.is_empty() {
                prop_assert!(waiting.len() <= depth);
                let path = &waiting[pick.index(waiting.len())];
                shelf.reply(path, says(path.as_str()));
            }
            peer.grant(room.unwrap_or_default());
            server.h.run();
        }
        peer.grant_all();
        server.h.run();
        while let Some(path) = shelf.paths().first() {
            shelf.reply(path, says(path.as_str()));
            server.h.run();
        }
        let expected: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(n, kind)| match kind {
                0 => "now".to_owned(),
                1 => format!("2:{n:02}"),
                _ => format!("/later/{n}"),
            })
            .collect();
        let all = answers_to(&peer.take(), |_| false);
        let bodies: Vec<_> = all.iter().map(|answer| answer.text().to_owned()).collect();
        prop_assert_eq!(bodies, expected);
        prop_assert_eq!(peer.closed(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn in_company_a_request_gets_the_reply_that_it_gets_alone(
        requests in prop::collection::vec(request(), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        room in prop_oneof![Just(None), (1_usize..300).prop_map(Some)],
    ) {
        let mut server = server();
        let alone: Vec<_> = requests
            .iter()
            .map(|request| {
                let (_, output) = server.send(request);
                comparable(only(answers_to(&output, |_| is_head(request))))
            })
            .collect();
        let input = requests.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        cuts.sort_unstable();
        let peer = server.connect();
        if let Some(room) = room {
            peer.set_write_room(room);
        }
        peer.send_split(&input, &cuts);
        server.h.run();
        if let Some(room) = room {
            let mut before = usize::MAX;
            while peer.received().len() != before {
                before = peer.received().len();
                peer.grant(room);
                server.h.run();
            }
        }
        let all = answers_to(&peer.take(), |n| is_head(&requests[n]));
        let together: Vec<_> = all.into_iter().map(comparable).collect();
        prop_assert_eq!(together, alone);
        prop_assert_eq!(server.log.take().len(), 2 * requests.len());
    }
}
