"""Requests to a real server: who gets an answer, and which one."""

from __future__ import annotations

import io
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from served import TEXT, Served, serving

from themo.image_search.answers import Answerer
from themo.image_search.serving.collection import Collection
from themo.image_search.serving.endpoints import MOST_CHARACTERS, MOST_MATCHES
from themo.image_search.small_copies import THUMBNAIL_PIXELS

ENDPOINTS = ("", "page.js", "page.css", "icon.svg", f"search?text={quote(TEXT)}&n=3", "similar/0?n=3")
ENDPOINTS += ("sample?n=3", "thumbnails/0", "pictures/0")


@pytest.mark.parametrize("below", ENDPOINTS)
def test_every_answer_needs_the_token(served: Served, below: str) -> None:
    assert served.get(below).status == 200
    for wrong in ("", "x" * len(served.token), served.token[:-1], f"{served.token}x", "%C3%B1", "%00"):
        refused = served.ask(f"/{wrong}/{below}" if wrong else f"/{below}")
        assert refused.status == 403
        assert refused.text == "The address must contain the token that `themo search --serve` printed.\n"
        assert served.token not in str(refused.headers)


def test_tokens_differ_and_are_long(served: Served, changing: Served) -> None:
    assert served.token != changing.token
    assert min(len(served.token), len(changing.token)) >= 22  # 128 bits


def test_a_token_without_a_slash_leads_to_the_page(served: Served) -> None:
    reply = served.ask(f"/{served.token}")
    assert (reply.status, reply.headers["location"]) == (307, served.address)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.7", "", "["]
)
def test_other_host_names_are_refused(served: Served, host: str) -> None:
    reply = served.get(headers={"Host": host})
    assert (reply.status, reply.text) == (403, "This server does not answer to this host name.\n")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1", "[::1]:80"])
def test_names_of_the_own_machine_are_accepted(served: Served, host: str) -> None:
    assert served.get(headers={"Host": host}).status == 200


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: evil.example\r\n"])
def test_no_host_or_two_get_no_page(served: Served, hosts: str) -> None:
    port = int(served.address.split("/")[2].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        raw.sendall(f"GET /{served.token}/ HTTP/1.0\r\n{hosts}\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert answer.split()[1] in (b"400", b"403")
    assert b"<!DOCTYPE" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_but_reading_is_allowed(served: Served, method: str) -> None:
    origin = {"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"}
    reply = served.get(method=method, headers=origin)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


def test_browsers_may_do_little_with_an_answer(served: Served) -> None:
    for below in ("", "sample?n=2", "thumbnails/0", "nothing"):
        headers = served.get(below, headers={"Origin": "http://evil.example"}).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';")
        assert "unsafe" not in policy
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


ELSEWHERE = [
    "pictures/../../../etc/passwd",
    "pictures/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "pictures/00.jpg",
    "pictures/",
]
ELSEWHERE += [
    "thumbnails/../page.js/../../secret",
    "page/page.js",
    "pictures/-1",
    "pictures/30",
    "pictures/٣",
]
ELSEWHERE += [f"pictures/{'9' * 5000}", "similar/30?n=3", "pictures/0/", "..", "%2e%2e/", "//etc/passwd"]


@pytest.mark.parametrize("below", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_only_numbers_of_the_index_lead_to_files(served: Served, below: str) -> None:
    path = f"/{served.token}/{quote(below, safe='/%?=.')}"
    reply = served.ask(path)
    assert reply.status == 404 or (reply.status == 307 and below == "pictures/0/")


def test_page_states_folder_number_and_version(served: Served) -> None:
    page = served.get()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in ("30 imágenes de «fotos &amp; más»", "Versión: logs/tiny/version_0", 'data-best="8"'):
        assert part in page.text
    for name in ("page.js", "page.css", "icon.svg", ""):
        text = served.get(name).text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
    assert "<script>" not in page.text
    assert "style=" not in page.text


def test_matches_of_a_text_are_those_of_the_index(served: Served, collection: Collection) -> None:
    vectors = collection.answerer.model.encode([TEXT], normalize=True)
    (expected,) = collection.index.search(vectors, 5)
    answer = json.loads(served.get("search", text=TEXT, n=5).content)
    assert (answer["cut"], answer["nothing_like_that"]) == (None, False)
    assert [match["name"] for match in answer["matches"]] == [match.name for match in expected]
    np.testing.assert_allclose([m["score"] for m in answer["matches"]], [m.score for m in expected])
    for match in answer["matches"]:
        assert collection.index.names[match["number"]] == match["name"]


def test_a_long_text_is_said_to_be_cut(served: Served) -> None:
    assert json.loads(served.get("search", text="perro " * 20, n=1).content)["cut"] == 16


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"n": 3}, "text: must not be empty"),
        ({"text": " \u200b", "n": 3}, "text: must not be empty"),
        ({"text": "a" * (MOST_CHARACTERS + 1), "n": 3}, "text: must have at most 2000 characters, got 2001"),
        *(
            ({"text": "a", "n": n}, "n: must be a whole number from 1 to 240")
            for n in (0, MOST_MATCHES + 1, "x", "")
        ),
    ],
)
def test_bad_queries_are_refused_with_the_rule(
    served: Served, query: dict[str, object], message: str
) -> None:
    reply = served.get("search", **query)
    assert (reply.status, reply.text) == (400, message)


def test_similar_pictures_leave_out_the_picture_and_its_copies(
    served: Served, collection: Collection
) -> None:
    number = collection.index.names.index("viaje/a.jpg")
    answer = served.get(f"similar/{number}", n=MOST_MATCHES)
    assert json.loads(answer.content)["name"] == "viaje/a.jpg"
    assert sorted(answer.names) == [f"{i:02d}.jpg" for i in range(1, 28)]
    vectors = np.concatenate([piece.rows for piece in collection.index.pieces])
    scores = vectors @ vectors[number]
    nearest = max(
        (name for name in answer.names), key=lambda name: scores[collection.index.names.index(name)]
    )
    assert answer.names[0] == nearest


def test_near_duplicates_are_folded_unless_asked_for(collection: Collection) -> None:
    with serving(replace(collection, fold_duplicates=True)) as served:
        matches = json.loads(served.get("search", text=TEXT, n=MOST_MATCHES).content)["matches"]
    names = [name for match in matches for name in (match["name"], *match["copies"], *match["duplicates"])]
    assert sorted(names) == sorted(collection.index.names)
    assert len(matches) < 28


def test_unlikely_matches_have_a_low_chance(collection: Collection, doubtful: Answerer) -> None:
    with serving(replace(collection, answerer=doubtful)) as served:
        answer = json.loads(served.get("search", text=TEXT, n=MOST_MATCHES).content)
    chances = [match["chance"] for match in answer["matches"]]
    assert min(chances) < 0.5 < max(chances)
    assert [match["unlikely"] for match in answer["matches"]] == [chance < 0.5 for chance in chances]
    assert not answer["nothing_like_that"]
    with serving(replace(collection, answerer=doubtful, min_chance=0.5)) as served:
        kept = json.loads(served.get("search", text=TEXT, n=MOST_MATCHES).content)["matches"]
    assert kept == [match for match in answer["matches"] if not match["unlikely"]]


def test_sample_spans_the_folder_without_copies(served: Served) -> None:
    assert served.get("sample", n=4).names == ["00.jpg", "07.jpg", "14.jpg", "21.jpg"]
    assert len(served.get("sample", n=MOST_MATCHES).names) == 28


def test_small_copies_are_small_upright_and_kept(
    changing: Served, folder: Path, collection: Collection
) -> None:
    image = Image.new("RGB", (2000, 1000), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # its top is at the right
    image.save(folder / "05.jpg", exif=exif)
    number = collection.index.names.index("05.jpg")
    reply = changing.get(f"thumbnails/{number}")
    assert reply.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(reply.content)).size == (THUMBNAIL_PIXELS // 2, THUMBNAIL_PIXELS)
    tag = {"If-None-Match": reply.headers["etag"]}
    assert changing.get(f"thumbnails/{number}", headers=tag).status == 304
    Image.new("RGB", (20, 10), "blue").save(folder / "05.jpg")
    changed = changing.get(f"thumbnails/{number}", headers=tag)
    assert changed.status == 200
    assert Image.open(io.BytesIO(changed.content)).size == (20, 10)


def test_a_picture_is_served_as_it_is(served: Served, folder: Path, collection: Collection) -> None:
    number = collection.index.names.index("viaje/b <b>.jpg")
    reply = served.get(f"pictures/{number}")
    assert reply.content == (folder / "00.jpg").read_bytes()
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["content-disposition"] == "inline; filename*=utf-8''b%20%3Cb%3E.jpg"
    assert "sandbox" in reply.headers["content-security-policy"]
    part = served.get(f"pictures/{number}", headers={"Range": "bytes=2-5"})
    assert (part.status, part.content) == (206, reply.content[2:6])
    unchanged = served.get(f"pictures/{number}", headers={"If-None-Match": reply.headers["etag"]})
    assert (unchanged.status, unchanged.content) == (304, b"")
    head = served.get(f"pictures/{number}", method="HEAD")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", str(len(reply.content)))


def test_a_format_unknown_to_browsers_is_converted(changing: Served, folder: Path) -> None:
    Image.new("RGB", (50, 40), "blue").save(folder / "00.jpg", format="TIFF")
    reply = changing.get("pictures/0")
    assert reply.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(reply.content)).size == (50, 40)


@pytest.mark.parametrize("kind", ["gone", "folder", "pipe", "text", "truncated"])
def test_a_picture_that_vanished_is_not_found(changing: Served, folder: Path, kind: str) -> None:
    path = folder / "00.jpg"
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "text":
        path.write_text("<script>alert(1)</script>")
    elif kind == "truncated":
        path.write_bytes(content[:100])
    assert changing.get("thumbnails/0").status == 404
    if kind != "truncated":  # the browser decides on a damaged file
        assert changing.get("pictures/0").status == 404
    assert changing.get("similar/0", n=3).status == 200


def test_names_that_are_no_utf8_are_served(folder: Path, collection: Collection) -> None:
    name = os.fsdecode(b"\xff\x1b[2J.jpg")
    (folder / "00.jpg").rename(folder / name)
    index = replace(collection.index, names=(name, *collection.index.names[1:]))
    answerer = Answerer(collection.answerer.model, index)
    with serving(replace(collection, folder=folder, answerer=answerer)) as served:
        reply = served.get("pictures/0")
        assert (reply.status, len(reply.content)) == (200, (folder / name).stat().st_size)
        assert json.loads(served.get("similar/0", n=3).content)["name"] == "\ufffd\ufffd[2J.jpg"


def test_two_hundred_queries_at_once(served: Served, collection: Collection) -> None:
    texts = [
        f"el {noun} {adjective}"
        for noun in ("gato", "perro", "león", "búho")
        for adjective in ("rojo", "azul")
    ]
    expected = {text: served.get("search", text=text, n=5).names for text in texts}
    assert len({tuple(names) for names in expected.values()}) > 1
    asked = [texts[i % len(texts)] for i in range(200)]
    with ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(lambda text: served.get("search", text=text, n=5), asked))
        copies = list(threads.map(lambda i: served.get(f"thumbnails/{i % 30}"), range(200)))
    assert [answer.status for answer in answers] == [200] * 200
    assert [answer.names for answer in answers] == [expected[text] for text in asked]
    assert {copy.status for copy in copies} == {200}
